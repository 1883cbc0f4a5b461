"""The documents tell the truth: what they name exists, what exists is named, examples are of the right form."""

import json
import re
from pathlib import Path

import pytest

from service.schemas import RecommendationAnswer
from training.__main__ import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text().replace("\\_", "_")


@pytest.mark.parametrize("room", ["causalrec", "training", "service"])
def test_every_file_has_its_place_in_the_architecture(room: str) -> None:
    """A new module adds its row to docs/architecture.md in the same commit."""
    section = ARCHITECTURE[ARCHITECTURE.index(f"## {room}/") :]
    section = section[: section.index("\n## ")] if "\n## " in section else section

    missing = [
        str(path.relative_to(ROOT))
        for path in (ROOT / room).rglob("*.py")
        if path.name != "__init__.py" and path.name not in section
    ]

    assert not missing


def test_every_file_that_the_architecture_names_exists() -> None:
    """No row outlives its file."""
    names = set(re.findall(r"\b(\w+\.py)\b", ARCHITECTURE))
    existing = {path.name for room in ("causalrec", "training", "service") for path in (ROOT / room).rglob("*.py")}

    assert names <= existing


def test_links_lead_somewhere() -> None:
    """Every relative link of every document."""
    broken = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text())
        if not target.startswith("http") and not (document.parent / target).exists()
    ]

    assert not broken


def test_the_answers_shown_are_answers() -> None:
    """README's JSON validates against the schema, and its explanations add up."""
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)\n```", README, re.DOTALL)]

    answers = [RecommendationAnswer.model_validate(body) for body in shown if "items" in body]
    problems = [body for body in shown if "status" in body]

    assert (len(answers), len(problems)) == (3, 1)
    for item in answers[0].items:
        assert item.explain
        assert item.explain.undebiased - item.explain.removed == pytest.approx(item.score, abs=1e-11)


def test_the_commands_shown_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """make targets named in README and CONTRIBUTING are in the Makefile; the trainer's options are in its help."""
    makefile = (ROOT / "Makefile").read_text()
    text = README + (ROOT / "CONTRIBUTING.md").read_text()

    targets = set(re.findall(r"\bmake ([a-z-]+)", text))
    with pytest.raises(SystemExit):
        main(["--help"])
    help_text = capsys.readouterr().out

    assert {"demo", "test", "help"} <= targets
    assert all(f"\n{target}:" in makefile for target in targets if target != "that")
    for option in ("--config", "--data", "--resume", "--skip-bad", "--print-config", "inspect", "evaluate", "export"):
        assert option in help_text


def test_every_decision_is_in_the_index() -> None:
    """docs/adr/README.md lists each record."""
    index = (ROOT / "docs" / "adr" / "README.md").read_text()

    assert all(path.name in index for path in (ROOT / "docs" / "adr").glob("0*.md"))
