"""The comparison's report: Markdown for people, JSON for programs, figures."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from causalrec.files import write_atomically
from training.compare import tables
from training.compare.about import About, Searched
from training.compare.conclusions import words_of
from training.compare.figures import Drawn, draw
from training.compare.findings import find
from training.compare.outcome import Outcome
from training.compare.schema import Comparison, Family
from training.report import markdown_table

DIFFERENCES: tuple[tuple[Family, str, str], ...] = (
    (
        "improvement",
        "CausalRec over the best baseline",
        "The baseline is the one with the best validation mean of the metric, without CI, as in the paper's Table 2.",
    ),
    (
        "debiasing",
        "What CI changes",
        "The same model with CI at the λ2 chosen against without, as in the paper's Fig. 5.",
    ),
    (
        "match_alone",
        "With CI against M alone",
        "M alone is the dial's other end: a dial worth having beats both.",
    ),
    ("fusion", "Fusion and the branches' own losses", "At the λ2 chosen, as in the paper's Fig. 6."),
    (
        "peer",
        "Beside the peers",
        "The same split and features, their code, our metrics; asked for is a lower end above −2 %.",
    ),
)


def write(outcomes: Iterable[Outcome], trials: Sequence[Searched], about: About, out: Path) -> Path:
    """
    Writes report.md, comparison.json and figures/ below `out` from the cells that are there.

    Returns: report.md.
    Raises: InstallationError where matplotlib is not; DataError when cells contradict each other.
    """
    comparison = find(outcomes, trials, about)
    drawn = draw(comparison)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for figure in drawn:
        write_atomically(out / "figures" / figure.name, figure.png)
    write_atomically(out / "comparison.json", comparison.model_dump_json(indent=1).encode() + b"\n")
    report = out / "report.md"
    write_atomically(report, markdown(comparison, drawn).encode())
    return report


def markdown(comparison: Comparison, drawn: Sequence[Drawn]) -> str:
    """The report as Markdown, beside its figures."""
    about = comparison.about
    lines = [f"# {about.name}", "", *_head(comparison), "", "## What follows", ""]
    lines += [f"- {sentence}" for sentence in comparison.conclusions] or ["Nothing: there is no cell to conclude from."]
    lines += ["", _how_to_read(comparison)]
    for name in comparison.sets if comparison.models else ():
        lines += ["", f"## {words_of(name)}", "", tables.accuracy(comparison, name)]
    for figure in drawn:
        lines += ["", f"![{figure.title}](figures/{figure.name})", "", figure.caption]
    for family, title, words in DIFFERENCES:
        if comparison.of(family):
            lines += ["", f"## {title}", "", words, "", tables.differences(comparison, family)]
    if comparison.models:
        lines += ["", "## The lists themselves", "", LISTS, "", tables.beyond_accuracy(comparison)]
        lines += ["", "## λ2", "", tables.lambda2(comparison)]
        lines += ["", "## Seconds", "", f"Of fitting, on {about.machine}.", "", tables.seconds(comparison)]
    if comparison.searched:
        lines += ["", "## Settings", "", *([about.budget, ""] if about.budget else []), tables.settings(comparison)]
    if about.settings:
        shared = [[name, str(value)] for name, value in about.settings.items()]
        lines += ["", "## What all models share", "", markdown_table(["setting", "value"], shared)]
    return "\n".join(lines) + "\n"


LISTS = (
    "Coverage: share of the catalogue that is in anybody's list, mean over seeds. Popularity: mean share of the users "
    "who have the list's items among their training interactions. Diversity: mean of 1 − cosine between the pictures' "
    "features of a list's items."
)


def _head(comparison: Comparison) -> list[str]:
    about = comparison.about
    sizes = ", ".join(f"{name} {value:,.10g}" for name, value in about.statistics.items())
    took = "" if about.seconds is None else f" It took {about.seconds / 60:.0f} minutes."
    lines = [
        f"Made by `{about.command}` with code {about.code} on {about.machine}.{took}",
        "",
        f"Seeds: {', '.join(map(str, about.seeds))}; a seed determines split, initial weights and sampling, the same "
        f"for every model. Test part, whole catalogue ranked, training positives masked, lists of {comparison.k}.",
    ]
    if sizes:
        lines += ["", f"Data: {sizes}."]
    return lines + [line for note in about.notes for line in ("", note)]


def _how_to_read(comparison: Comparison) -> str:
    return (
        "A user's value is the average over the seeds that judged them; a figure is the mean over users, in brackets "
        f"its 95 % bootstrap interval ({comparison.about.resamples:,} resamples of the users). Differences are paired "
        "by user and tested by flipping signs at random; p is adjusted (Holm) over all rows of its table. *Higher* or "
        "*lower* is said only where the adjusted p is below .05 and every seed agrees: intervals and p speak of other "
        "users, seeds of other trainings. With CI: at the λ2 chosen on validation. Overlapping intervals of two models "
        "do not mean that they do not differ: the paired tables answer that."
    )
