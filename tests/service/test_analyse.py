"""`python -m service experiments` on real files, of an experiment from a file: neither service nor Redis."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from service import analyse
from service.analyse import main
from service.experiment_answers import ExperimentAnswer
from service.experiments.model import Tuning
from tests.service.analyses import ARMS, EXPERIMENT, UNITS, refused, report, shopping, written
from tests.service.served import START, config, exposure


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events of dial, and some of another experiment."""
    return written(tmp_path_factory.mktemp("exported"), [*shopping(), *shopping("other", 6)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What GET /v1/experiments/dial answers."""
    path = tmp_path / "dial.json"
    path.write_text(ExperimentAnswer.model_validate(EXPERIMENT).model_dump_json())
    return path


def test_a_folder_and_a_file_are_enough(folder: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither service nor Redis: the report has the export's units, and finds what was put in."""
    found = report(capsys, "--events", folder, "--config", file)

    assert (found.key, found.source, found.state, found.units) == ("dial", "export", "stopped", UNITS)
    rates = {each.variant: each.estimate.value for each in found.variants if each.metric == "purchases_per_user"}
    assert rates == {"low": pytest.approx(0.3), "high": pytest.approx(0.9)}
    assert found.comparisons[0].significant
    assert found.timeline == []


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's own time is another."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(("shape", "begins"), [("text", "dial, version 1"), ("json", "{"), ("html", "<!doctype html>")])
def test_a_report_has_three_forms(
    shape: str, begins: str, folder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To standard output, or into a file that is complete or absent; the same there as here."""
    ends = ["--events", str(folder), "--config", str(file), "--until", "2026-01-05", "--format", shape]

    codes = main(["analyse", *ends]), main(["analyse", *ends, "--out", str(tmp_path / "report")])

    shown = capsys.readouterr().out
    assert codes == (0, 0)
    assert shown.startswith(begins)
    assert (tmp_path / "report").read_text() == shown
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_until_leaves_out_what_came_later(
    folder: Path, file: Path, capsys: pytest.CaptureFixture[str], far_away: None
) -> None:
    """By the time that events happened; the report is as of then. A time without a zone is UTC."""
    found = [
        report(capsys, "--events", folder, "--config", file, "--until", until)
        for until in ("2023-11-14T22:15:00", "2023-11-14T23:15:00+01:00")
    ]

    assert [(each.units, each.at) for each in found] == [(101, START + 100)] * 2


def test_looks_are_made_anew_from_the_files(folder: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Evenly spaced in time, each as if it had been taken then."""
    found = report(capsys, "--events", folder, "--config", file, "--looks", "3")

    last = START + UNITS - 1 + 0.3  # what anybody did, of this experiment's answers
    assert [look.at for look in found.timeline] == pytest.approx(
        [START + part * (last - START) / 4 for part in (1, 2, 3)], abs=1
    )
    assert [sum(look.units.values()) for look in found.timeline] == [100, 200, 300]
    assert [look.difference["high"].value for look in found.timeline] == [pytest.approx(0.6, abs=0.05)] * 3


def test_another_version_or_series_can_be_asked_for(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if it were in force; of a series it is the newest version. One that is not there is refused."""
    first = [exposure(unit, 1, **arm) for unit, arm in zip(("ann", "bob"), ARMS, strict=True)]
    later = [exposure(f"c{at}", 2, series=2, version=2, **ARMS[at % 2]) for at in range(4)]
    folder = written(tmp_path / "exported", [*first, *later])

    found = [
        report(capsys, "--events", folder, "--config", file, *which) for which in (("--series", 2), ("--version", 1))
    ]

    assert [(each.version, each.series, each.units) for each in found] == [(3, 2, 4), (1, 1, 2)]
    for which, there in (("version", "1, 2, 3"), ("series", "1, 2")):
        said = refused(capsys, "analyse", "--events", folder, "--config", file, f"--{which}", 9)
        assert said == f"error: --{which} 9: there is none in experiment 'dial', but: {there}"


def test_versions_of_a_tuned_experiment_are_pooled(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is a series of its own; the report is of all of them up to the one in force."""
    versions = tuple(config(series=number, kind="tuned", tuning=Tuning(0.1, 60.0)) for number in (1, 2, 3))
    tuned = EXPERIMENT._replace(versions=versions, running=2)
    file.write_text(ExperimentAnswer.model_validate(tuned).model_dump_json())
    served = [
        exposure(f"{series}-{at}", at, series=series, version=series, **ARMS[at % 2])
        for series in (1, 2, 3)
        for at in range(2 * series)
    ]

    found = report(capsys, "--events", written(tmp_path / "exported", served), "--config", file)

    assert (found.kind, found.version, found.units) == ("tuned", 2, 2 + 4)


def test_what_cannot_be_read_is_refused_in_a_line(
    folder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, what is wrong and what would be right."""
    (empty := tmp_path / "empty").mkdir()
    (damaged := tmp_path / "damaged").mkdir()
    (damaged / "part.parquet").write_bytes(b"PAR1 or not")
    read = ("--config", file, "--events")

    assert f"{tmp_path / 'none'}: there is no such folder" in refused(capsys, "analyse", *read, tmp_path / "none")
    assert "has no exported events; `python -m service events export" in refused(capsys, "analyse", *read, empty)
    assert f"{damaged}: cannot be read" in refused(capsys, "analyse", *read, damaged)
    assert "which experiment? --experiment KEY" in refused(capsys, "analyse", "--events", folder)
    assert "is of experiment 'dial', not 'x'" in refused(capsys, "analyse", *read, folder, "--experiment", "x")
    assert "nowhere" in refused(capsys, "analyse", *read, folder, "--out", tmp_path / "nowhere" / "report")
    assert f"{tmp_path}/no.json: No such file" in refused(
        capsys, "analyse", "--config", tmp_path / "no.json", "--events", folder
    )


def test_a_folder_without_the_experiment_says_what_it_has(
    folder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other experiments, or none at all: files of before there were experiments have no columns of them."""
    said = json.loads(file.read_text().replace('"dial"', '"absent"'))
    (other := tmp_path / "absent.json").write_text(json.dumps(said))
    plain = pl.DataFrame({"user_id": ["ann"], "type": ["click"], "timestamp": [0]})
    (old := tmp_path / "old").mkdir()
    plain.with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC"))).write_parquet(old / "part-1.parquet")

    unknown = refused(capsys, "analyse", "--config", other, "--events", folder)
    before = refused(capsys, "analyse", "--config", file, "--events", old)
    early = refused(capsys, "analyse", "--config", file, "--events", folder, "--until", "2020-01-01", "--looks", "2")

    assert "has no unit of experiment 'absent', series 1" in unknown
    assert "it has: dial (series 1, from 2023-11-14 22:13 UTC), other (series 1" in unknown
    assert "has no answers in experiments, only what users did" in before
    assert "has no unit of experiment 'dial', series 1, until 2020-01-01 00:00 UTC" in early


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "asleep"}, "state: Input should be"),
        ({"versions": []}, "versions are []"),
        ({"gap": 2}, "versions are [1, 3]"),
        ({"versions": None}, "NoneType"),
        ({"key": "other"}, "every one of 'other'"),
        ({"alpha": "much"}, "0.alpha: Input should be a valid number"),
        ({"weight": 0.9}, "weight"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(
    change: dict[str, Any], said: str, folder: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Naming the field, as far as one is wrong."""
    content = json.loads(file.read_text())
    if "gap" in change:
        content["versions"] = content["versions"][::2]
    elif "alpha" in change:
        content["versions"][0] |= change
    elif "weight" in change:
        content["versions"][0]["variants"][0] |= change
    else:
        content |= change
    file.write_text(json.dumps(content))

    line = refused(capsys, "analyse", "--config", file, "--events", folder)

    assert f"{file}: is not an experiment as GET /v1/experiments/{{key}} answers it" in line
    assert said in line


def test_a_file_that_is_not_json_is_refused(folder: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As one that is no experiment."""
    file.write_text("<!doctype html>")

    assert "is not an experiment" in refused(capsys, "analyse", "--config", file, "--events", folder)


def test_a_data_directory_that_is_not_there_is_not_made(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped name starts no server."""
    away = tmp_path / "away"

    said = refused(capsys, "analyse", "--events", folder, "--experiment", "dial", "--data-dir", away)

    assert f"{away}: there is no such data directory" in said
    assert not away.exists()


def test_an_interrupt_ends_it_at_once(
    folder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the folder is being read: exit code 130, and no file."""

    def interrupted(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(analyse, "_ticking", interrupted)

    code = main(["analyse", "--events", str(folder), "--config", str(file), "--out", str(tmp_path / "report")])

    assert (code, (tmp_path / "report").exists()) == (130, False)
    assert capsys.readouterr().err == "interrupted; nothing was written\n"


@pytest.mark.parametrize("asked", [["--help"], ["analyse", "--help"], ["list", "--help"]])
def test_help_explains(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each command by itself; every option has a text."""
    with pytest.raises(SystemExit) as ended:
        main(asked)

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert ("analyse" in said, "list" in said) == (True, True) if asked == ["--help"] else "--redis-url" in said


@pytest.mark.parametrize("option", [("--until", "yesterday"), ("--looks", "-1"), ("--format", "pdf")])
def test_options_that_mean_nothing_are_refused(
    option: tuple[str, str], folder: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, naming the value."""
    with pytest.raises(SystemExit) as ended:
        main(["analyse", "--events", str(folder), "--config", str(file), *option])

    assert ended.value.code == 2
    assert option[1] in capsys.readouterr().err
