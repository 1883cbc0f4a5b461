"""From the cells that are there to what the report says: every figure, and every difference that is asked for."""

import math
from collections.abc import Iterable, Sequence

from training.compare.about import About, Planned, Searched
from training.compare.conclusions import conclude
from training.compare.measured import Measured, name_of
from training.compare.outcome import Outcome
from training.compare.pairs import Difference, difference, holm, sign_flip
from training.compare.schema import CHOSEN, Comparison, Family, Figure, Fit, Missing, Model, Pair, Side, Verdict, named
from training.evaluate import MATCH_ALONE
from training.metrics import Bootstrap

Wish = tuple[Family, str, Side, Side]  # family, metric, a, b

LEVEL = 0.05
FUSIONS = (  # Fig. 6: what the branches' own losses change, and what multiplication does
    (("multiplication", True), ("multiplication", False)),
    (("addition", True), ("addition", False)),
    (("multiplication", True), ("addition", True)),
    (("multiplication", False), ("addition", False)),
)


def find(outcomes: Iterable[Outcome], trials: Sequence[Searched], about: About) -> Comparison:
    """
    Everything the report says.

    Args:
        outcomes: one per (label, seed), in any order; planned ones that are not there are named as missing, and labels
            that were not planned come last.
        trials: what was searched, of any labels.
    Raises: DataError when cells contradict each other (`Measured`, `difference`).
    """
    by_label: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_label.setdefault(outcome.facts.label, []).append(outcome)
    plans = {plan.label: plan for plan in about.models}
    order = [label for label in plans if label in by_label] + sorted(by_label.keys() - plans.keys())
    measured = {label: Measured(by_label[label]) for label in order}
    bootstrap = Bootstrap(about.resamples, 0)
    sets = _sets(measured.values())
    models = [
        _model(cells, plans.get(label, Planned(label, baseline=False)), sets, bootstrap)
        for label, cells in measured.items()
    ]
    k = _k(models)
    wishes = _wishes(models, sets, k, about)
    found = Comparison(
        about=about,
        k=k,
        sets=sets,
        models=tuple(models),
        missing=tuple(
            Missing(label=label, seed=seed)
            for label in plans
            for seed in about.seeds
            if label not in measured or seed not in measured[label].outcomes
        ),
        searched=tuple(trials),
        pairs=tuple(_pairs(wishes, measured, bootstrap)),
        conclusions=(),
    )
    return found.model_copy(update={"conclusions": tuple(conclude(found))})


def _sets(measured: Iterable[Measured]) -> tuple[str, ...]:
    names = dict.fromkeys(
        name for cells in measured for outcome in cells.outcomes.values() for name in outcome.users["test"]
    )
    return ("clicks", *(name for name in names if name != "clicks"))


def _k(models: list[Model]) -> int:
    """The length of the lists, from the metrics' names."""
    names = (metric for model in models for metric in model.test.get("0.0", {}) if metric.startswith("NDCG@"))
    return int(next(names, "NDCG@50").removeprefix("NDCG@"))


def _model(cells: Measured, plan: Planned, sets: tuple[str, ...], bootstrap: Bootstrap) -> Model:
    test: dict[str, dict[str, Figure]] = {}
    valid: dict[str, dict[str, float]] = {}
    for name in sets:
        for (ranking, metric), figure in cells.figures(name, bootstrap).items():
            test.setdefault(ranking, {})[metric] = figure
        for (ranking, metric), mean in cells.valid_means(name).items():
            valid.setdefault(ranking, {})[metric] = mean
    return Model(
        label=cells.facts.label,
        peer=cells.facts.peer,
        baseline=plan.baseline,
        fusion=plan.fusion,
        multitask=plan.multitask,
        undebiasable=cells.facts.undebiasable,
        basis=cells.facts.basis,
        settings=cells.facts.settings,
        fits={seed: _fit(outcome) for seed, outcome in cells.outcomes.items()},
        test=test,
        valid=valid,
    )


def _fit(outcome: Outcome) -> Fit:
    facts, test = outcome.facts, outcome.test
    coverage = {name_of(ranking): float((lists > 0).mean()) for ranking, lists in test.shown.items()}
    if facts.lambda2 in test.shown:
        coverage[CHOSEN] = coverage[name_of(facts.lambda2)]
    return Fit(
        lambda2=facts.lambda2,
        epochs=facts.epochs,
        best_epoch=facts.best_epoch,
        batch_size=facts.batch_size,
        seconds=facts.seconds,
        coverage=coverage,
        overlap={name_of(at): float(shares.mean()) for at, shares in test.overlap.items()},
        diagnostics={name: value if math.isfinite(value) else None for name, value in facts.diagnostics.items()},
    )


def _wishes(models: list[Model], sets: tuple[str, ...], k: int, about: About) -> list[Wish]:
    ours = [model for model in models if not model.peer]
    dials = [model for model in ours if model.dial]
    headline = ("MRR", f"NDCG@{k}", f"HR@{k}")
    wishes: list[Wish] = []
    for name in sets:
        ndcg = named(name, f"NDCG@{k}")
        for metric in (named(name, plain) for plain in headline):
            wishes += _improvements(ours, metric)
            wishes += _beside_peers(models, metric, about)
        wishes += [("debiasing", ndcg, _side(model, CHOSEN), _side(model, "0.0")) for model in dials]
        wishes += [("match_alone", ndcg, _side(model, CHOSEN), _side(model, MATCH_ALONE)) for model in dials]
        place = {(model.fusion, model.multitask): model for model in ours if model.fusion is not None}
        wishes += [
            ("fusion", ndcg, _side(place[a], CHOSEN), _side(place[b], CHOSEN))
            for a, b in FUSIONS
            if a in place and b in place
        ]
    return wishes


def _improvements(ours: list[Model], metric: str) -> list[Wish]:
    """CausalRec without and with its dial, over the baseline that is best without: on validation, over most seeds."""
    baselines = [model for model in ours if model.baseline and metric in model.valid.get("0.0", {})]
    if not baselines:
        return []
    best = max(baselines, key=lambda model: (len(model.fits), model.valid["0.0"][metric]))
    return [
        ("improvement", metric, _side(model, ranking), _side(best, "0.0"))
        for model in ours
        if not model.baseline
        for ranking in (("0.0", CHOSEN) if model.dial else ("0.0",))
    ]


def _beside_peers(models: list[Model], metric: str, about: About) -> list[Wish]:
    """Ours over a peer's: without debiasing, and where both have a dial each at the λ2 chosen for it."""
    labels = {model.label: model for model in models if not model.peer}
    wishes: list[Wish] = []
    for peer in (model for model in models if model.peer):
        mine = labels.get(counterpart(peer.label, about))
        if mine is not None:
            rankings = ("0.0", CHOSEN) if mine.dial and peer.dial else ("0.0",)
            wishes += [("peer", metric, _side(mine, ranking), _side(peer, ranking)) for ranking in rankings]
    return wishes


def counterpart(label: str, about: About) -> str:
    """The label of ours that a peer's is set beside: "VBPR" for "cornac VBPR"."""
    return about.counterparts.get(label, label.partition(" ")[2])


def _side(model: Model, ranking: str) -> Side:
    return Side(label=model.label, ranking=ranking)


def _pairs(wishes: list[Wish], measured: dict[str, Measured], bootstrap: Bootstrap) -> list[Pair]:
    found: list[tuple[Wish, Difference]] = []
    for wish in wishes:
        _, metric, a, b = wish
        mine, theirs = (measured[side.label].sample(side.ranking, metric) for side in (a, b))
        differs = difference(mine, theirs, bootstrap)
        if differs is not None:
            found.append((wish, differs))
    p_values = sign_flip([differs.by_user for _, differs in found], seed=0)
    adjusted: dict[int, float] = {}
    for family in dict.fromkeys(wish[0] for wish, _ in found):
        places = [place for place, (wish, _) in enumerate(found) if wish[0] == family]
        adjusted |= dict(zip(places, holm([p_values[place] for place in places]), strict=True))
    return [_pair(wish, differs, p_values[place], adjusted[place]) for place, (wish, differs) in enumerate(found)]


def _pair(wish: Wish, differs: Difference, p: float, adjusted: float) -> Pair:
    family, metric, a, b = wish
    return Pair(
        family=family,
        metric=metric,
        a=a,
        b=b,
        users=differs.users,
        mean_a=differs.mean_a,
        mean_b=differs.mean_b,
        difference=differs.difference,
        relative=differs.relative,
        seeds=differs.seeds,
        p=p,
        adjusted=adjusted,
        verdict=verdict(differs, adjusted),
    )


def verdict(differs: Difference, adjusted: float) -> Verdict:
    """In one word; see `Pair.verdict`."""
    if not differs.by_user.any():
        return "same"
    if adjusted >= LEVEL:
        return "unclear"
    signs = {mean > 0 for mean in differs.seeds.values()}
    if len(signs) > 1:
        return "mixed"
    return "higher" if signs == {True} else "lower"
