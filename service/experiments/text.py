"""A report as plain text for a terminal: the verdict first, then aligned tables."""

from collections.abc import Iterator

from service.experiments import arrangement, tables, wording
from service.experiments.report import DoseResponse, Report
from service.experiments.tables import Table

WIDTH = 72  # of the rules between parts


def as_text(report: Report) -> str:
    """
    The report in lines that end with a newline. What people wrote (key, description, names, reasons) cannot move the
    cursor: control characters in it are replaced.
    """
    return "".join(f"{printable(line)}\n" for line in _lines(report))


def aligned(table: Table) -> list[str]:
    """A table's lines, below its caption: words to the left, figures to the right."""
    rows = [table.heads, *(tuple(map(str, row)) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if at < table.words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [table.caption, f"  {lines[0]}", *(f"  {line}" for line in lines[1:])]


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.key}, version {report.version}, {report.state}"
    if report.description:
        yield report.description
    yield "=" * WIDTH
    yield from _verdict(report)
    yield "-" * WIDTH
    yield from _facts(report)
    for part in _parts(report):
        yield ""
        yield from part
    yield ""
    yield f"Correction: {report.multiplicity}"
    yield from (f"Note: {note}" for note in report.notes)


def _verdict(report: Report) -> Iterator[str]:
    ratio, verdict = report.sample_ratio, report.verdict
    if ratio is not None and ratio.failed:
        yield f"SAMPLE RATIO MISMATCH ({wording.p(ratio.p_value)}): believe none of the figures below."
    elif arrangement.blocked(report):
        yield "BLOCKED: believe none of the figures below."
    yield f"Verdict: {wording.DECISIONS[verdict.decision]}"
    yield verdict.headline
    if verdict.lambda2 is not None:
        yield f"Recommended λ2: {wording.number(verdict.lambda2)}"
    yield from (f"  - {reason}" for reason in verdict.reasons)
    for each in report.guardrails:
        if each.breached:
            what = f"{wording.metric_words(each.metric)} {wording.lift(each.change)} worse"
            yield f"GUARDRAIL BREACHED by {each.variant}: {what}, {wording.percent(each.most)} allowed"
    if report.disagreement:
        yield f"DISAGREEMENT: {report.disagreement}"


def _facts(report: Report) -> Iterator[str]:
    planned = f" of {wording.number(report.planned_units)} planned" if report.planned_units else ""
    series = "" if report.series == report.version else f", with versions from {report.series} on"
    facts = {
        "kind": wording.KINDS[report.kind] + series,
        "units": wording.number(report.units) + planned,
        "decided by": wording.metric_words(report.primary),
        "control": report.control,
        "intervals": f"{wording.confidence(report.alpha)}, always valid",
        "window": wording.duration(report.window) + " after exposure",
        "made": f"{wording.when(report.at)} from {wording.SOURCES[report.source]}",
    }
    yield from (f"{name:<12}{fact}" for name, fact in facts.items() if fact)


def _parts(report: Report) -> Iterator[list[str]]:
    """A part per table that has something in it."""
    if not report.units:
        yield ["No unit has come yet."]
    if report.variants:
        yield aligned(tables.variants(report))
    yield from (aligned(tables.comparisons(card)) for card in arrangement.cards(report))
    if report.dose_response:
        yield [_dose(each) for each in report.dose_response]
    if report.preferences:
        yield aligned(tables.preferences(report))
    if report.off_policy:
        yield aligned(tables.off_policy(report))
    if report.guardrails:
        yield aligned(tables.guardrails(report))
    if report.sample_ratio is not None:
        ratio = report.sample_ratio
        lines = aligned(tables.sample_ratio(report, ratio))
        said = "FAILED" if ratio.failed else "passed"
        one_look = f"by chi-square at one look {wording.p(ratio.chi_square_p_value)}"
        yield [
            *lines,
            f"Sample ratio test {said}: {wording.p(ratio.p_value)} however often it was looked at, {one_look}.",
        ]
    if report.timeline:
        first, last = (wording.when(look.at) for look in (report.timeline[0], report.timeline[-1]))
        yield [f"{wording.counted(len(report.timeline), 'look')} from {first} to {last}: json and html show them."]


def _dose(found: DoseResponse) -> str:
    said = f"Best λ2 by {wording.metric_words(found.metric)}: {wording.best(found.best)}"
    if found.conclusive:
        return f"{said}, an interval narrower than 0.5."
    if found.units_needed is None:
        return f"{said}; how many units would make the interval narrower than 0.5 cannot be said yet."
    return f"{said}; about {wording.about(found.units_needed)} units in all would make the interval narrower than 0.5."


def printable(line: str) -> str:
    """The line without anything that a terminal would obey."""
    return "".join(each if each.isprintable() or each == wording.NARROW else "�" for each in line)
