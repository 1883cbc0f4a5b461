"""What a version of an experiment may say; of what it may not, the first: field, value, and what would be right."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from causalrec.errors import RequestError
from causalrec.ids import problem_with
from service.experiments.metrics import COVERAGE, METRICS
from service.experiments.model import Config, Variant

KEY: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MOST_SALT: Final = 128
TOLERANCE: Final = 1e-9
"""Of the sum of the weights."""


class Range(NamedTuple):
    """The λ2 that can be served, both ends included. why: the model served cannot be debiased, so there is only 0."""

    low: float
    high: float
    why: str | None = None

    def holds(self, lambda2: float) -> bool:
        """Whether this λ2 can be served."""
        return self.low <= lambda2 <= self.high


def check(config: Config, limits: Range) -> None:
    """
    Nothing where `config` is complete and can be run with what is served.

    Raises: RequestError.
    """
    check_key(config.key)
    _check_kind(config)
    if config.kind == "random":
        _check_between(config, limits)
    else:
        _check_variants(config, limits)
    _check_part(config)
    check_salt(config.salt)
    _check_names(config)
    _check_metrics(config)
    _check_tuning(config)


def check_key(key: str) -> None:
    """Raises: RequestError unless `key` can be an experiment's."""
    if not KEY.fullmatch(key):
        raise RequestError("key", key[:100], "should be 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or digit")


def check_salt(salt: str) -> None:
    """Raises: RequestError unless `salt` can be one."""
    if not 1 <= len(salt) <= MOST_SALT or not salt.isprintable():
        raise RequestError("salt", salt[:100], f"should be 1 to {MOST_SALT} printable characters")


def _check_kind(config: Config) -> None:
    kind, count = config.kind, len(config.variants)
    if kind not in ("split", "interleaving", "random", "tuned"):
        raise RequestError("kind", kind, "should be split, interleaving, random or tuned")
    if kind == "random" and count:
        raise RequestError("variants", count, "kind=random has none: it draws λ2 from between=[low, high]")
    if kind == "interleaving" and count != 2:
        raise RequestError("variants", count, "kind=interleaving mixes the lists of exactly two variants")
    if kind in ("split", "tuned") and count < 2:
        raise RequestError("variants", count, f"kind={kind} compares variants: give at least two")
    if kind != "random" and config.between is not None:
        raise RequestError("between", _ends(config.between), f"is for kind=random; kind={kind} has variants")
    if kind in ("random", "interleaving") and config.guardrails:
        raise RequestError(
            "guardrails",
            config.guardrails[0].metric,
            f"compare variants with the control, and kind={kind} has none that it compares; leave them out",
        )


def _check_between(config: Config, limits: Range) -> None:
    if config.between is None:
        raise RequestError("between", None, "kind=random draws λ2 from it: give [low, high]")
    for index, lambda2 in enumerate(config.between):
        _check_lambda2(f"between.{index}", lambda2, limits)
    if config.between[0] >= config.between[1]:
        raise RequestError("between", _ends(config.between), "the first should be less than the second")
    if config.overrides:
        raise RequestError(
            "overrides", len(config.overrides), "name variants, and kind=random has none; leave them out"
        )


def _check_variants(config: Config, limits: Range) -> None:
    for index, variant in enumerate(config.variants):
        _check_lambda2(f"variants.{index}.lambda2", variant.lambda2, limits)
        if not NAME.fullmatch(variant.name):
            raise RequestError(
                f"variants.{index}.name",
                variant.name[:100],
                "should be 1 to 64 letters, digits, dots, _ and -, beginning with a letter or digit",
            )
        if not variant.weight > 0:
            raise RequestError(
                f"variants.{index}.weight",
                variant.weight,
                "should be more than 0, or left out everywhere for equal shares; leave out variants nobody is to get",
            )
    if twice := _repeated(variant.name for variant in config.variants):
        raise RequestError("variants", twice, "two variants have this name; name them apart, as an A/A test must")
    _check_sum(config.variants)


def _check_sum(variants: Sequence[Variant]) -> None:
    total = math.fsum(variant.weight for variant in variants)
    if not abs(total - 1) <= TOLERANCE:
        equal = " + ".join(f"{variant.weight / total:.6g}" for variant in variants)
        raise RequestError(
            "variants",
            total,
            f"the weights should sum to 1; in the same proportions that is {equal}, or leave all out for equal shares",
        )


def _check_lambda2(field: str, lambda2: float, limits: Range) -> None:
    if limits.holds(lambda2):
        return
    if limits.why is not None:
        raise RequestError(
            field,
            lambda2,
            f"must be 0 with the bundle that is served: {limits.why}; serve a bundle of another model to try λ2 out",
        )
    raise RequestError(field, lambda2, f"must be between {limits.low:g} and {limits.high:g}, the bundle's range")


def _check_part(config: Config) -> None:
    if not NAME.fullmatch(config.layer):
        raise RequestError(
            "layer", config.layer[:100], "should be 1 to 64 letters, digits, dots, _ and -, such as default"
        )
    start, end = config.segment
    if not 0 <= start < end <= 1:
        raise RequestError("segment", _ends(config.segment), "should be [from, to) with 0 <= from < to <= 1")
    if not 0 < config.allocation <= 1:
        raise RequestError(
            "allocation",
            config.allocation,
            "should be more than 0 and at most 1; pause an experiment to give nobody it",
        )


def _check_names(config: Config) -> None:
    names = [variant.name for variant in config.variants]
    if config.kind == "random" and config.control:
        raise RequestError("control", config.control, "is a variant, and kind=random has none; leave it out")
    if config.kind != "random" and config.control not in names:
        raise RequestError("control", config.control, f"is no variant; {_one_of(names)}")
    for unit, name in config.overrides.items():
        if reason := problem_with(unit):
            raise RequestError("overrides", unit[:100], f"the user id {reason}")
        if name not in names:
            raise RequestError(f"overrides.{unit}", name, f"is no variant; {_one_of(names)}")


def _check_metrics(config: Config) -> None:
    if config.primary not in METRICS:
        raise RequestError("primary", config.primary, f"is no metric; {_one_of(METRICS)}")
    for index, metric in enumerate(config.secondary):
        if metric not in METRICS:
            raise RequestError(f"secondary.{index}", metric, f"is no metric; {_one_of(METRICS)}")
    if twice := _repeated([config.primary, *config.secondary]):
        raise RequestError("secondary", twice, "is named twice, or is the primary metric already; name it once")
    for index, guardrail in enumerate(config.guardrails):
        if guardrail.metric not in METRICS and guardrail.metric != COVERAGE:
            raise RequestError(
                f"guardrails.{index}.metric", guardrail.metric, f"is no metric; {_one_of([*METRICS, COVERAGE])}"
            )
        if not 0 <= guardrail.most < math.inf:
            raise RequestError(
                f"guardrails.{index}.most", guardrail.most, "should be a share from 0: 0.1 is 10 % worse"
            )
    if twice := _repeated(guardrail.metric for guardrail in config.guardrails):
        raise RequestError("guardrails", twice, "is guarded twice; name it once")
    if not 0 < config.alpha <= 0.5:
        raise RequestError("alpha", config.alpha, "should be more than 0 and at most 0.5; 0.05 is usual")
    if config.window is not None and not 0 < config.window < math.inf:
        raise RequestError("window_seconds", config.window, "should be more than 0; leave it out to count all events")
    if config.planned_units is not None and config.planned_units < 1:
        raise RequestError("planned_units", config.planned_units, "should be at least 1")


def _check_tuning(config: Config) -> None:
    if config.tuning is None:
        if config.kind == "tuned":
            raise RequestError("tuning", None, 'kind=tuned needs it, such as {"floor": 0.05, "every": 3600}')
        return
    if config.kind != "tuned":
        raise RequestError("tuning", config.tuning.floor, f"is for kind=tuned, not for kind={config.kind}")
    floor, every = config.tuning
    count = len(config.variants)
    if not 0 < floor * count < 1:
        raise RequestError(
            "tuning.floor", floor, f"should be more than 0 and less than 1/{count}, so that something is left to move"
        )
    if not 0 < every < math.inf:
        raise RequestError("tuning.every", every, "should be seconds, more than 0")
    for index, variant in enumerate(config.variants):
        if variant.weight < floor - TOLERANCE:
            raise RequestError(f"variants.{index}.weight", variant.weight, f"is less than tuning.floor={floor:g}")


def _repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"


def _ends(ends: tuple[float, float]) -> str:
    return f"[{ends[0]:g}, {ends[1]:g}]"
