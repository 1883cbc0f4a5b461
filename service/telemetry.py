"""Every metric. Labels come from route templates and fixed sets only: no id ever becomes a label."""

from collections.abc import Callable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from causalrec.manifest import Manifest
from causalrec.topk import Proof
from service.ranking import Ranked, Source

CONTENT_TYPE = CONTENT_TYPE_LATEST
METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
STAGE_SECONDS = (0.00005, 0.0001, 0.00025, *SECONDS)
CANDIDATES = (10, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000, 1_000_000)
LAMBDA2 = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0)


class Telemetry:
    """
    The metrics of one process in a registry of its own.

    Args:
        waiting: how many requests wait for the scoring thread, read when the metrics are.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(namespace="causalrec", registry=registry)
        self._requests = Counter(
            "causalrec_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._duration = Histogram(
            "causalrec_request_duration_seconds",
            "From the request's head to the end of the answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        stages = Histogram(
            "causalrec_stage_duration_seconds",
            "Time of one stage: queue (waiting for the scoring thread), search (retrieval and exact ranking), encode.",
            ("stage",),
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self._stages = {stage: stages.labels(stage) for stage in ("queue", "search", "encode")}
        self._candidates = Histogram(
            "causalrec_candidates", "Items scored exactly for one answer.", buckets=CANDIDATES, registry=registry
        )
        proofs = Counter(
            "causalrec_proofs",
            "Answers by why they are exact: certificate, scan, or none (not known to be).",
            ("proof",),
            registry=registry,
        )
        self._proofs = {proof: proofs.labels(proof) for proof in get_args(Proof)}
        answers = Counter(
            "causalrec_answers", "Answers by source: personal or cold_user.", ("source",), registry=registry
        )
        self._answers = {source: answers.labels(source) for source in get_args(Source)}
        self._lambda2 = Histogram("causalrec_lambda2", "λ2 ranked at.", buckets=LAMBDA2, registry=registry)
        self._empty = Counter("causalrec_empty_results", "Answers without an item.", registry=registry)
        self._in_progress = Gauge("causalrec_requests_in_progress", "Requests not yet answered.", registry=registry)
        self._bundle = Info("causalrec_bundle", "The bundle being served.", registry=registry)
        Gauge("causalrec_waiting", "Requests waiting for the scoring thread.", registry=registry).set_function(waiting)
        self._children: dict[tuple[str, ...], Counter | Histogram] = {}

    def started(self) -> None:
        """A request has begun."""
        self._in_progress.inc()

    def finished(self, route: str, method: str, status: int, seconds: float) -> None:
        """
        A request has been answered.

        Args:
            route: its template, or "unmatched".
        """
        self._in_progress.dec()
        method = method if method in METHODS else "other"
        counter = self._children.get((route, method, str(status)))
        if not isinstance(counter, Counter):
            counter = self._requests.labels(route, method, str(status))
            self._children[route, method, str(status)] = counter
        counter.inc()
        histogram = self._children.get((route,))
        if not isinstance(histogram, Histogram):
            histogram = self._children[route,] = self._duration.labels(route)
        histogram.observe(seconds)

    def ranked(self, ranked: Ranked) -> None:
        """One answer's ranking."""
        self._candidates.observe(ranked.best.candidates)
        self._proofs[ranked.best.proof].inc()
        self._answers[ranked.source].inc()
        self._lambda2.observe(ranked.lambda2)
        if not len(ranked.best.rows):
            self._empty.inc()

    def stages(self, seconds: dict[str, float]) -> None:
        """The time each stage of one piece of work took."""
        for stage, duration in seconds.items():
            self._stages[stage].observe(duration)

    def serving(self, manifest: Manifest) -> None:
        """The bundle now served."""
        self._bundle.info(
            {
                "bundle_id": manifest.content_id,
                "name": manifest.name,
                "form": manifest.form,
                "users": str(manifest.users),
                "items": str(manifest.items),
                "code_version": manifest.code_version,
            }
        )

    def render(self) -> bytes:
        """The metrics as Prometheus reads them."""
        return generate_latest(self._registry)
