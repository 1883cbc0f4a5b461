"""The Prometheus of a cluster sees and says what the one of docker compose does."""

from itertools import chain

import yaml

from tests.deploy.manifests import ROOT, Object, Rendered

RULES = ROOT / "docker" / "observability" / "prometheus"
DASHBOARDS = ROOT / "docker" / "observability" / "grafana" / "dashboards"


def test_a_cluster_has_the_rules_of_docker_compose(production: Rendered) -> None:
    """Every group with every rule as it is there: after a change of them, run k8s/rules.sh."""
    files = sorted(RULES.rglob("*.rules.yaml"))
    written = list(chain.from_iterable(yaml.safe_load(file.read_text())["groups"] for file in files))

    wrapped = list(chain.from_iterable(each["spec"]["groups"] for each in production.of("PrometheusRule")))

    assert written
    assert sorted(wrapped, key=named) == sorted(written, key=named)


def test_a_cluster_has_the_dashboards_of_docker_compose(production: Rendered) -> None:
    """Every one of them, under the label by which Grafana's sidecar finds them, and small enough to be kept."""
    found = production.one("ConfigMap", "causalrec-dashboards")

    assert found["data"].keys() == {path.name for path in DASHBOARDS.glob("*.json")}
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert sum(map(len, found["data"].values())) < 900_000


def test_prometheus_finds_the_service(production: Rendered) -> None:
    """Under the job of docker compose, at a port of the Service, through a policy."""
    service = production.one("Service", "causalrec")
    monitor = production.one("ServiceMonitor", "causalrec")["spec"]
    (endpoint,) = monitor["endpoints"]

    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "causalrec"
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"
    assert any("monitoring" in str(policy["spec"]["ingress"]) for policy in policies_of_the_service(production))


def policies_of_the_service(manifests: Rendered) -> list[Object]:
    """Those that let somebody in."""
    return [
        each
        for each in manifests.of("NetworkPolicy")
        if each["spec"].get("ingress")
        and each["spec"]["podSelector"]["matchLabels"].items() <= manifests.service.labels.items()
    ]


def named(group: Object) -> str:
    """By which groups are told apart."""
    return str(group["name"])
