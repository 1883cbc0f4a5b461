"""What the figures say, in sentences; each is made from a comparison's numbers alone."""

from training.compare.schema import Comparison, Model, Pair, named
from training.evaluate import POPULARITY

WORDS = {
    "higher": "higher",
    "lower": "lower",
    "mixed": "differs over users, not in every seed",
    "unclear": "no difference shown",
    "same": "the same lists",
}
MARGIN = -0.02  # what a peer's counterpart may lose, relative
SETS = {"clicks": "held-out clicks", "liked": "items rated high", "purchases": "purchases"}


def conclude(comparison: Comparison) -> list[str]:
    """One sentence per question the comparison answers; none where it has no figures for it."""
    return [
        *_improvement(comparison),
        *_debiasing(comparison),
        *_fusion(comparison),
        *_peers(comparison),
        *_popularity(comparison),
        *_gaps(comparison),
    ]


def _improvement(comparison: Comparison) -> list[str]:
    said = []
    for name in comparison.sets:
        metric = named(name, f"NDCG@{comparison.k}")
        pairs = [pair for pair in comparison.of("improvement") if pair.metric == metric]
        if not pairs:
            continue
        above = [pair for pair in pairs if pair.verdict == "higher"]
        tried = f"{len(pairs)} rankings by CausalRec (each form, with and without CI)"
        best = pairs[0].b.label
        if above:
            top = max(above, key=lambda pair: pair.mean_a)
            said.append(
                f"{words_of(name)}: {len(above)} of {tried} are above the best baseline, {best}; the highest, "
                f"{side_in_words(top.a.label, top.a.ranking)}, by {_by_how_much(top)}."
            )
        else:
            said.append(f"{words_of(name)}: none of {tried} is shown to be above the best baseline, {best}.")
    return said


def _debiasing(comparison: Comparison) -> list[str]:
    said = []
    for name in comparison.sets:
        metric = named(name, f"NDCG@{comparison.k}")
        over_zero = {pair.a.label: pair for pair in comparison.of("debiasing") if pair.metric == metric}
        over_match = {pair.a.label: pair for pair in comparison.of("match_alone") if pair.metric == metric}
        if not over_zero:
            continue
        counted = "; ".join(
            f"{meaning} for {_listed(labels)}"
            for meaning in (
                "higher",
                "lower",
                "differs over users, not in every seed",
                "no difference shown",
                "the same lists",
            )
            if (labels := [label for label, pair in over_zero.items() if WORDS[pair.verdict] == meaning])
        )
        both = [
            label
            for label, pair in over_zero.items()
            if pair.verdict == "higher" and label in over_match and over_match[label].verdict == "higher"
        ]
        beaten = (
            f"both ends, λ2 = 0 and M alone, are beaten by {_listed(both)}"
            if both
            else "no model beats both ends, λ2 = 0 and M alone"
        )
        said.append(f"{words_of(name)}, with CI at the λ2 chosen against without: {counted}; {beaten}.")
    return said


def _fusion(comparison: Comparison) -> list[str]:
    metric = f"NDCG@{comparison.k}"
    return [
        f"{pair.a.label} against {pair.b.label}, both with CI: {WORDS[pair.verdict]} ({_by_how_much(pair)})."
        for pair in comparison.of("fusion")
        if pair.metric == metric
    ]


def _peers(comparison: Comparison) -> list[str]:
    said = []
    for pair in comparison.of("peer"):
        if pair.metric != f"NDCG@{comparison.k}" or pair.relative is None:
            continue
        holds = "above" if pair.relative.low > MARGIN else "NOT above"
        said.append(
            f"{side_in_words(pair.a.label, pair.a.ranking)} beside {pair.b.label}: {_by_how_much(pair)}; "
            f"the lower end is {holds} {MARGIN:.0%}."
        )
    return said


def _popularity(comparison: Comparison) -> list[str]:
    metric = f"NDCG@{comparison.k}"
    below = [
        model.label for model in comparison.models if _figure(model, "0.0", metric) < _figure(model, POPULARITY, metric)
    ]
    return [f"Without CI, ranking by popularity has the higher {metric} than {_listed(below)}."] if below else []


def _gaps(comparison: Comparison) -> list[str]:
    said = []
    if comparison.missing:
        cells = _listed([f"{cell.label} seed {cell.seed}" for cell in comparison.missing])
        said.append(f"Not there, and left out of every figure: {cells}.")
    if any(len(model.fits) == 1 for model in comparison.models):
        said.append("Where a model was trained once only, nothing shows what another training would have given.")
    return said


def _figure(model: Model, ranking: str, metric: str) -> float:
    found = model.test.get(ranking, {}).get(metric)
    return float("nan") if found is None else found.mean


def _by_how_much(pair: Pair) -> str:
    if pair.relative is None:
        found = f"{pair.difference.mean:+.4f} [{pair.difference.low:+.4f}, {pair.difference.high:+.4f}]"
    else:
        found = f"{pair.relative.mean:+.1%} [{pair.relative.low:+.1%}, {pair.relative.high:+.1%}]"
    return f"{found}, adjusted p {p_in_words(pair.adjusted)}"


def p_in_words(p: float) -> str:
    """Three digits after the point, no more than a randomisation test can tell."""
    return "< .001" if p < 0.001 else f"{p:.3f}".replace("0.", ".", 1)


def words_of(name: str) -> str:
    """What a set of held-out items is called, as a sentence begins."""
    words = SETS.get(name, name)
    return words[0].upper() + words[1:]


def side_in_words(label: str, ranking: str) -> str:
    """ "VBPR with CI"."""
    return f"{label} {'without CI' if ranking == '0.0' else 'with CI'}"


def _listed(labels: list[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
