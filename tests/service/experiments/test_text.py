"""A report in a terminal: what to do first, then figures in line."""

import pytest

from service.experiments.report import Estimate, Report
from service.experiments.text import as_text
from service.experiments.wording import NARROW
from tests.service.experiments import reports
from tests.service.experiments.reports import STATES


def lines(report: Report) -> list[str]:
    return as_text(report).replace(NARROW, " ").splitlines()


def test_the_verdict_comes_first() -> None:
    """What to do, the λ2 to use and why, before any figure; then where they disagree."""
    report = reports.split()

    found = lines(report)

    assert found[0] == "home-lambda2, version 3, running"
    verdict = found[3 : found.index("-" * 72)]
    assert verdict[:3] == ["Verdict: Use the recommended λ2", report.verdict.headline, "Recommended λ2: 0.8"]
    assert verdict[3:6] == [f"  - {reason}" for reason in report.verdict.reasons]
    assert verdict[6:] == [f"DISAGREEMENT: {report.disagreement}"]


def test_columns_are_aligned() -> None:
    """Words to the left, figures to the right: every row of a table ends at the same place."""
    found = lines(reports.split())

    at = found.index("Each value with its 95 % interval, not adjusted")
    table = found[at + 1 : at + 7]
    assert len({len(line) for line in table}) == 1
    assert table[1].split() == [
        *("lambda2-0", "(control)", "0", "4", "012"),
        *("0.2312", "(0.2202", "to", "0.2422)", "0.4125", "(0.4035", "to", "0.4215)", "9.56", "(8.16", "to", "10.96)"),
    ]


def test_a_failed_sample_ratio_is_the_first_word() -> None:
    """Before the verdict, and again with the units that came."""
    found = lines(reports.broken())

    assert found[3] == "SAMPLE RATIO MISMATCH (p < 0.001): believe none of the figures below."
    assert any(line.startswith("Sample ratio test FAILED") for line in found)


def test_what_is_blocked_without_a_mismatch_is_said_too() -> None:
    """Whatever blocked it."""
    verdict = reports.split().verdict.model_copy(update={"decision": "blocked"})

    assert lines(reports.split(verdict=verdict))[3] == "BLOCKED: believe none of the figures below."


def test_the_best_lambda2_says_how_many_units_an_answer_takes() -> None:
    """Or that its interval is narrow enough, or that nobody can say."""
    doses = reports.split().dose_response
    wide = Estimate(value=0.8, low=0.1, high=1.6)
    unsure = [
        doses[0].model_copy(update={"best": wide, "conclusive": False, "units_needed": needed})
        for needed in (48_123, None)
    ]

    found = [line for line in lines(reports.split(dose_response=[doses[0], *unsure])) if line.startswith("Best λ2")]

    assert found[0] == "Best λ2 by purchases per user: 0.82 (0.63 to 1.02), an interval narrower than 0.5."
    assert "0.8 (0.1 to 1.6); about 48 000 units in all" in found[1]
    assert found[2].endswith("cannot be said yet.")


@pytest.mark.parametrize("name", STATES)
def test_every_kind_of_report_has_a_text(name: str) -> None:
    """Whatever is not known, whatever is not there; it ends with a line's end and has no trailing spaces."""
    text = as_text(STATES[name]())

    assert text.endswith("\n")
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert "None" not in text
    assert "nan" not in text.split()


def test_what_people_wrote_cannot_move_the_cursor() -> None:
    """Escape sequences, bells and line feeds in names and descriptions are replaced."""
    text = as_text(reports.split(description="\x1b[2J\x1b]0;gone\x07\u202eabc", key="a\nb\rc"))

    assert [each for each in text.replace("\n", "") if not each.isprintable() and each != NARROW] == []
    assert text.startswith("a�b�c, version 3, running\n�[2J�]0;gone��abc\n")
