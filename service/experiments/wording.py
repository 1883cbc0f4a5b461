"""Numbers, times and names as a report words them: page and text say the same."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TypeGuard

from service.experiments.metrics import COVERAGE, METRICS
from service.experiments.model import Kind
from service.experiments.report import Comparison, Estimate, GuardrailResult

NONE: Final = "–"
"""Stands where nothing is known."""
ALONE: Final = "no interval yet"
MINUS: Final = "−"
NARROW: Final = "\N{NARROW NO-BREAK SPACE}"  # between thousands, and before %
DIGITS: Final = 4  # significant
SMALLEST_P: Final = 0.001

KINDS: Final[Mapping[Kind, str]] = {
    "split": "split: each unit gets one λ2",
    "interleaving": "interleaving: two λ2 in one list",
    "random": "random: λ2 drawn for each unit",
    "tuned": "tuned: shares move to what sells",
}
SOURCES: Final = {"live": "live tallies", "export": "exported events"}
DECISIONS: Final = {
    "blocked": "Blocked, believe nothing",
    "ship": "Use the recommended λ2",
    "keep": "Keep the control",
    "continue": "Not enough is known yet",
    "stopped": "Ended early",
}


def known(value: float | None) -> TypeGuard[float]:
    """A number that can be shown: neither missing, nor NaN, nor infinite."""
    return value is not None and math.isfinite(value)


def places(*values: float | None) -> int:
    """Decimals with which the largest of the values shows four significant digits."""
    largest = max((abs(value) for value in values if known(value)), default=0.0)
    return 0 if largest == 0 else min(max(DIGITS - 1 - math.floor(math.log10(largest)), 0), 8)


def fixed(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """With that many decimals, thousands apart, and a true minus sign; what rounds to zero has no sign."""
    if not known(value):
        return NONE
    text = f"{abs(value):,.{decimals}f}".replace(",", NARROW)
    if not text.strip("0.,"):
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def number(value: float | None) -> str:
    """Four significant digits without zeros at the end; a whole number in full."""
    text = fixed(value, places(value))
    return text.rstrip("0").rstrip(".") if "." in text else text


def about(count: int) -> str:
    """A count that is a guess: two significant digits."""
    power = 10 ** max(len(str(abs(count))) - 2, 0)
    return number(round(count / power) * power)


def estimate(found: Estimate, *, signed: bool = False) -> str:
    """The value and, in brackets, its interval."""
    decimals = places(found.value, found.low, found.high)
    return _with_interval(found, *(fixed(value, decimals, signed=signed) for value in _three(found)))


def parts(worded: str) -> tuple[str, str]:
    """What `estimate` and `lift` say: the value, and the interval without its brackets."""
    value, _, interval = worded.partition(" (")
    return value, interval.rstrip(")")


def best(found: Estimate) -> str:
    """A λ2 and its interval, without zeros at the end."""
    return _with_interval(found, *(number(value) for value in _three(found)))


def percent(value: float | None, *, signed: bool = True, decimals: int = 2) -> str:
    """A share as a percentage: 0.1 is +10.00 %."""
    return fixed(100 * value, decimals, signed=signed) + NARROW + "%" if known(value) else NONE


def lift(found: Estimate) -> str:
    """A share and its interval as percentages."""
    largest = max((abs(value) for value in _three(found) if known(value)), default=0.0)
    decimals = 2 if largest < 1 else 1 if largest < 10 else 0
    return _with_interval(found, *(percent(value, decimals=decimals) for value in _three(found)))


def probability(value: float | None) -> str:
    """A p-value: three decimals, and what is smaller as such."""
    if not known(value):
        return NONE
    return f"< {SMALLEST_P}" if value < SMALLEST_P else f"{value:.3f}"


def p(value: float | None) -> str:
    """A p-value in a sentence."""
    said = probability(value)
    return (f"p {said}" if said.startswith("<") else f"p = {said}").replace(" ", NARROW)


def when(at: float) -> str:
    """A moment in seconds since 1970, to the minute, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float | None) -> str:
    """A window in its largest unit that leaves a plain number; None: no end."""
    if seconds is None:
        return "no end"
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds * 4 % size == 0:
            return counted(seconds / size, unit)
    return counted(seconds, "second")


def counted(count: float, what: str) -> str:
    """So many of something: 1 unit, 2 units."""
    return f"{number(count)} {what}" + ("" if count == 1 else "s")


def confidence(alpha: float) -> str:
    """The level of the intervals: 0.05 is 95 %."""
    return number(round(100 * (1 - alpha), 6)) + NARROW + "%"


def metric_words(name: str) -> str:
    """What a metric is called; one that is not in the list by its name."""
    if name == COVERAGE:
        return "distinct items in lists"
    return METRICS[name].words if name in METRICS else name.replace("_", " ")


def sentence(text: str) -> str:
    """With a capital at its head."""
    return text[:1].upper() + text[1:]


def effect(comparison: Comparison) -> str:
    """better, worse, or not clear; different where nobody knows which way is better."""
    if not comparison.significant or not comparison.difference.value:
        return "not clear"
    metric = METRICS.get(comparison.metric)
    if metric is None:
        return "different"
    return "better" if (comparison.difference.value > 0) == (metric.better == "higher") else "worse"


def guardrail_state(found: GuardrailResult) -> str:
    """breached: surely beyond the limit; within: surely not; else not clear."""
    if found.breached:
        return "breached"
    return "within" if known(found.change.high) and found.change.high <= found.most else "not clear"


def _three(found: Estimate) -> tuple[float | None, float | None, float | None]:
    return found.value, found.low, found.high


def _with_interval(found: Estimate, value: str, low: str, high: str) -> str:
    if not known(found.value) and not known(found.low) and not known(found.high):
        return NONE
    if not known(found.low) and not known(found.high):
        return f"{value} ({ALONE})"
    return f"{value} ({low} to {high})"
