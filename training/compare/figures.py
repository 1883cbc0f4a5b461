"""
The report's figures, drawn of a comparison alone: readable in grey, every point with its 95 % interval.

matplotlib comes with the extra `compare` and is imported when a figure is drawn.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causalrec.errors import InstallationError
from causalrec.manifest import Interval
from training.compare.conclusions import words_of
from training.compare.schema import CHOSEN, Comparison, Figure, Model, named
from training.evaluate import MATCH_ALONE, POPULARITY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

BARS = (("0.0", "without CI", "white", "///"), (CHOSEN, "with CI", "0.35", ""), (MATCH_ALONE, "M alone", "0.8", "..."))
LINES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))  # one per set, or with markers per model
MARKERS = "os^DvPX*<>ph"
LINEAR = 10.0  # per cent around zero drawn to scale; beyond it logarithmically, as a collapse takes all
TICKS = (-100, -30, -10, -5, 0, 5, 10, 30, 100)
ACROSS = 3  # panels in a row
DPI = 110


@dataclass(frozen=True)
class Drawn:
    """One figure: its file's name and content, and what is said beside it."""

    name: str
    title: str
    caption: str
    png: bytes


def draw(comparison: Comparison) -> list[Drawn]:
    """
    The figures for which there is at least one model.

    Raises: InstallationError without matplotlib.
    """
    ours = [model for model in comparison.models if not model.peer]
    dials = [model for model in ours if model.dial]
    fused = [model for model in ours if model.fusion is not None]
    found = []
    if ours:
        canvas = _bars(ours, comparison)
        words = f"NDCG@{comparison.k} without CI, with CI at the λ2 chosen, and by M alone (the paper's Fig. 5)."
        found.append(_drawn("debiasing.png", "With and without CI", words + " Dashed: popularity.", canvas))
    if fused:
        canvas = _bars(fused, comparison)
        words = "The fusions, without (A, M) and with the branches' own losses (AML, MML) (the paper's Fig. 6)."
        found.append(_drawn("fusion.png", "Fusion and multitask", words, canvas))
    if dials:
        words = (
            f"NDCG@{comparison.k} by λ2, relative to λ2 = 0 in the same model, paired (the paper's Fig. 7); at the "
            f"right M alone. Vertical: λ2 chosen, one line per seed. Beyond ±{LINEAR:g} % the scale is logarithmic."
        )
        found.append(_drawn("sensitivity.png", "Sensitivity to λ2", words, _sensitivity(dials, comparison)))
    if dials and len(comparison.sets) > 1:
        words = (
            "What λ2 trades: clicks against what people wanted, along each model's λ2. Filled: the λ2 chosen, with "
            "both intervals. The line begins, at its large open mark, at λ2 = 0; where both have lost more than half "
            "it is left out."
        )
        found.append(_drawn("tradeoff.png", "Clicks against what people wanted", words, _tradeoff(dials, comparison)))
    return found


def _bars(models: Sequence[Model], comparison: Comparison) -> "Canvas":
    canvas = _canvas(1.6 + 0.75 * len(models), 2.9 * len(comparison.sets))
    panels: list[Axes] = canvas.subplots(len(comparison.sets), 1, squeeze=False, sharex=True)[:, 0].tolist()
    for panel, name in zip(panels, comparison.sets, strict=True):
        metric = named(name, f"NDCG@{comparison.k}")
        for place, (ranking, words, colour, hatch) in enumerate(BARS):
            shown = [at for at, model in enumerate(models) if metric in _of(model, ranking)]
            figures = [_of(models[at], ranking)[metric] for at in shown]
            panel.bar(
                [at + 0.27 * (place - 1) for at in shown],
                [figure.mean for figure in figures],
                0.27,
                yerr=_errors(figures),
                label=words,
                color=colour,
                hatch=hatch,
                edgecolor="black",
                linewidth=0.6,
                capsize=2,
                error_kw={"linewidth": 0.8},
            )
        popularity = next((model.test[POPULARITY] for model in models if POPULARITY in model.test), {})
        if metric in popularity:
            panel.axhline(popularity[metric].mean, color="black", linestyle="--", linewidth=0.8)
        panel.set_title(words_of(name), fontsize=10)
        panel.set_ylabel(f"NDCG@{comparison.k}")
    canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", fontsize=8, ncols=len(BARS))
    panels[-1].set_xticks(range(len(models)), [model.label.replace("CausalRec ", "CausalRec\n") for model in models])
    panels[-1].tick_params(axis="x", labelsize=8)
    return canvas


def _sensitivity(models: Sequence[Model], comparison: Comparison) -> "Canvas":
    down = -(-len(models) // ACROSS)
    canvas = _canvas(3.4 * ACROSS, 2.6 * down)
    panels: list[Axes] = canvas.subplots(down, ACROSS, squeeze=False, sharey=True).ravel().tolist()
    for panel, model in zip(panels, models, strict=False):
        last = model.lambda2s[-1] * 1.12
        for (style, marker), name in zip(LINES, comparison.sets, strict=False):
            metric = named(name, f"NDCG@{comparison.k}")
            changes = [(at, _of(model, repr(at)).get(metric)) for at in model.lambda2s]
            points = [(at, figure.change) for at, figure in changes if figure is not None and figure.change is not None]
            _with_errors(panel, points, style, marker, words_of(name))
            alone = _of(model, MATCH_ALONE).get(metric)
            if alone is not None and alone.change is not None:
                _with_errors(panel, [(last, alone.change)], "", marker, None)
        for fit in model.fits.values():
            panel.axvline(fit.lambda2, color="0.6", linewidth=0.7, linestyle=(0, (1, 3)))
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set_yscale("symlog", linthresh=LINEAR)
        panel.set_yticks(TICKS, [f"{tick:+d} %" if tick else "0" for tick in TICKS])
        panel.set_ylim(-110, 110)
        panel.minorticks_off()
        panel.set_xticks(
            [*range(int(model.lambda2s[-1]) + 1), last], [*map(str, range(int(model.lambda2s[-1]) + 1)), "M"]
        )
        panel.set_title(model.label, fontsize=10)
        panel.tick_params(labelsize=8)
    for panel in panels[len(models) :]:
        panel.set_axis_off()
    panels[0].legend(fontsize=7)
    return canvas


def _tradeoff(models: Sequence[Model], comparison: Comparison) -> "Canvas":
    wanted = comparison.sets[1:]
    canvas = _canvas(7.5, 5.0 * len(wanted))
    panels: list[Axes] = canvas.subplots(len(wanted), 1, squeeze=False)[:, 0].tolist()
    clicks = f"NDCG@{comparison.k}"
    for panel, name in zip(panels, wanted, strict=True):
        metric = named(name, clicks)
        for place, model in enumerate(model for model in models if metric in _of(model, "0.0")):
            shade, marker = f"{0.6 * place / len(models):.2f}", MARKERS[place % len(MARKERS)]
            both = [(_of(model, repr(at))[clicks].mean, _of(model, repr(at))[metric].mean) for at in model.lambda2s]
            line = [
                point for point in both if not all(now < zero / 2 for now, zero in zip(point, both[0], strict=True))
            ]
            style: dict[str, Any] = {"color": shade, "marker": marker, "mfc": "white"}
            panel.plot(*zip(*line, strict=True), linestyle=LINES[place % len(LINES)][0], ms=3, lw=0.9, **style)
            panel.plot(*both[0], linestyle="", ms=10, **style)
            x, y = _of(model, CHOSEN)[clicks], _of(model, CHOSEN)[metric]
            errors: dict[str, Any] = {"xerr": _errors([x]), "yerr": _errors([y]), "elinewidth": 0.7, "capsize": 2}
            panel.errorbar([x.mean], [y.mean], color=shade, marker=marker, ms=8, lw=0, label=model.label, **errors)
        panel.set_xlabel(f"{clicks}, {words_of('clicks').lower()}")
        panel.set_ylabel(f"{clicks}, {words_of(name).lower()}")
        panel.legend(fontsize=8)
    return canvas


def _with_errors(
    panel: "Axes", points: Sequence[tuple[float, Interval]], style: str, marker: str, label: str | None
) -> None:
    """Relative changes, in per cent."""
    panel.errorbar(
        [at for at, _ in points],
        [100 * change.mean for _, change in points],
        yerr=[
            [100 * (change.mean - change.low) for _, change in points],
            [100 * (change.high - change.mean) for _, change in points],
        ],
        linestyle=style,
        marker=marker,
        color="black",
        mfc="white",
        ms=4,
        linewidth=1,
        elinewidth=0.7,
        capsize=2,
        label=label,
    )


def _of(model: Model, ranking: str) -> dict[str, Figure]:
    """Its metrics by that ranking: nothing but λ2 = 0 for a model without a dial."""
    return model.test.get(ranking, {}) if model.dial or ranking == "0.0" else {}


def _errors(figures: Sequence[Figure]) -> list[list[float]]:
    return [[figure.mean - figure.low for figure in figures], [figure.high - figure.mean for figure in figures]]


def _canvas(width: float, height: float) -> "Canvas":
    try:
        from matplotlib.figure import Figure as Canvas  # noqa: PLC0415 - half a second, and an extra
    except ImportError as error:
        raise InstallationError(
            "figures need matplotlib, which is not installed; pip install causalrec[compare]"
        ) from error
    return Canvas(figsize=(width, height), layout="constrained")


def _drawn(name: str, title: str, caption: str, canvas: "Canvas") -> Drawn:
    content = io.BytesIO()
    canvas.savefig(content, format="png", dpi=DPI, metadata={"Software": None})  # the same bytes for the same figures
    return Drawn(name, title, caption, content.getvalue())
