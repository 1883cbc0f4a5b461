"""Prometheus' rules and alerts, by its own tools."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ROOT / "docker" / "observability"
RULES = sorted((OURS / "prometheus").glob("*.rules.yaml"))
TESTS = sorted(Path(__file__).with_name("prometheus").glob("*.yml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERT = re.compile(r"^ +- alert: (\w+)\n(.*?)(?=^ +- |\Z)", re.MULTILINE | re.DOTALL)


def tool(*command: str) -> str:
    """What a command says; it has to succeed. Skips where it is not installed."""
    if shutil.which(command[0]) is None:
        package = "prometheus-alertmanager" if command[0] == "amtool" else "prometheus"
        pytest.skip(f"{command[0]} is not installed (Debian: apt-get install {package})")
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def alerts() -> dict[str, list[str]]:
    """The text of each alert's rules, by its name."""
    found: dict[str, list[str]] = {}
    for path in RULES:
        for name, text in ALERT.findall(path.read_text()):
            found.setdefault(name, []).append(text)
    return found


def test_prometheus_takes_the_configuration_and_its_rules() -> None:
    """Syntax, expressions, templates; no rule twice; and it finds every file of rules."""
    said = tool("promtool", "check", "config", str(OURS / "prometheus" / "prometheus.yml"))

    assert "FAILED" not in said
    assert all(path.name in said for path in RULES)


def test_alertmanager_takes_its_configuration() -> None:
    """As the container's does."""
    assert "SUCCESS" in tool("amtool", "check-config", str(OURS / "alertmanager" / "alertmanager.yml"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_otherwise(path: Path) -> None:
    """Series that make each alert fire, and others beside them that are just short of it."""
    tool("promtool", "test", "rules", str(path))


def test_each_alert_is_tested() -> None:
    """By its name, as one that fires; promtool would not miss it."""
    text = "".join(path.read_text() for path in TESTS)

    assert [name for name in alerts() if f'alertname="{name}"' not in text] == []


def test_each_alert_says_what_to_do() -> None:
    """How bad it is, what happens, what that means, and a page on what to do; no page without its alert."""
    for name, rules in alerts().items():
        for text in rules:
            assert re.search(r"severity: (page|ticket)\b", text), name
            assert re.search(r"\n +summary: .+\n +description: .+", text), name
            assert f"runbook_url: docs/runbooks/{name}.md\n" in text

    assert {path.stem for path in RUNBOOKS.glob("CausalRec*.md")} == set(alerts())


@pytest.mark.parametrize("name", sorted(alerts()))
def test_each_runbook_has_the_same_parts(name: str) -> None:
    """Whoever is woken up finds at once what it means, how to look, what to do."""
    text = (RUNBOOKS / f"{name}.md").read_text()

    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["What it means", "Look", "Do"]
    assert name in (RUNBOOKS / "README.md").read_text()
