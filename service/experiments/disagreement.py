"""Where clicks say one thing and what is decided by another: more clicks are no better shop."""

from collections.abc import Iterator, Sequence

from service.experiments.arms import CLICKS
from service.experiments.metrics import METRICS
from service.experiments.report import Comparison, DoseResponse, Preference
from service.experiments.wording import lift, metric_words, number


def disagreement(
    primary: str,
    comparisons: Sequence[Comparison] = (),
    doses: Sequence[DoseResponse] = (),
    preferences: Sequence[Preference] = (),
) -> str | None:
    """
    Where clicks surely point one way, and the primary metric another: of a variant, of the best λ2, or in mixed lists.
    None where nowhere, or where clicks themselves decide.
    """
    if primary == CLICKS:
        return None
    found = [*_of_variants(primary, comparisons), *_of_curves(primary, doses), *_of_lists(preferences)]
    if not found:
        return None
    words = "purchases" if preferences else metric_words(primary)
    return f"Clicks and {words} point different ways; decide by the latter. {' '.join(found)}"


def towards(difference: float | None, metric: str) -> float:
    """The difference, positive where it is better."""
    return (difference or 0.0) * (1 if METRICS[metric].better == "higher" else -1)


def _of_variants(primary: str, comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Clicks surely moved one way; the primary metric, surely or so far, the other."""
    for variant in dict.fromkeys(comparison.variant for comparison in comparisons):
        of = {comparison.metric: comparison for comparison in comparisons if comparison.variant == variant}
        clicks, main = of.get(CLICKS), of.get(primary)
        if clicks is None or main is None or not clicks.significant:
            continue
        if towards(main.difference.value, primary) * (clicks.difference.value or 0.0) < 0:
            sure = "surely" if main.significant else "so far, not surely,"
            yield (
                f"{variant}: {metric_words(CLICKS)} change by {lift(clicks.lift)}, but {metric_words(primary)} {sure} "
                f"by {lift(main.lift)}."
            )


def _of_curves(primary: str, doses: Sequence[DoseResponse]) -> Iterator[str]:
    """No λ2 may be the best by both."""
    of = {dose.metric: dose.best for dose in doses}
    clicks, main = of.get(CLICKS), of.get(primary)
    if clicks is None or main is None or None in (clicks.low, clicks.high, main.low, main.high):
        return
    if (clicks.high or 0.0) < (main.low or 0.0) or (main.high or 0.0) < (clicks.low or 0.0):
        both = ((metric_words(CLICKS), clicks), (metric_words(primary), main))
        told = [f"{words} at {number(best.value)} ({number(best.low)} to {number(best.high)})" for words, best in both]
        yield f"The best λ2 is, by {told[0]}, by {told[1]}."


def _of_lists(preferences: Sequence[Preference]) -> Iterator[str]:
    """People surely click the one's items and surely buy the other's."""
    of = {found.metric: found for found in preferences if found.significant}
    clicks, bought = of.get("clicks"), of.get("purchases")
    if clicks is None or bought is None:
        return
    if (clicks.preference.value or 0.0) * (bought.preference.value or 0.0) < 0:
        chosen = [found.first if (found.preference.value or 0.0) > 0 else found.second for found in (clicks, bought)]
        yield f"People click on the items of {chosen[0]}, and buy those of {chosen[1]}."
