"""Dashboards and rules against a real Prometheus that scrapes a real service."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from causalrec.bundle import write_bundle
from tests.bundles import make_bundle
from tests.deploy.monitored import OURS, ROOT, Prometheus, Series, experiment, prometheus, traffic
from tests.service.test_process import Process

DASHBOARDS = sorted((OURS / "grafana" / "dashboards").glob("*.json"))
METRIC = re.compile(r"\bcausalrec_\w+")
EMPTY: dict[str, str] = {}
"""Panels that may show nothing here, and why: none now. A NaN, as of 0 / 0, counts as nothing."""


class Asked(NamedTuple):
    """One query of a panel."""

    dashboard: str
    panel: str
    expression: str


def panels(dashboard: Any) -> list[Any]:
    """Without the rows between them."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> list[Asked]:
    """Every one, with its variables set as Grafana sets them."""
    values = {"$job": "causalrec", "$instance": ".*", "$__rate_interval": "2m"}
    found = []
    for dashboard in map(json.loads, (path.read_text() for path in DASHBOARDS)):
        for panel in panels(dashboard):
            for target in panel["targets"]:
                expression = target["expr"]
                for variable, value in values.items():
                    expression = expression.replace(variable, value)
                found.append(Asked(dashboard["title"], panel["title"], expression))
    return found


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus, once it has seen a service with traffic of every kind, at two moments."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    bundle = write_bundle(make_bundle(), tmp_path_factory.mktemp("bundle"))
    with TemporaryDirectory(prefix="cr-") as data:
        flags = ("--bundle", str(bundle), "--data-dir", data, "--shadow-rate", "1", "--candidates", "60")
        service = Process(*flags, "--grace-seconds", "0")
        try:
            assert service.request("/health/ready")[0] == 200
            assert service._address
            with prometheus(tmp_path_factory.mktemp("prometheus"), service._address.removeprefix("http://")) as watch:
                traffic(service, range(10))
                experiment(service)
                traffic(service, range(10, 20))
                watch.seen(2)
                traffic(service, range(20, 34))
                watch.seen(2)
                watch.until("causalrec_experiment_srm_p_value")
                yield watch
        finally:
            service.close()


def known(series: Series) -> bool:
    """There is something to draw: a series whose value is a number."""
    return any(each["value"][1] != "NaN" for each in series)


def test_every_panel_shows_something(watching: Prometheus) -> None:
    """Each query is evaluated without an error and finds numbers, but where it is known why there are none yet."""
    asked = queries()

    empty = [each for each in asked if not known(watching.query(each.expression))]

    assert len(asked) > 60
    assert {each.panel for each in empty} <= set(EMPTY), empty


def test_every_rule_can_be_evaluated(watching: Prometheus) -> None:
    """Those that record have recorded; nothing is firing, since all is well."""
    watching.until("causalrec:availability_errors:ratio_rate3d")
    rules = [rule for group in watching.ask("rules")["groups"] for rule in group["rules"]]

    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]

    assert [rule["name"] for rule in rules if rule["health"] != "ok" or rule.get("lastError")] == []
    assert [name for name in recorded if not known(watching.query(name))] == []
    assert len(recorded) == 14
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


def test_every_metric_that_is_asked_for_exists(watching: Prometheus) -> None:
    """By dashboards, by rules: a name that nothing has would never be missed."""
    known_names = set(watching.ask("label/__name__/values"))
    rules = "".join(path.read_text() for path in (OURS / "prometheus").glob("*.rules.yaml"))

    asked = set(METRIC.findall(rules + "".join(each.expression for each in queries())))

    assert asked - known_names == set()


def test_the_variables_find_replicas(watching: Prometheus) -> None:
    """What the lists at the top of a page are filled with."""
    jobs = watching.ask("label/job/values", **{"match[]": "causalrec_bundle_info"})
    instances = watching.ask("label/instance/values", **{"match[]": 'causalrec_bundle_info{job="causalrec"}'})

    assert jobs == ["causalrec"]
    assert len(instances) == 1


def test_what_is_there_is_what_the_code_writes(tmp_path: Path) -> None:
    """`make dashboards` after every change of them."""
    subprocess.run([sys.executable, "-m", "dashboards", str(tmp_path)], cwd=OURS, check=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in DASHBOARDS]
    assert [path.name for path in DASHBOARDS if (tmp_path / path.name).read_text() != path.read_text()] == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_explains_itself(path: Path) -> None:
    """A description, a unit, links to runbooks that exist, a place of its own on the page."""
    dashboard = json.loads(path.read_text())

    places: set[tuple[int, int]] = set()
    for panel in panels(dashboard):
        place = panel["gridPos"]
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert not places & cells, panel["title"]
        places |= cells
        assert len(panel["description"]) > 8
        assert panel["fieldConfig"]["defaults"]["unit"]
        for link in panel["links"]:
            assert (ROOT / link["url"].replace("${runbooks}", "docs/runbooks")).exists(), link
    assert dashboard["schemaVersion"] == 41
    assert len({panel["title"] for panel in panels(dashboard)}) == len(panels(dashboard))
    assert max(x for x, _ in places) < 24
