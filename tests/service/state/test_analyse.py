"""`python -m service experiments`, of experiments that a real server knows."""

import asyncio
from pathlib import Path

import pytest

from service.analyse import main
from service.experiments.model import AuditEntry
from service.experiments.report import Look
from service.state.experiments import ExperimentStore
from tests.service.analyses import EXPERIMENT, refused, report, shopping, written
from tests.service.served import START
from tests.service.state.servers import Server, connect, fresh_keys


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events of dial, and some of another experiment."""
    return written(tmp_path_factory.mktemp("exported"), [*shopping(), *shopping("other", 6)])


class Service:
    """A server with the experiment, a look at it, and the options that lead there."""

    def __init__(self, server: Server) -> None:
        self.keys = fresh_keys()
        where = ["--redis-url", server.url] if server.url else ["--data-dir", str(server.data_dir)]
        self.options = [*where, "--prefix", self.keys.prefix, "--tenant", self.keys.tenant]
        asyncio.run(self._fill(server))

    async def _fill(self, server: Server) -> None:
        looks = [Look(at=START + at, units={"low": 1}, difference={}, srm_p_value=0.5) for at in (50, 500)]
        entry = AuditEntry("dial", 1, "create", "ann", START, "")
        async with connect(server, keys=self.keys) as connection:
            store = ExperimentStore(connection)
            await store.commit(0, EXPERIMENT, entry)
            for look in looks:
                await store.add_look("dial", 1, look)


def test_the_service_is_asked_where_no_file_is_given(
    redis_server: Server, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For the experiment and the looks that were taken, those before `until`; not for another series'."""
    service = Service(redis_server)
    asked = ("--events", folder, "--experiment", "dial", *service.options)

    found = report(capsys, *asked, "--until", "2023-11-14T22:15:00")

    assert (found.units, [look.at - START for look in found.timeline]) == (101, [50])
    said = refused(capsys, "analyse", "--events", folder, "--experiment", "nil", *service.options)
    assert "the service has no experiment 'nil', but: dial" in said


def test_experiments_are_listed(redis_server: Server, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the service, or those that a folder has answers of."""
    service = Service(redis_server)

    codes = main(["list", *service.options]), main(["list", "--events", str(folder)])

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert codes == (0, 0)
    assert rows[2] == ["dial", "stopped", "split", "1", "0,", "1"]
    assert [row[:4] for row in rows[-2:]] == [["dial", "1", "1", "400"], ["other", "1", "1", "6"]]
