"""Metrics of models: loads and swaps, answers by role, the shadow model. Labels come from fixed sets only."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.candidate import Reason
from service.live import Role
from service.shadow_model import Compared, Outcome

Ended = Literal["answered", "refused", "failed"]

SEARCH_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
CORRELATIONS = (-0.5, 0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
RATIOS = (0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
WATCHED: Final = {
    "model_loaded_timestamp_seconds": "When the bundle that is served was loaded, in seconds since 1970.",
    "model_resident": "Bundles in memory: served, previous, canary, shadow.",
    "model_refused": "1 while the bundle that the path names is one that was refused.",
    "model_behind": "1 while all replicas are to serve a bundle that this one does not have, or had to refuse.",
    "model_canary_share": "Share of the users that the canary answers; 0 without one.",
    "model_rehearsal_slower": "Time of what is served over that of the bundle before it, when it was rehearsed.",
}


class ModelTelemetry:
    """The metrics of one process' models, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        failures = Counter(
            "causalrec_model_load_failures",
            "Bundles that were to be served and were refused: missing; corrupt (truncated, edited, NaN); mismatch "
            "(another schema or shape); golden (an answer came out otherwise); shrunk (too few of the users or items "
            "served now); rehearsal (failed at a request asked lately); memory; other.",
            ("reason",),
            registry=registry,
        )
        self._failures = {reason: failures.labels(reason) for reason in get_args(Reason)}
        self._swaps = Counter(
            "causalrec_model_swaps", "How often another bundle was served from then on.", registry=registry
        )
        answers = Counter(
            "causalrec_model_answers",
            "Requests by the role of the bundle (stable, canary) and outcome: answered, refused (the request "
            "is wrong for this bundle), failed.",
            ("role", "outcome"),
            registry=registry,
        )
        self._answers = {
            (role, ended): answers.labels(role, ended) for role in get_args(Role) for ended in get_args(Ended)
        }
        searches = Histogram(
            "causalrec_model_search_seconds",
            "Retrieval and exact ranking of one bundle's part of a batch, per request in it.",
            ("role",),
            buckets=SEARCH_SECONDS,
            registry=registry,
        )
        self._searches = {role: searches.labels(role) for role in get_args(Role)}
        shadows = Counter(
            "causalrec_shadow_model_requests",
            "Requests taken for the shadow model: compared, refused (wrong for it), failed, dropped (too many were "
            "left over).",
            ("outcome",),
            registry=registry,
        )
        self._shadows = {outcome: shadows.labels(outcome) for outcome in get_args(Outcome)}
        self._overlap = self._histogram("overlap", "Share of a list's items that the shadow model's list has.", SHARES)
        self._correlation = self._histogram(
            "rank_correlation", "Kendall's τ of the order of the items that both lists have.", CORRELATIONS
        )
        self._slower = self._histogram("slower", "Time of the shadow model over that of what is served.", RATIOS)

    def watch(self, gauges: Mapping[str, Callable[[], float]]) -> None:
        """Gauges of `WATCHED`, read when the metrics are."""
        for name, read in gauges.items():
            Gauge(f"causalrec_{name}", WATCHED[name], registry=self._registry).set_function(read)

    def refused(self, reason: Reason) -> None:
        """A bundle that was to be served cannot be."""
        self._failures[reason].inc()

    def swapped(self) -> None:
        """Another bundle is served."""
        self._swaps.inc()

    def ended(self, role: Role, outcome: Ended, count: int = 1) -> None:
        """What became of requests."""
        self._answers[role, outcome].inc(count)

    def scored(self, role: Role, outcomes: Mapping[Ended, int], seconds: float) -> None:
        """One bundle's part of a batch: requests by outcome, and the seconds all of them took."""
        for outcome, count in outcomes.items():
            self.ended(role, outcome, count)
        self._searches[role].observe(seconds / max(1, sum(outcomes.values())))

    def shadow(self, outcome: Outcome, lists: Sequence[Compared]) -> None:
        """A request taken for the shadow model."""
        self._shadows[outcome].inc()
        for each in lists:
            self._overlap.observe(each.overlap)
            self._slower.observe(each.slower)
            if each.correlation is not None:
                self._correlation.observe(each.correlation)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"causalrec_shadow_model_{name}", text, buckets=buckets, registry=self._registry)
