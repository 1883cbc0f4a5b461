"""The report's tables, made of a comparison alone; what is not there is said to be missing."""

import numpy as np

from training.compare.conclusions import WORDS, p_in_words, side_in_words, words_of
from training.compare.schema import CHOSEN, Comparison, Family, Figure, Model, named
from training.evaluate import MATCH_ALONE, POPULARITY
from training.report import markdown_table

NONE = "—"
RANKINGS = (("0.0", "without CI"), (CHOSEN, "with CI"), (MATCH_ALONE, "M alone"))


def accuracy(comparison: Comparison, name: str) -> str:
    """MRR, NDCG and HR of every model without CI, with it, and by M alone, on the set `name` (the paper's Table 2)."""
    k = comparison.k
    metrics = [named(name, metric) for metric in ("MRR", f"NDCG@{k}", f"HR@{k}")]
    rows = []
    for model in comparison.models:
        for ranking, words in _rankings(model):
            figures = [model.test[ranking].get(metric) for metric in metrics]
            rows.append([_name(model, comparison), words, *map(_with_interval, figures), _spread(figures[1])])
    labels = {model.label for model in comparison.models}
    absent = [plan.label for plan in comparison.about.models if plan.label not in labels]
    rows += [[label, "missing", *[NONE] * 4] for label in absent]
    popularity = _popularity(comparison)
    rows += [
        [
            "popularity",
            NONE,
            *(_with_interval(popularity.get(metric)) for metric in metrics),
            _spread(popularity.get(metrics[1])),
        ]
    ]
    return markdown_table(["model", "ranking", "MRR", f"NDCG@{k}", f"HR@{k}", f"NDCG@{k} over seeds (sd)"], rows)


def differences(comparison: Comparison, family: Family) -> str:
    """The differences of one family: both means, the paired relative difference, seeds, p and what follows."""
    rows = [
        [
            words_of(pair.metric.partition(":")[0] if ":" in pair.metric else "clicks"),
            pair.metric.partition(":")[2] or pair.metric,
            _side(pair.a.label, pair.a.ranking),
            _side(pair.b.label, pair.b.ranking),
            f"{pair.mean_a:.4f}",
            f"{pair.mean_b:.4f}",
            NONE
            if pair.relative is None
            else f"{pair.relative.mean:+.1%} [{pair.relative.low:+.1%}, {pair.relative.high:+.1%}]",
            " ".join(f"{mean:+.4f}" for mean in pair.seeds.values()),
            p_in_words(pair.p),
            p_in_words(pair.adjusted),
            WORDS[pair.verdict],
        ]
        for pair in comparison.of(family)
    ]
    header = (
        "wanted",
        "metric",
        "a",
        "b",
        "a's mean",
        "b's mean",
        "a over b [95 %]",
        "a − b by seed",
        "p",
        "Holm",
        "a is",
    )
    return markdown_table(header, rows)


def beyond_accuracy(comparison: Comparison) -> str:
    """Coverage, popularity and diversity of the lists, without CI, with it, by M alone and by popularity."""
    rows = []
    for model in comparison.models:
        for ranking, words in _rankings(model):
            rows.append([_name(model, comparison), words, *_lists(model, ranking, comparison.k)])
    first = next((model for model in comparison.models if _lists(model, POPULARITY, comparison.k)[0] != NONE), None)
    if first is not None:
        rows.append(["popularity", NONE, *_lists(first, POPULARITY, comparison.k)])
    return markdown_table(["model", "ranking", "coverage", "popularity", "diversity"], rows)


def lambda2(comparison: Comparison) -> str:
    """Which λ2 validation chose per seed, on what basis, and how much of the lists it keeps."""
    rows = []
    for model in comparison.models:
        if not model.dial:
            rows.append([model.label, NONE, model.undebiasable or "judged at λ2 = 0 only", NONE])
            continue
        kept = [fit.overlap.get(repr(fit.lambda2)) for fit in model.fits.values()]
        shared = [share for share in kept if share is not None]
        rows.append(
            [
                model.label,
                " ".join(f"{fit.lambda2:g}" for fit in model.fits.values()),
                model.basis,
                f"{np.mean(shared):.3f}" if shared else NONE,
            ]
        )
    return markdown_table(["model", "λ2 chosen, by seed", "chosen on", "overlap with λ2 = 0"], rows)


def settings(comparison: Comparison) -> str:
    """What the search found for each model, and in how many trials."""
    rows = []
    for found in comparison.searched:
        trials = found.source or (f"{found.trials}" + (f" (+{found.unfinished} cut short)" if found.unfinished else ""))
        values = ", ".join(f"{name} = {_value(value)}" for name, value in found.settings.items())
        spaces = "; ".join(f"{name}: {words}" for name, words in found.space.items())
        rows.append(
            [found.label, trials, f"{found.seconds:.0f}", *map(_number, (found.default, found.best)), values, spaces]
        )
    header = ("model", "trials", "seconds", "validation, defaults", "validation, found", "settings found", "searched")
    return markdown_table(header, rows)


def seconds(comparison: Comparison) -> str:
    """How long fitting took, evaluation left out; means over the seeds."""
    rows = []
    for model in comparison.models:
        fits = list(model.fits.values())
        epochs, spent = sum(fit.epochs for fit in fits), sum(fit.seconds for fit in fits)
        rows.append(
            [
                model.label,
                " ".join(dict.fromkeys(f"{fit.batch_size:,}" for fit in fits)),
                f"{epochs / len(fits):.0f}",
                f"{np.mean([fit.best_epoch for fit in fits]):.0f}",
                f"{spent / epochs:.2f}" if epochs else NONE,
                f"{spent / len(fits):.0f}",
            ]
        )
    return markdown_table(["model", "batch", "epochs", "best epoch", "seconds per epoch", "seconds in all"], rows)


def _rankings(model: Model) -> list[tuple[str, str]]:
    """Those that mean something to the model and that it was judged by."""
    return [(ranking, words) for ranking, words in RANKINGS[: None if model.dial else 1] if ranking in model.test]


def _name(model: Model, comparison: Comparison) -> str:
    there, all_seeds = len(model.fits), len(comparison.about.seeds)
    return f"{model.label} ({there} of {all_seeds} seeds)" if there < all_seeds else model.label


def _popularity(comparison: Comparison) -> dict[str, Figure]:
    """The figures of the ranking by popularity, the same for every model: of one that has the most seeds."""
    having = [model for model in comparison.models if POPULARITY in model.test]
    return max(having, key=lambda model: len(model.fits)).test[POPULARITY] if having else {}


def _lists(model: Model, ranking: str, k: int) -> list[str]:
    covered = [fit.coverage[ranking] for fit in model.fits.values() if ranking in fit.coverage]
    metrics = model.test.get(ranking, {})
    figures = [metrics.get(f"popularity@{k}"), metrics.get(f"diversity@{k}")]
    return [f"{np.mean(covered):.1%}" if covered else NONE, *map(_with_interval, figures)]


def _with_interval(figure: Figure | None) -> str:
    if figure is None:
        return NONE
    low, high = (f"{end:.4f}".replace("0.", ".", 1) for end in (figure.low, figure.high))
    return f"{figure.mean:.4f} [{low}, {high}]"


def _spread(figure: Figure | None) -> str:
    if figure is None:
        return NONE
    means = list(figure.seeds.values())
    return " ".join(f"{mean:.4f}" for mean in means) + (f" ({np.std(means, ddof=1):.4f})" if len(means) > 1 else "")


def _side(label: str, ranking: str) -> str:
    return f"{label}, M alone" if ranking == MATCH_ALONE else side_in_words(label, ranking)


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"
