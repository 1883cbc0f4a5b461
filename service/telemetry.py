"""Every metric. Labels come from route templates and fixed sets only: no id ever becomes a label."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from causalrec.manifest import Manifest
from causalrec.topk import Proof
from service.events import RecordType
from service.intake import Outcome as Told
from service.model_telemetry import ModelTelemetry
from service.planning import Source
from service.ranking import Ranked
from service.shadow import Outcome

CONTENT_TYPE = CONTENT_TYPE_LATEST
METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.035, 0.05, 0.075)
SECONDS = (*SHORT, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0)
STAGE_SECONDS = (0.00005, 0.0001, 0.00025, *SECONDS)
CANDIDATES = (10, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000, 1_000_000)
BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256)
RECALL = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
LAMBDA2 = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0)
WATCHED = {
    "state_available": "1 while Redis answers.",
    "embedded_restarts": "How often the embedded Redis died and was started again.",
    "ready": "1 while requests should be sent here.",
    "spool_bytes": "Bytes of events on disk, waiting for Redis.",
    "spool_limit_bytes": "Bytes of events that may wait there; then more are refused.",
    "event_log_events": "Events in Redis that were not exported yet; the same on all replicas.",
    "event_log_limit": "Events that may be there; then more are refused.",
    "memory_limit_bytes": "Memory that the container may have; infinite where nothing says so.",
    "catalogue_version": "How many changes of items this process has taken over; equal on all that are up to date.",
    "items_live": "Items that came since the bundle and can be recommended.",
    "items_hidden": "Items that no answer may hold: hidden or deleted.",
    "api_keys_stale": "1 while the file of API keys is gone or wrong, and the keys that were read before are in force.",
    "items_skipped": "New items whose feature is of no use to this bundle.",
}


class _Collections(Collector):
    """How often Python looked for garbage: what is loaded is frozen, so that it need not walk through that."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        found = CounterMetricFamily(
            "causalrec_gc_collections", "Collections of garbage, by generation.", labels=["generation"]
        )
        for generation, said in enumerate(gc.get_stats()):
            found.add_metric([str(generation)], said["collections"])
        yield found


class Telemetry:
    """
    The metrics of one process in a registry of its own.

    Args:
        waiting: how many requests wait for the scoring thread, read when the metrics are.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(namespace="causalrec", registry=registry)
        registry.register(_Collections())
        self._requests = Counter(
            "causalrec_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._duration = Histogram(
            "causalrec_request_duration_seconds",
            "From the request's head to the end of the answer, by outcome: answered (2xx, 3xx), refused (the line was "
            "full), failed (anything else).",
            ("route", "outcome"),
            buckets=SECONDS,
            registry=registry,
        )
        stages = Histogram(
            "causalrec_stage_duration_seconds",
            "Time of one stage: state (one request waiting for Redis); queue (waiting to be scored); search (retrieval "
            "and exact ranking) and encode, of a whole batch.",
            ("stage",),
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self._stages = {stage: stages.labels(stage) for stage in ("state", "queue", "search", "encode")}
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
            "causalrec_answers", "Answers by source: personal, history or cold_user.", ("source",), registry=registry
        )
        self._answers = {source: answers.labels(source) for source in get_args(Source)}
        self._lambda2 = Histogram("causalrec_lambda2", "λ2 ranked at.", buckets=LAMBDA2, registry=registry)
        self._empty = Counter("causalrec_empty_results", "Answers without an item.", registry=registry)
        self._batch_size = Histogram(
            "causalrec_batch_size", "Requests scored together.", buckets=BATCH, registry=registry
        )
        shadows = Counter(
            "causalrec_shadow_answers",
            "Answers found again by scoring every item: equal, different, or dropped (too many were left over).",
            ("outcome",),
            registry=registry,
        )
        self._shadows = {outcome: shadows.labels(outcome) for outcome in get_args(Outcome)}
        self._recall = Histogram(
            "causalrec_shadow_recall", "Share of the exact list that an answer had.", buckets=RECALL, registry=registry
        )
        fallbacks = Counter(
            "causalrec_fallbacks",
            "Requests answered without something: state (Redis did not say in time what the user did); experiment (it "
            "could not be recorded, so the default λ2 was served).",
            ("reason",),
            registry=registry,
        )
        self._without_state = fallbacks.labels("state")
        self._without_experiment = fallbacks.labels("experiment")
        experiment = "experiment", "variant"
        self._exposures = Counter(
            "causalrec_exposures",
            "First answers of users in an experiment; again after this process was restarted.",
            experiment,
            registry=registry,
        )
        self._lists = Counter(
            "causalrec_experiment_answers",
            "Answers that were recorded in an experiment.",
            experiment,
            registry=registry,
        )
        self._sample_ratios = Gauge(
            "causalrec_experiment_srm_p_value",
            "p-value, valid at every moment, of users having come to the variants of a running experiment as they "
            "should; on the replica that looks after experiments, and on no other.",
            ("experiment",),
            registry=registry,
        )
        events = Counter(
            "causalrec_events",
            "Events told, and exposures, lists and failures of answers in experiments: accepted (in Redis), duplicate, "
            "spooled (on disk, for Redis later), refused.",
            ("outcome", "type"),
            registry=registry,
        )
        self._events = {
            (outcome, type_): events.labels(outcome, type_)
            for outcome in get_args(Told)
            for type_ in get_args(RecordType)
        }
        self._drained = Counter("causalrec_events_drained", "Spooled events brought to Redis.", registry=registry)
        self._unrecorded = Counter(
            "causalrec_events_unrecorded",
            "Accepted events that what is remembered of their users lacks, because Redis went away in between.",
            registry=registry,
        )
        self.models = ModelTelemetry(registry)
        self._open = 0
        in_progress = Gauge("causalrec_requests_in_progress", "Requests not yet answered.", registry=registry)
        in_progress.set_function(lambda: self._open)
        self._bundle = Info("causalrec_bundle", "The bundle being served.", registry=registry)
        Gauge("causalrec_waiting", "Requests waiting for the scoring thread.", registry=registry).set_function(waiting)
        self._children: dict[tuple[str, str, int, str], tuple[Counter, Histogram]] = {}

    def started(self) -> None:
        """A request has begun."""
        self._open += 1

    def finished(self, route: str, method: str, status: int, seconds: float, *, refused: bool) -> None:
        """
        A request has been answered.

        Args:
            route: its template, or one of a few fixed words where none was looked for or found.
            refused: because the line was full.
        """
        self._open -= 1
        method = method if method in METHODS else "other"
        outcome = "refused" if refused else "answered" if status < 400 else "failed"
        key = route, method, status, outcome
        if key not in self._children:
            counter = self._requests.labels(route, method, str(status))
            self._children[key] = counter, self._duration.labels(route, outcome)
        counter, duration = self._children[key]
        counter.inc()
        duration.observe(seconds)

    def watch(self, gauges: Mapping[str, Callable[[], float]]) -> None:
        """Gauges of `WATCHED`, read when the metrics are."""
        for name, read in gauges.items():
            Gauge(f"causalrec_{name}", WATCHED[name], registry=self._registry).set_function(read)

    def asked_state(self, seconds: float, *, answered: bool) -> None:
        """One request's wait for Redis, and whether it came to anything."""
        self._stages["state"].observe(seconds)
        if not answered:
            self._without_state.inc()

    def events(self, outcome: Told, types: Iterable[RecordType]) -> None:
        """Events told, all with one outcome."""
        for type_ in types:
            self._events[outcome, type_].inc()

    def drained(self, events: int) -> None:
        """Spooled events brought to Redis."""
        self._drained.inc(events)

    def unrecorded(self, events: int) -> None:
        """Accepted events that their users lack."""
        self._unrecorded.inc(events)

    def recorded(self, experiment: str, variant: str, *, exposure: bool) -> None:
        """An exposure or an answer that is on record; experiments are few, and made by people."""
        (self._exposures if exposure else self._lists).labels(experiment, variant).inc()

    def without_experiment(self) -> None:
        """One request whose part in an experiment could not be recorded."""
        self._without_experiment.inc()

    def sample_ratios(self, p_values: Mapping[str, float]) -> None:
        """By running experiment, where this replica looks after them; they take the place of those told before."""
        self._sample_ratios.clear()
        for experiment, p_value in p_values.items():
            self._sample_ratios.labels(experiment).set(p_value)

    def waited(self, seconds: float) -> None:
        """One request's time in the line."""
        self._stages["queue"].observe(seconds)

    def batch(self, size: int, seconds: Mapping[str, float]) -> None:
        """One batch: how many requests, and the time of each stage."""
        self._batch_size.observe(size)
        for stage, duration in seconds.items():
            self._stages[stage].observe(duration)

    def ranked(self, lists: Sequence[Ranked]) -> None:
        """The lists of one answer."""
        for ranked in lists:
            self._candidates.observe(ranked.best.candidates)
            self._proofs[ranked.best.proof].inc()
            self._answers[ranked.plan.source].inc()
            self._lambda2.observe(ranked.lambda2)
            if not len(ranked.best.rows):
                self._empty.inc()

    def shadow(self, outcome: Outcome, recall: float | None) -> None:
        """One answer of the shadow sample, and its recall where it was compared."""
        self._shadows[outcome].inc()
        if recall is not None:
            self._recall.observe(recall)

    def serving(self, manifest: Manifest) -> None:
        """The bundle now served."""
        self._bundle.info(
            {
                "bundle_id": manifest.content_id,
                "name": manifest.name,
                "model": manifest.model.name,
                "form": manifest.form,
                "users": str(manifest.users),
                "items": str(manifest.items),
                "code_version": manifest.code_version,
            }
        )

    def render(self) -> bytes:
        """The metrics as Prometheus reads them."""
        return generate_latest(self._registry)
