"""The page of a report: complete, well formed, and safe whatever people call their experiments."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from service.experiments.glossary import TERMS
from service.experiments.page import render
from service.experiments.report import Report
from service.experiments.wording import NARROW
from tests.service.experiments import reports
from tests.service.experiments.html import Node, parsed
from tests.service.experiments.reports import STATES

Path = tuple[str | int, ...]

HOSTILE = "</style><script>alert(1)</script><b onclick='x'>\"&amp;{{ 7*7 }}"
OTHER: dict[str, str] = {
    **{"kind": "tuned", "state": "paused", "source": "export", "role": "secondary", "decision": "keep"},
}
CHOICES: dict[Path, str] = {("preferences", 0, "metric"): "purchases"}
RENAMED = "lambda2-1.6"
NAMED = {"variant", "control", "first", "second"}  # of variants: another one's name


def document(report: Report) -> Node:
    return parsed(render(report))


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every field of a report with its path; of lists and mappings the first element stands for all."""
    if isinstance(value, dict):
        mapping = path and path[-1] in {"expected", "observed", "units", "difference"}
        for name in list(value)[:1] if mapping else value:
            yield from leaves(value[name], (*path, name))
    elif isinstance(value, list):
        for at, each in enumerate(value[:1]):
            yield from leaves(each, (*path, at))
    else:
        yield path, value


def changed(path: Path, value: Any) -> Any:
    """Another value that the field may have."""
    if path in CHOICES or path[-1] in OTHER:
        return CHOICES.get(path) or OTHER[str(path[-1])]
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return RENAMED if path[-1] in NAMED else f"{value} changed"
    if value is None:
        return 12_345
    return 2 * value + 1 if isinstance(value, int) else value * 0.7 + 0.01


def replaced(tree: Any, path: Path, value: Any) -> Any:
    """A copy of `tree` with another value at `path`."""
    if not path:
        return value
    copy = tree.copy()
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


WIDE = reports.dose("purchases_per_user", reports.purchases, 0.01, reports.around(0.8, 0.4))
EVERYTHING = reports.everything(state="stopped", timeline=reports.timeline(9), dose_response=[WIDE]).model_dump()
FIELDS = dict(leaves(EVERYTHING))


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_every_field_of_a_report_is_shown(path: Path) -> None:
    """Whichever is another one, the page is another one."""
    other = Report.model_validate(replaced(EVERYTHING, path, changed(path, FIELDS[path])))

    same = render(other) == render(Report.model_validate(EVERYTHING))
    assert not same


@pytest.mark.parametrize("name", STATES)
def test_the_document_is_well_formed(name: str) -> None:
    """Elements nest, ids are unique, whatever is referred to is there, headings leave out no level."""
    page = document(STATES[name]())

    nodes = list(page.all())
    ids = [node["id"] for node in nodes if "id" in node.attributes]
    named = [each for node in nodes for each in node.attributes.get("aria-labelledby", "").split()]
    linked = [node["href"].removeprefix("#") for node in page.all("a")]
    levels = [int(node.tag[1]) for node in page.all("h1", "h2", "h3")]
    assert len(ids) == len(set(ids))
    assert {*named, *linked} <= set(ids)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("name", STATES)
def test_the_document_is_all_there_is(name: str) -> None:
    """No script, no address outside itself, one style element and no other style: a strict policy lets it be."""
    report = STATES[name]()
    source = render(report)

    page = parsed(source)

    assert source.startswith("<!doctype html>")
    assert [node["lang"] for node in page.all("html")] == ["en"]
    assert list(page.all("script", "link", "img", "iframe", "object", "embed", "form", "base")) == []
    assert [node["href"] for node in page.all("a") if not node["href"].startswith("#")] == []
    assert len(list(page.all("style"))) == 1
    assert [name for node in page.all() for name in node.attributes if name == "style" or name.startswith("on")] == []
    assert "url(" not in source
    assert "@import" not in source


@pytest.mark.parametrize("name", STATES)
def test_figures_and_tables_say_what_they_are(name: str) -> None:
    """Every figure has a name and says in words what it shows; every heading of a table says of what it is one."""
    page = document(STATES[name]())

    for figure in page.all("figure"):
        drawing = next(figure.all("svg"))
        title, said = drawing.all("title", "desc").__next__(), next(drawing.all("desc"))
        assert drawing["role"] == "img"
        assert drawing["aria-labelledby"].split() == [title["id"], said["id"]]
        assert title.text
        assert said.text.endswith(".")
    for box in (node for node in page.all("div") if node.attributes.get("class") == "scroll"):
        assert (box["role"], box["tabindex"], bool(box["aria-label"])) == ("region", "0", True)
    for table in page.all("table"):
        assert next(table.all("caption")).text
        assert {node["scope"] for node in table.all("th")} == {"col", "row"}
        assert len({len(list(row.all("th", "td"))) for row in table.all("tr")}) == 1


def hostile() -> Report:
    """Everything that people write is an attack."""
    text = {"key", "description", "control", "multiplicity", "disagreement", "variant", "first", "second", "headline"}
    tree = EVERYTHING
    for path, value in leaves(EVERYTHING):
        if isinstance(value, str) and (path[-1] in text or path[0] in {"notes"} or "reasons" in path):
            tree = replaced(tree, path, HOSTILE)
    ratio = {**tree["sample_ratio"], "expected": {HOSTILE: 1.0}, "observed": {HOSTILE: 3}}
    look = {**tree["timeline"][0], "units": {HOSTILE: 3}, "difference": {HOSTILE: reports.around(1, 1).model_dump()}}
    return Report.model_validate({**tree, "sample_ratio": ratio, "timeline": [look]})


def test_what_people_wrote_is_text() -> None:
    """Neither markup nor a template: it is shown as it was written, in tables, figures and titles alike."""
    page = document(hostile())

    assert list(page.all("script", "b")) == []
    assert [name for node in page.all() for name in node.attributes if name == "onclick"] == []
    shown = [node.text for node in page.all("h1", "h2", "h3", "p", "th", "td", "li", "dd", "title", "caption", "code")]
    assert sum(HOSTILE in text for text in shown) >= 15
    assert "49" not in next(page.all("h1")).text


def test_the_verdict_comes_first() -> None:
    """Before anything else that a reader sees: what to do, the λ2 to use, and why."""
    report = reports.split()

    page = document(report)

    words = [node.text for node in page.all("h1", "h2")]
    assert words[:2] == ["home-lambda2", report.verdict.headline]
    verdict = next(node for node in page.all("section") if node.attributes.get("id") == "verdict")
    assert "Recommended λ2: 0.8" in verdict.text
    assert [node.text for node in verdict.all("li")] == report.verdict.reasons


def test_a_failed_sample_ratio_stands_above_everything() -> None:
    """And every part below says itself that it is not to be believed; nothing of it looks like a result."""
    page = document(reports.broken())

    first = next(page.all("section"))
    assert first["class"] == "box alarm"
    assert "Sample ratio mismatch" in first.text
    assert "3402" in first.text.replace(NARROW, "")
    (distrusted,) = (node for node in page.all("div") if node.attributes.get("class") == "distrust")
    parts = list(distrusted.all("h2"))
    assert len(parts) == 5
    assert all(part.text.endswith("not to be believed") for part in parts)


def test_a_failed_sample_ratio_blocks_whatever_the_verdict_says() -> None:
    """The figures are in doubt even where nobody has drawn the conclusion."""
    page = document(reports.split(sample_ratio=reports.sample_ratio(failed=True)))

    assert [node.text for node in page.all("h2") if node.text.endswith("not to be believed")] != []


def test_a_passed_sample_ratio_is_said_too() -> None:
    """And then nothing is in doubt."""
    page = document(reports.split())

    assert "Passed." in page.text
    assert "not to be believed" not in page.text


def test_what_breached_a_guardrail_is_said_near_the_top() -> None:
    """Which variant, by how much, and what was allowed."""
    page = document(reports.everything())

    alarm = next(node for node in page.all("section") if node.attributes.get("class") == "box alarm")
    said = alarm.text.replace(NARROW, " ")
    assert "lambda2-0.8: seconds per answer +16.40 % (+11.90 % to +20.90 %) worse" in said
    assert "+10.00 % is allowed" in said


def test_clicks_against_purchases_are_called_out() -> None:
    """Only where they disagree."""
    report = reports.split()

    assert report.disagreement is not None
    assert report.disagreement in document(report).text
    assert "disagree" not in next(document(reports.split(disagreement=None)).all("main")).text


def test_parts_without_anything_in_them_are_left_out() -> None:
    """A draft says that nobody came and what to do; there are neither empty figures nor empty tables."""
    page = document(reports.empty())

    assert "No unit has come yet. The experiment is a draft" in page.text
    assert list(page.all("figure", "table")) == []
    assert [node.text for node in page.all("h2")][1:] == ["How the figures are computed", "Terms"]


def test_a_variant_that_nobody_came_to_has_a_row() -> None:
    """It is in no result, only expected."""
    report = reports.split()
    there = [each for each in report.variants if each.variant != "lambda2-1.6"]

    page = document(reports.split(variants=there))

    rows = [[cell.text for cell in row.all("th", "td")] for row in next(page.all("table")).all("tr")]
    assert rows[-1] == ["lambda2-1.6", "–", "0", "–", "–", "–"]


def test_the_control_is_the_first_row() -> None:
    """Then the others by λ2, whichever the control's is."""
    page = document(reports.split(control="lambda2-0.8"))

    names = [next(row.all("th")).text for row in next(page.all("table")).all("tr")]
    assert names[1:] == ["lambda2-0.8 (control)", *(f"lambda2-{value}" for value in ("0", "0.4", "1.2", "1.6"))]


def test_parts_of_a_range_are_no_variants() -> None:
    """Where λ2 is drawn, the sample ratio is of parts of its range: only there are they shown."""
    parts = reports.sample_ratio().model_copy(update={"expected": {"0.0 to 0.8": 0.5}, "observed": {"0.0 to 0.8": 7}})
    everybody = reports.split().variants[0].model_copy(update={"variant": "random", "lambda2": None})

    page = document(reports.drawn(variants=[everybody], sample_ratio=parts))

    firsts = [[next(row.all("th")).text for row in table.all("tr")] for table in page.all("table")]
    assert firsts[0] == ["Variant", "random"]
    assert firsts[-1] == ["λ2", "0.0 to 0.8"]


def test_terms_are_explained_in_a_sentence_each() -> None:
    """All of them, on every page."""
    page = document(reports.empty())

    assert [node.text for node in page.all("dt")][-len(TERMS) :] == list(TERMS)
    assert all(re.fullmatch(r"[A-Z][^.]*\.", meaning.replace("0.", "0")) for meaning in TERMS.values())
