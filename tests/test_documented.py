"""Nothing goes without a word: every setting, metric, route, sort of problem and make target is in the documents."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from service import problem_kinds
from service.access import ROLE_OF
from service.problem_kinds import Kind
from service.settings import Settings
from service.telemetry import WATCHED, Telemetry

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "LOG.md"  # what was measured once, and no place to look anything up
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WORDS = "\n".join(page.read_text() for page in PAGES if page != NOTEBOOK)
EVERY_PAGE = [*PAGES, *sorted((ROOT / "docs").glob("*/*.md"))]
OPERATIONS, API = ((ROOT / "docs" / name).read_text() for name in ("operations.md", "api.md"))


def row(name: str, setting: FieldInfo) -> str:
    """The line of docs/operations.md that documents a setting: its default, and how its docstring begins."""
    default = "required" if setting.is_required() else shown(setting.default)
    sentence = re.split(r"(?<=\.)\s", " ".join((setting.description or "").split()))[0]
    return f"| `{name}` | {default} | {sentence} |"


def shown(default: object) -> str:
    """A default as people write it."""
    if default is None:
        return ""
    written = ",".join(default) if isinstance(default, tuple) else str(default)
    return f"`{written.lower() if isinstance(default, bool) else written}`"


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table that follows a heading, without the table's own."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(what: str) -> bool:
    """Whether a document has `what` as a word of its own."""
    return bool(re.search(rf"(?<![\w-]){re.escape(what)}(?![\w-])", WORDS))


def test_the_table_of_settings_is_the_settings() -> None:
    """Each with its default and the first sentence of its docstring; lines that are missing are to be copied there."""
    wanted = [row(name, setting) for name, setting in Settings.model_fields.items()]
    there = [f"| {' | '.join(cells)} |" for cells in rows(OPERATIONS, "Settings")]

    assert [line for line in wanted if line not in there] == []
    assert [line for line in there if line not in wanted] == []


def test_every_metric_is_named() -> None:
    """On any page; a counter with its _total."""
    telemetry = Telemetry(waiting=lambda: 0)
    telemetry.watch(dict.fromkeys(WATCHED, lambda: 0))
    metrics = re.findall(r"^# TYPE (causalrec_\w+) ", telemetry.render().decode(), re.MULTILINE)

    missing = [metric for metric in metrics if not metric.endswith("_created") and not named(metric)]

    assert len(metrics) > 20
    assert missing == []


def test_the_table_of_routes_is_the_routes_and_their_roles() -> None:
    """test_access.py has it that these are all."""
    there = {cells[0].strip("`"): cells[1] for cells in rows(API, "Routes")}

    assert there == {route: role or "open" for route, role in ROLE_OF.items()}


def test_every_sort_of_problem_is_explained() -> None:
    """With its status, when it comes and what to do about it."""
    kinds = {kind.name: str(kind.status) for kind in vars(problem_kinds).values() if isinstance(kind, Kind)}
    mapped = {kind.name for kind in problem_kinds.BY_ERROR.values()}

    there = {cells[0].strip("`"): cells[1] for cells in rows(API, "Problems")}

    assert mapped <= set(kinds)
    assert there == kinds
    assert all(len(cells) == 4 and all(cells) for cells in rows(API, "Problems"))


def test_every_make_target_is_named() -> None:
    """Those that `make help` lists."""
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert "test" in targets
    assert [target for target in targets if not named(f"make {target}")] == []


def commands() -> list[tuple[str, str, frozenset[str]]]:
    """Each `python -m` of the documents: module, words before its first flag, flags."""
    found: dict[tuple[str, str], set[str]] = {}
    for page in EVERY_PAGE:
        for line in page.read_text().replace("\\\n", " ").splitlines():
            for command in re.findall(r"python -m ([a-z][\w.]+(?: [^\s`|;&()#]+)*)", line):
                module, *words = command.split()
                plain = [word for word in words[: next_flag(words)] if re.match(r"[\w/.]+$", word)]
                flags = {word.partition("=")[0] for word in words if word.startswith("--")}
                found.setdefault((module, " ".join(plain)), set()).update(flags - {"--help"})
    return [(*command, frozenset(flags)) for command, flags in sorted(found.items())]


def next_flag(words: list[str]) -> int:
    """Where the first flag is, else the end."""
    return next((at for at, word in enumerate(words) if word.startswith("-")), len(words))


@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import of package:RuntimeWarning")
@pytest.mark.parametrize(("module", "words", "flags"), commands())
def test_commands_that_are_shown_can_be_typed(
    module: str, words: str, flags: frozenset[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module and what stands before the flags exist, and their --help knows the flags."""
    monkeypatch.setattr(sys, "argv", [module, *words.split(), "--help"])

    with pytest.raises(SystemExit) as end:
        runpy.run_module(module, run_name="__main__", alter_sys=True)

    help_text = capsys.readouterr().out
    assert end.value.code == 0
    assert "usage: " in help_text
    assert [flag for flag in flags if not re.search(rf"{re.escape(flag)}\b", help_text)] == []


def test_links_to_a_heading_find_it() -> None:
    """In the page they name, or their own; that the page is there, test_docs.py has."""
    broken = []
    for page in EVERY_PAGE:
        for target, heading in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text()):
            other = page.parent / target if target else page
            if not target.startswith("http") and (not other.exists() or heading not in headings(other)):
                broken.append(f"{page.relative_to(ROOT)}: {target}#{heading}")

    assert broken == []


def headings(page: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub calls them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}
