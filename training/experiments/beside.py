"""A report beside the truth: what each λ2 is worth, which intervals hold it, what share of the gain was found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from training.experiments.checks import Check, checks
from training.experiments.traffic import OUTSIDE, Sums, Totals
from training.experiments.truth import Truth
from training.experiments.words import plain
from training.report import markdown_table

Json = Mapping[str, Any]


def beside_the_truth(report: Json, truth: Truth, totals: Totals, low: float, high: float) -> str:
    """Of an experiment that tried λ2 from `low` to `high`, and whose visits brought `totals`."""
    blocks = [
        f"What only a simulated shop can know. The truth: {truth.source}, before the traffic.\n"
        "As served: what the lists that went out were worth, after what the service learnt on the way.",
        markdown_table(["variant", "λ2", *HEADER], _worths(report, truth, totals)),
        "\n".join(_gain(report, truth, low, high)),
        _held(checks(report, truth, totals)),
    ]
    return "\n\n".join(block for block in blocks if block)


HEADER = ("purchases per visit: true", "as served", "drawn", "clicks per visit: true", "as served", "drawn")


def _worths(report: Json, truth: Truth, totals: Totals) -> Iterator[list[str]]:
    lambda2 = {each["variant"]: each["lambda2"] for each in report["variants"]}
    for name, sums in sorted(totals.sums.items()):
        if name != OUTSIDE:
            yield [name, *_worth(truth, lambda2.get(name), sums)]


def _worth(truth: Truth, lambda2: float | None, sums: Sums) -> list[str]:
    """Empty where there is no one truth: λ2 drawn, or two of them mixed."""
    true = ["", ""] if lambda2 is None else [f"{truth.at(lambda2):.4f}", f"{truth.at(lambda2, 'clicks'):.4f}"]
    purchases = [f"{total / sums.visits:.4f}" for total in (sums.expected_purchases, sums.purchases)]
    clicks = [f"{total / sums.visits:.4f}" for total in (sums.expected_clicks, sums.clicks)]
    return ["" if lambda2 is None else f"{lambda2:g}", true[0], *purchases, true[1], *clicks]


def _gain(report: Json, truth: Truth, low: float, high: float) -> Iterator[str]:
    best, control = truth.best(low, high), _control(report, low)
    gain = truth.at(best) - truth.at(control)
    yield (
        f"The true best λ2 is {truth.curve.best:g}; of those tried, from {low:g} to {high:g}, it is {best:g}: "
        f"{gain / truth.at(control):+.1%} purchases, {truth.at(best, 'clicks') / truth.at(control, 'clicks') - 1:+.1%} "
        f"clicks against {control:g}."
    )
    for says, chosen in _chosen(report):
        share = f", {(truth.at(chosen) - truth.at(control)) / gain:.0%} of what there is to gain" if gain > 0 else ""
        yield f"{says} λ2 = {chosen:g}, which is truly worth {truth.at(chosen) / truth.at(control) - 1:+.1%}{share}."


def _control(report: Json, low: float) -> float:
    """The λ2 that others are compared with; of a random one, the lowest."""
    found = (each["lambda2"] for each in report["variants"] if each["variant"] == report["control"])
    return next((each for each in found if each is not None), low)


def _chosen(report: Json) -> Iterator[tuple[str, float]]:
    if report["verdict"]["lambda2"] is not None:
        yield "The verdict names", report["verdict"]["lambda2"]
    for each in report["dose_response"]:
        if each["metric"] == report["primary"] and each["best"]["value"] is not None:
            yield "The fitted curve is highest at", round(each["best"]["value"], 3)


def _held(every: Sequence[Check]) -> str:
    if not every:
        return ""
    lifts = [each for each in every if each.served is not None]
    head = f"{sum(each.holds(each.truth) for each in every)} of {len(every)} intervals hold the truth"
    if lifts:
        head += f"; {sum(each.holds(each.served) for each in lifts)} of the {len(lifts)} lifts hold what was served"
    missed = [each for each in every if not each.holds(each.truth) or (each in lifts and not each.holds(each.served))]
    if not missed:
        return f"{head}."
    rows = [
        [
            each.what,
            plain(each.metric),
            f"[{each.low:.4g}, {each.high:.4g}]",
            f"{each.truth:.4g}",
            "" if each.served is None else f"{each.served:.4g}",
        ]
        for each in missed
    ]
    return f"{head}. Those that do not hold both:\n{markdown_table(['', 'metric', 'interval', 'true', 'served'], rows)}"
