"""What to do, in words that can be acted on, with the figures behind them."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from service.experiments.arms import CLICKS
from service.experiments.disagreement import towards
from service.experiments.dose import advice
from service.experiments.metrics import METRICS
from service.experiments.model import Config, State
from service.experiments.report import (
    Comparison,
    DoseResponse,
    Estimate,
    GuardrailResult,
    Preference,
    SampleRatio,
    Verdict,
)
from service.experiments.wording import counted, effect, lift, metric_words, number, percent, probability

MATTERS: Final = 0.01
"""A lift below this is not worth waiting for: where every variant's is, the control is kept."""
Decision = Literal["blocked", "ship", "keep", "continue", "stopped"]


class Known(NamedTuple):
    """
    What a verdict is made of. more: by variant, units that it would take in addition to know better than the control,
    None where no sensible number would do. comparisons: all; preferences: of an interleaving only.
    """

    config: Config
    state: State
    units: int
    sample_ratio: SampleRatio | None
    comparisons: Sequence[Comparison]
    doses: Sequence[DoseResponse]
    guardrails: Sequence[GuardrailResult]
    preferences: Sequence[Preference]
    more: Mapping[str, float | None]


def verdict(known: Known) -> Verdict:
    """
    What is broken comes first, then what does harm, then what is known. An experiment that ended before anything was
    known is called stopped.
    """
    ratio = known.sample_ratio
    if ratio is not None and ratio.failed:
        return _blocked(ratio)
    if breaches := [found for found in known.guardrails if found.breached]:
        return _breached(known.config, breaches)
    judge = {"interleaving": _preferred, "random": _drawn}.get(known.config.kind, _compared)
    found = judge(known)
    if found.decision == "continue" and known.state == "stopped":
        headline = f"Stopped before anything was known, after {counted(known.units, 'unit')}."
        return found.model_copy(update={"decision": "stopped", "headline": headline})
    return found


def _blocked(ratio: SampleRatio) -> Verdict:
    total = sum(ratio.observed.values())
    shares = [
        f"{name} has {number(count)} units, {percent(count / total, signed=False)} instead of "
        f"{percent(ratio.expected[name], signed=False)}."
        for name, count in ratio.observed.items()
    ]
    return Verdict(
        decision="blocked",
        lambda2=None,
        headline="Believe none of these figures: units did not come to the variants as they should.",
        reasons=[
            f"Sample ratio mismatch: the sequential test's p-value is {probability(ratio.p_value)}.",
            *shares,
            "Something loses or adds units of one variant: exposures that do not arrive, answers that fail, robots. "
            "Find it, then start a version with a new salt.",
        ],
    )


def _breached(config: Config, breaches: Sequence[GuardrailResult]) -> Verdict:
    reasons = [
        f"{found.variant}: {'coverage' if found.metric not in METRICS else metric_words(found.metric)} worse than the "
        f"control's by {lift(found.change)}; allowed are {percent(found.most, signed=False)}."
        for found in breaches
    ]
    names = ", ".join(dict.fromkeys(found.variant for found in breaches))
    return Verdict(
        decision="stopped",
        lambda2=_lambda2(config, config.control),
        headline=f"Harm done by {names}: a guardrail is breached. Serve the control{_at(config, config.control)}.",
        reasons=reasons,
    )


def _compared(known: Known) -> Verdict:
    config = known.config
    main = [comparison for comparison in known.comparisons if comparison.metric == config.primary]
    better = [comparison for comparison in main if effect(comparison) == "better"]
    dose = next((dose for dose in known.doses if dose.metric == config.primary), None)
    reasons = [_in_words(comparison) for comparison in main] + ([_dose_in_words(dose)] if dose else [])
    if better:
        return _ship(config, better, dose, reasons)
    if dose is not None and _elsewhere(dose, _lambda2(config, config.control)):
        return _by_curve(dose, reasons)
    if kept := _kept(known, main):
        return Verdict(
            decision="keep",
            lambda2=_lambda2(config, config.control),
            headline=f"Keep the control{_at(config, config.control)}: {kept}",
            reasons=reasons,
        )
    return Verdict(decision="continue", lambda2=None, headline=_continued(known, main, dose), reasons=reasons)


def _ship(config: Config, better: Sequence[Comparison], dose: DoseResponse | None, reasons: list[str]) -> Verdict:
    best = max(better, key=lambda comparison: towards(comparison.difference.value, config.primary))
    value = _lambda2(config, best.variant)
    told = f"{best.variant} changes {metric_words(config.primary)} by {lift(best.lift)} against {config.control}"
    if dose is not None and dose.conclusive and dose.best.value is not None:
        value = round(dose.best.value, 2)
        told += f"; over all λ2 tried it is best at {_range(dose.best)}"
    return Verdict(decision="ship", lambda2=value, headline=f"Use λ2 = {number(value)}: {told}.", reasons=reasons)


def _elsewhere(dose: DoseResponse, control: float | None) -> bool:
    """The best λ2 is known, and is surely not the control's: the curve knows more than any of its points alone."""
    low, high = dose.best.low, dose.best.high
    if not dose.conclusive or low is None or high is None or control is None:
        return False
    return not low <= control <= high


def _by_curve(dose: DoseResponse, reasons: list[str]) -> Verdict:
    best = dose.best.value or 0.0
    headline = f"Use λ2 = {best:.2f}: {metric_words(dose.metric)} are best at {_range(dose.best)}."
    return Verdict(decision="ship", lambda2=round(best, 2), headline=headline, reasons=reasons)


def _kept(known: Known, main: Sequence[Comparison]) -> str | None:
    """Why the control is at least as good; None where that is not known."""
    if not main:
        return None
    words = metric_words(known.config.primary)
    if all(effect(comparison) == "worse" for comparison in main):
        return f"every other variant is worse by {words}."
    most = [_most_gained(comparison) for comparison in main]
    gains = [gain for gain in most if gain is not None]
    if len(gains) < len(most):
        return None
    if max(gains) < MATTERS:
        return f"no variant gains more than {percent(max(*gains, 0.0), signed=False)} of {words}."
    planned = known.config.planned_units
    if planned is not None and known.units >= planned:
        allowed = percent(max(gains), signed=False)
        return f"all {number(planned)} planned units came and none is shown to be better; up to {allowed} is possible."
    return None


def _most_gained(comparison: Comparison) -> float | None:
    """The best lift that the interval leaves open."""
    if METRICS[comparison.metric].better == "higher":
        return comparison.lift.high
    return None if comparison.lift.low is None else -comparison.lift.low


def _continued(known: Known, main: Sequence[Comparison], dose: DoseResponse | None) -> str:
    if not main:
        return "Go on: there is nothing to compare yet."
    if all(comparison.difference.low is None for comparison in main):
        return f"Go on: {counted(known.units, 'unit')} are too few to say anything."
    sensible = [more for more in known.more.values() if more is not None]
    if sensible:
        return f"Go on: if variants differ as they do now, about {number(_rounded(min(sensible)))} more units show it."
    if dose is not None and dose.units_needed is not None and dose.units_needed > known.units:
        more = number(_rounded(dose.units_needed - known.units))
        return f"Go on: about {more} more units narrow the best λ2 down to less than 0.5."
    return "Go on or stop: variants hardly differ so far, and no sensible number of units would show such a difference."


def _preferred(known: Known) -> Verdict:
    """Of an interleaving: purchases decide unless the primary metric is about clicks; clicks alone ship nothing."""
    config = known.config
    decides = "clicks" if config.primary in ("clicks_per_user", CLICKS) else "purchases"
    of = next((found for found in known.preferences if found.metric == decides), None)
    reasons = [_preference_in_words(found) for found in known.preferences]
    if of is None or not of.significant or not of.preference.value:
        headline = f"Go on: no preference is sure yet by {decides}" + (
            f", after {counted(of.units, 'unit')} that made any." if of else "."
        )
        return Verdict(decision="continue", lambda2=None, headline=headline, reasons=reasons)
    winner = of.first if of.preference.value > 0 else of.second
    headline = f"people prefer the items of {winner} by {decides}."
    kept = winner == config.control
    start = f"Keep the control{_at(config, winner)}: " if kept else f"Use λ2 = {number(_lambda2(config, winner))}: "
    return Verdict(
        decision="keep" if kept else "ship",
        lambda2=_lambda2(config, winner),
        headline=start + headline,
        reasons=reasons,
    )


def _drawn(known: Known) -> Verdict:
    """Of a random λ2: the best one, once its interval is narrow."""
    dose = next((dose for dose in known.doses if dose.metric == known.config.primary), None)
    if dose is None or dose.best.value is None:
        headline = f"Go on: {counted(known.units, 'unit')} are too few to say anything."
        return Verdict(decision="continue", lambda2=None, headline=headline, reasons=[])
    reasons = [_dose_in_words(dose)]
    if dose.conclusive:
        return _by_curve(dose, reasons)
    if dose.units_needed is None:
        headline = "Go on: the best λ2 is not known yet, nor how many units it would take."
    else:
        more = number(_rounded(max(dose.units_needed - known.units, 0)))
        headline = f"Go on: about {more} more units narrow the best λ2 down to less than 0.5."
    return Verdict(decision="continue", lambda2=None, headline=headline, reasons=reasons)


def _in_words(comparison: Comparison) -> str:
    words = metric_words(comparison.metric)
    if comparison.difference.low is None:
        return f"{comparison.variant}: not enough is known of {words} yet."
    clear = {"better": "better", "worse": "worse", "not clear": "no clear difference"}[effect(comparison)]
    p = probability(comparison.adjusted_p_value)
    return f"{comparison.variant}: {clear}, {words} {lift(comparison.lift)} against {comparison.control}, p {p}."


def _dose_in_words(dose: DoseResponse) -> str:
    if dose.best.value is None:
        return f"No best λ2 by {metric_words(dose.metric)} can be told yet."
    needed = dose.units_needed
    more = "" if needed is None else f"; about {number(_rounded(needed))} units in all narrow it down to less than 0.5"
    return " ".join([f"By {metric_words(dose.metric)} the best λ2 is {_range(dose.best)}{more}.", *advice(dose)])


def _preference_in_words(found: Preference) -> str:
    value = found.preference.value
    if value is None:
        return f"By {found.metric}: nobody chose anything yet."
    sure = "surely" if found.significant else "not surely"
    part = percent((1 + abs(value)) / 2, signed=False)
    who = found.first if value > 0 else found.second
    return f"By {found.metric}: {part} of choices are for {who}, {sure}, of {counted(found.units, 'unit')}."


def _range(found: Estimate) -> str:
    if found.value is None or found.low is None or found.high is None:
        return number(found.value)
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _lambda2(config: Config, name: str) -> float | None:
    return next((variant.lambda2 for variant in config.variants if variant.name == name), None)


def _at(config: Config, name: str) -> str:
    value = _lambda2(config, name)
    return "" if value is None else f", λ2 = {number(value)}"


def _rounded(units: float) -> int:
    """To two significant digits, upwards: a forecast is no count."""
    whole = max(int(units), 1)
    step = int(10 ** max(len(str(whole)) - 2, 0))
    return -(-whole // step) * step
