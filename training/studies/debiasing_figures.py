"""The figures of the studies of debiasing: what λ2 moves, panel by panel, readable in grey."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from causalrec.errors import InstallationError
from causalrec.files import write_atomically
from training.compare.schema import CHOSEN
from training.evaluate import MATCH_ALONE
from training.studies.debiasing_tables import Group
from training.studies.debiasing_truth import TASTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


def canvas(width: float, height: float) -> "Figure":
    """An empty figure. Raises: InstallationError without matplotlib."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - half a second, and an extra
    except ImportError as error:
        raise InstallationError(
            "figures need matplotlib, which is not installed; pip install causalrec[compare]"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def write_figure(figure: "Figure", path: Path) -> None:
    """`figure` as a PNG, whole or not at all; the same bytes for the same figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())


def draw_shop(models: Sequence[Group], truths: Sequence[Group], lambda2: Sequence[float], k: int) -> "Figure":
    """
    A row per model, a column per pull: purchases and clicks by λ2, M alone as a line, and what the truth would do.

    The scale is logarithmic, as the truth is several times what can be learnt from the clicks.
    """
    labels = list(dict.fromkeys(group.label for group in models))
    pulls = list(dict.fromkeys(group.pull for group in models))
    figure = canvas(3.4 * len(pulls), 2.5 * len(labels) + 0.5)
    panels = figure.subplots(len(labels), len(pulls), squeeze=False, sharex=True, sharey=True)
    by_pull = {group.pull: group for group in truths}
    for group in models:
        panel: Axes = panels[labels.index(group.label), pulls.index(group.pull)]
        _curves(panel, group, lambda2, k)
        _bounds(panel, by_pull[group.pull], lambda2, f"purchases:NDCG@{k}")
        panel.set_title(f"{group.label}, pull {group.pull:g}", fontsize=9)
        panel.set_yscale("log")
        panel.set_ylim(0.008, 0.35)
        panel.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
        panel.minorticks_off()
        panel.tick_params(labelsize=7)
    for panel in panels[:, 0]:
        panel.set_ylabel(f"NDCG@{k}", fontsize=8)
    for panel in panels[-1]:
        panel.set_xlabel("λ2", fontsize=8)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", fontsize=8, ncols=len(pulls))
    return figure


def _curves(panel: "Axes", group: Group, lambda2: Sequence[float], k: int) -> None:
    """The model's own curves, M alone beside them, and the λ2 chosen, one line per seed."""
    for words, metric, style, marker in (
        ("purchases", f"purchases:NDCG@{k}", "-", "o"),
        ("clicks", f"NDCG@{k}", "--", "s"),
    ):
        means = [group.mean(at, metric) for at in lambda2]
        panel.plot(lambda2, means, style, marker=marker, ms=3, lw=1, color="black", mfc="white", label=words)
    alone = group.mean(MATCH_ALONE, f"purchases:NDCG@{k}")
    panel.axhline(alone, color="0.4", lw=1, ls="-.", label="purchases, M alone")
    for found in group.outcomes:
        panel.axvline(found.facts.lambda2, color="0.7", lw=0.7, ls=(0, (1, 3)))
    best = group.mean(CHOSEN, f"purchases:NDCG@{k}")
    panel.annotate(f"{best:.4f}", (0.98, 0.03), xycoords="axes fraction", ha="right", fontsize=7)


def _bounds(panel: "Axes", truth: Group, lambda2: Sequence[float], metric: str) -> None:
    panel.axhline(truth.mean(TASTE, metric), color="0.6", lw=1, ls=":", label="purchases, true taste")
    means = [truth.mean(at, metric) for at in lambda2]
    panel.plot(lambda2, means, color="0.7", lw=1, label="purchases, perfect dial")
