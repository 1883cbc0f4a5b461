"""Export on real servers: every event of the log in one row of one file, whoever is killed and whenever."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from causalrec.errors import ConfigError, DataError
from causalrec.files import try_lock
from service import export
from service.events import Event
from service.experiments.metrics import BEFORE
from service.export import main
from service.partitions import SCHEMA, TOLD, opened
from service.state.deliveries import Delivered
from service.state.events import DAY, EventLog
from service.state.keys import Keys
from tests.service.events import event, several
from tests.service.served import MIXED, START, a_list, exposure
from tests.service.state.servers import Server, connect, fresh_keys

ROOT = Path(__file__).parents[3]
SHOP = Keys("test", "shop")


def rows(folder: Path) -> pl.DataFrame:
    """All that was exported, in the order of the log."""
    found = pl.read_parquet(sorted(folder.rglob("*.parquet")), hive_partitioning=False)
    return found.sort(
        pl.col("stream_id")
        .str.split("-")
        .list.eval(pl.element().cast(pl.Int64))
        .list.to_struct(fields=["ms", "number"])
    )


def exported(folder: Path) -> list[str]:
    return rows(folder)["event_id"].to_list()


def names(events: Sequence[Event]) -> list[str]:
    return [each.event_id for each in events]


class Log:
    """The log of one tenant on a server, and the export command for it."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.keys, self.folder = server, fresh_keys(), folder

    def append(self, events: Sequence[Event], clock: float | None = None) -> list[bool]:
        """Adds events, as it were at another time where `clock` is given."""

        async def work() -> list[bool]:
            async with connect(self.server, keys=self.keys) as connection:
                log = EventLog(connection) if clock is None else EventLog(connection, clock=lambda: clock)
                return await log.append(events)

        return asyncio.run(work())

    def left(self) -> int:
        """How many events the log holds."""

        async def work() -> int:
            async with connect(self.server, keys=self.keys) as connection:
                return int(await connection.run(lambda redis: redis.xlen(self.keys.events)))

        return asyncio.run(work())

    def arguments(self, *more: str) -> list[str]:
        """Of the export command."""
        where = ["--redis-url", self.server.url] if self.server.url else ["--data-dir", str(self.server.data_dir)]
        chosen = ["--prefix", self.keys.prefix, "--tenant", self.keys.tenant, "--to", str(self.folder)]
        return ["export", *where, *chosen, *more]

    def export(self) -> int:
        """The command, in this process."""
        return main(self.arguments())

    def killed(self, patch: str) -> int:
        """The command in a process that `patch` makes kill itself with SIGKILL; its exit code."""
        script = (
            "import os, signal, sys\nfrom service import export, partitions\nfrom service.state import deliveries\n"
            f"def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n{patch}\nsys.exit(export.main(sys.argv[1:]))"
        )
        return subprocess.run([sys.executable, "-c", script, *self.arguments()], check=False, cwd=ROOT).returncode


@pytest.fixture
def log(redis_server: Server, tmp_path: Path) -> Log:
    return Log(redis_server, tmp_path / "exported")


def test_events_become_files_by_day_and_leave_redis(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """Every field, times in UTC; the command says how many; a second one finds nothing."""
    rated = event(9, "rating", value=4.5, request_id="4f2a", timestamp=1_700_000_000.25 + DAY)
    log.append([event(1), rated])

    codes = log.export(), log.export()

    assert (codes, log.left()) == ((0, 0), 0)
    assert [path.parent.name for path in sorted(log.folder.rglob("*.parquet"))] == [
        "date=2023-11-14",
        "date=2023-11-15",
    ]
    found = rows(log.folder)
    assert found.schema["timestamp"] == pl.Datetime("us", "UTC")
    kept = found.with_columns(timestamp=pl.col("timestamp").dt.epoch("us") / 1e6).drop("stream_id")
    assert kept.rows() == [(*each[:-1], *[None] * (len(SCHEMA) - TOLD)) for each in (event(1), rated)]
    assert [line.split(" to ")[0] for line in capsys.readouterr().out.splitlines()] == [
        "2 events written",
        "0 events written",
    ]


def test_what_the_service_recorded_has_columns_of_its_own(log: Log) -> None:
    """All that is known of an answer in an experiment, as analysis needs it."""
    log.append([exposure("ann", 0, (1, 2, 3, 4)), a_list("ann", 1, "hat bag", teams="ba", **MIXED)])

    log.export()

    found = rows(log.folder).drop("event_id", "stream_id", "timestamp")
    common = {"user_id": "ann", "item_id": "", "experiment": "dial", "version": 1, "series": 1, "bundle_id": "b1"}
    exposed = {"type": "exposure", "request_id": "request-0", "variant": "low", "lambda2": [0.0], "propensity": 0.5}
    shown = {"type": "list", "request_id": "request-1", "variant": "low-high", "lambda2": [0.0, 1.0], "propensity": 1.0}
    assert [{name: value for name, value in row.items() if value is not None} for row in found.rows(named=True)] == [
        {**common, **exposed, "item_ids": [], "teams": "", **dict(zip(BEFORE, range(1, 5), strict=True))},
        {**common, **shown, "item_ids": ["hat", "bag"], "teams": "ba", "seconds": 0.25},
    ]


def test_a_folder_of_an_earlier_release_goes_on(log: Log) -> None:
    """Its files have no columns for answers in experiments; an id in them is not written again."""
    log.append(several(0, 3), clock=START)
    log.export()
    for path in log.folder.rglob("*.parquet"):
        pl.read_parquet(path).select(list(SCHEMA)[:TOLD]).write_parquet(path)

    log.append([*several(2, 5), exposure("ann", 0)], clock=START + 30 * DAY)
    log.export()

    ids = pl.concat([pl.read_parquet(path, columns=["event_id"]) for path in log.folder.rglob("*.parquet")])["event_id"]
    assert sorted(ids) == [*names(several(0, 5)), "exposure:dial:1:ann"]


def test_an_id_that_comes_back_after_weeks_is_not_written_again(log: Log) -> None:
    """The log has forgotten it; the folder has not, on whatever day it is said to have happened."""
    log.append([event(1), event(2)], clock=1_700_000_000)
    log.export()

    assert log.append([event(2, timestamp=5.0), event(3)], clock=1_700_000_000 + 30 * DAY) == [True, True]
    log.export()

    assert exported(log.folder) == ["e1", "e2", "e3"]
    assert log.left() == 0


def test_an_id_that_is_twice_in_the_log_is_written_once(log: Log) -> None:
    """The first one of them."""
    log.append([event(1)], clock=1_700_000_000)
    log.append([event(1, "purchase"), event(2)], clock=1_700_000_000 + 30 * DAY)

    log.export()

    assert rows(log.folder).select("event_id", "type").rows() == [("e1", "click"), ("e2", "click")]


@pytest.mark.parametrize(
    "patch",
    [
        "partitions.Partitions.add = die",
        "partitions.write_atomically = die",
        "deliveries.Deliveries.settle = die",
        "real = partitions.Partitions._write\n"
        "def second(self, day, part):\n"
        "    if any(day.parent.glob('date=*/*.parquet')): die()\n"
        "    real(self, day, part)\n"
        "partitions.Partitions._write = second",
        "deliveries.CHUNK = 7\n"
        "real = deliveries.Deliveries.settle\n"
        "async def half(self, ids):\n"
        "    await real(self, ids[:len(ids) // 2])\n"
        "    die()\n"
        "deliveries.Deliveries.settle = half",
        "from pathlib import Path\nPath.replace = die",
    ],
    ids=["before writing", "no file", "before settling", "between two days", "half settled", "before the rename"],
)
def test_killed_anywhere_the_same_command_goes_on(log: Log, patch: str) -> None:
    """With neither gap nor repeat, and nothing left lying about."""
    log.export()
    log.append([event(number, timestamp=1_700_000_000.0 + number * DAY / 10) for number in range(30)])
    subprocess_code = log.killed(patch)
    log.append(several(30, 35))

    code = log.export()

    assert (subprocess_code, code) == (-signal.SIGKILL, 0)
    assert exported(log.folder) == [f"e{number}" for number in range(35)]
    assert log.left() == 0
    assert list(log.folder.rglob("*.tmp")) == []


def test_following_writes_what_comes_and_ends_when_told(log: Log) -> None:
    """SIGTERM or Ctrl-C: exit code 0, everything read is written and settled or still in the log."""
    script = "import sys; from service.export import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, *log.arguments("--follow", "--every", "0.05")]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    try:
        for start in (0, 10):
            log.append(several(start, start + 10))
            while log.left():
                assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()
    assert exported(log.folder) == names(several(0, 20))


def test_batches_are_bounded(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much waits, so many are held at once; each batch is a file."""
    monkeypatch.setattr(export, "BATCH", 10)
    monkeypatch.setattr(export, "READ", 4)
    log.append(several(0, 35))

    log.export()

    assert exported(log.folder) == names(several(0, 35))
    assert [len(pl.read_parquet(path)) for path in sorted(log.folder.rglob("*.parquet"))] == [12, 12, 11]


def test_one_process_per_folder(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """The second one says so and ends with 2."""
    log.folder.mkdir()
    lock = try_lock(log.folder / ".lock")
    assert lock is not None

    code = log.export()

    os.close(lock)
    assert code == 2
    assert "another process is exporting into this folder" in capsys.readouterr().err


def test_a_folder_belongs_to_one_tenant(tmp_path: Path) -> None:
    """Equal ids of two shops are two events: they never meet in one folder."""
    with opened(tmp_path, SHOP) as partitions:
        first = partitions.consumer

    with opened(tmp_path, SHOP) as again:
        assert again.consumer == first
    with (
        pytest.raises(ConfigError, match=r"holds the events of .*'shop'.* not of .*'other'"),
        opened(tmp_path, SHOP._replace(tenant="other")),
    ):
        pass


def test_a_damaged_file_stops_the_export(tmp_path: Path) -> None:
    """Without it nobody knows what was exported: the events stay where they are, and the folder is named."""
    with opened(tmp_path, SHOP) as partitions:
        partitions.add([Delivered("1-1", event(1))])
        (path,) = tmp_path.rglob("*.parquet")
        path.write_bytes(path.read_bytes()[:-9])

        with pytest.raises(DataError, match=str(tmp_path)):
            partitions.add([Delivered("2-1", event(2))])


def test_no_file_is_ever_replaced(tmp_path: Path) -> None:
    """A log that was lost and begun anew may give out the same stream ids again."""
    with opened(tmp_path, SHOP) as partitions:
        counts = [partitions.add([Delivered("1-1", event(number))]) for number in (1, 2, 3)]

    assert counts == [1, 1, 1]
    assert sorted(exported(tmp_path)) == ["e1", "e2", "e3"]


def test_nothing_to_export_from_is_an_error_of_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt data directory does not get a server of its own; a server that is away is named."""
    codes = [
        main(["export", "--to", str(tmp_path / "to"), "--data-dir", str(tmp_path / "none")]),
        main(["export", "--to", str(tmp_path / "to"), "--redis-url", "redis://127.0.0.1:1/0"]),
    ]

    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert codes == [2, 2]
    assert "no such data directory" in errors[0]
    assert "Redis" in errors[1]
    assert not (tmp_path / "none").exists()
