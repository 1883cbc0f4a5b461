"""What a cluster would only show when it is too late: parts of k8s/ that name each other do fit."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.deploy.manifests import DOCUMENT, OPERATORS, Object, Pod, Rendered


def test_everything_is_in_the_namespace_and_says_what_it_belongs_to(manifests: Rendered) -> None:
    """app.kubernetes.io/* on objects and pods; one namespace, which refuses pods that are not restricted."""
    namespace = manifests.one("Namespace", "causalrec")

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for each in manifests.objects:
        assert each["metadata"].get("namespace", "causalrec") == "causalrec"
        assert each["metadata"]["labels"]["app.kubernetes.io/part-of"] == "causalrec"
    for pod in manifests.pods:
        assert {"name", "component", "part-of"} <= {label.removeprefix("app.kubernetes.io/") for label in pod.labels}


def test_every_selector_selects(manifests: Rendered) -> None:
    """Services, budgets, policies and what makes pods select a pod that is made; the autoscaler its Deployment."""
    scaled = manifests.one("HorizontalPodAutoscaler", "causalrec")["spec"]["scaleTargetRef"]

    for each in manifests.of("Service"):
        assert manifests.selected(each["spec"]["selector"]), each["metadata"]["name"]
    for each in manifests.of("PodDisruptionBudget", "Deployment", "StatefulSet"):
        assert manifests.selected(each["spec"]["selector"]["matchLabels"]), each["metadata"]["name"]
    for each in manifests.of("NetworkPolicy"):
        assert manifests.selected(each["spec"]["podSelector"]["matchLabels"]), each["metadata"]["name"]
    assert manifests.one(scaled["kind"], scaled["name"])["apiVersion"] == scaled["apiVersion"]


def test_pods_are_spread_over_zones_and_machines(manifests: Rendered) -> None:
    """By labels that they have; a hint, so that a cluster of one zone takes them too."""
    constraints = manifests.service.spec["topologySpreadConstraints"]

    assert {each["topologyKey"] for each in constraints} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    for each in constraints:
        assert each["labelSelector"]["matchLabels"].items() <= manifests.service.labels.items()
        assert each["whenUnsatisfiable"] == "ScheduleAnyway"


def test_every_port_that_is_named_exists(manifests: Rendered) -> None:
    """In Services, probes, and the policies that let callers in."""
    for each in manifests.of("Service"):
        for pod in manifests.selected(each["spec"]["selector"]):
            assert {port["targetPort"] for port in each["spec"]["ports"]} <= pod.ports.keys()
    for pod in manifests.pods:
        for probe in probes(pod):
            assert next(iter(probe.values()))["port"] in pod.ports
    for each in manifests.of("NetworkPolicy"):
        for pod in manifests.selected(each["spec"]["podSelector"]["matchLabels"]):
            for rule in each["spec"].get("ingress", []):
                assert {port["port"] for port in rule["ports"]} <= {*pod.ports, *pod.ports.values()}


def test_every_policy_of_a_pod_lets_it_reach_redis(manifests: Rendered) -> None:
    """Whoever is given Redis' URL may ask for its address and reach it; a Redis of ours lets them in; others not."""
    clients = [pod for pod in manifests.pods if "causalrec-redis" in pod.secrets()]
    ours = manifests.selected({"app.kubernetes.io/name": "redis"})

    assert manifests.service in clients
    for pod in manifests.pods:
        to_redis = [peer for peers, ports in flows(manifests, pod, "egress") if 6379 in ports for peer in peers]
        assert bool(to_redis) == (pod in clients), pod.owner["metadata"]["name"]
        assert any(53 in ports for _, ports in flows(manifests, pod, "egress")) or pod not in clients
        for redis in ours:
            admitted = [peer for peers, _ in flows(manifests, redis, "ingress") for peer in peers]
            assert any(matches(peer, pod.labels) for peer in admitted) == (pod in clients)
            assert any(matches(peer, redis.labels) for peer in to_redis) == (pod in clients)
    assert ours or any("ipBlock" in peer for peer in to_redis_of(manifests))


def test_what_is_referred_to_exists_or_is_the_operators(manifests: Rendered) -> None:
    """ConfigMaps, secrets, claims, accounts; those that the operator makes are in the document."""
    there = {(each["kind"], each["metadata"]["name"]) for each in manifests.objects}
    missing = {reference for pod in manifests.pods for reference in references(pod)} - there

    assert missing <= {("Secret", name) for name in OPERATORS}
    assert all(f"`{name}`" in DOCUMENT for _, name in missing)


def test_volumes_and_mounts_belong_together(manifests: Rendered) -> None:
    """Every mount has its volume and every volume its mount; what variables name lies on one."""
    for pod in manifests.pods:
        kept = [each["metadata"]["name"] for each in pod.owner["spec"].get("volumeClaimTemplates", [])]
        volumes = {*kept, *(each["name"] for each in pod.spec.get("volumes", []))}
        mounts = [mount for each in pod.containers for mount in each["volumeMounts"]]

        assert volumes == {mount["name"] for mount in mounts}
        for container in pod.spec["containers"]:
            paths = [value for value in manifests.environment(container).values() if value.startswith("/")]
            places = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert all(any(path.startswith(place) for place in places) for path in paths)


def test_pods_are_restricted(manifests: Rendered) -> None:
    """Pod Security "restricted", a read-only root, no token of the cluster's, no variables about its Services."""
    for pod in manifests.pods:
        assert pod.spec["enableServiceLinks"] is False
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        assert pod.spec["securityContext"]["runAsUser"] == 10001
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys()
        kinds = {kind for volume in pod.spec.get("volumes", []) for kind in volume.keys() - {"name"}}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
        for container in pod.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_a_budget_lets_nodes_be_drained_and_keeps_answers_coming(manifests: Rendered) -> None:
    """At the fewest replicas one may go; where there are two or more, one stays. The autoscaler counts CPU requests."""
    budget = manifests.one("PodDisruptionBudget", "causalrec")["spec"]
    scaler = manifests.one("HorizontalPodAutoscaler", "causalrec")["spec"]
    surge = manifests.service.owner["spec"]["strategy"]["rollingUpdate"]

    assert budget["maxUnavailable"] == 1
    assert 1 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert surge["maxSurge"] + surge["maxUnavailable"] >= 1
    assert "replicas" not in manifests.service.owner["spec"]
    assert all("cpu" in each["resources"]["requests"] for each in manifests.service.spec["containers"])


@pytest.mark.parametrize("role", ["requests", "limits"])
def test_memory_is_bounded(manifests: Rendered, role: str) -> None:
    """Every container asks for memory and has a limit of it."""
    assert all("memory" in each["resources"][role] for pod in manifests.pods for each in pod.containers)


def probes(pod: Pod) -> Iterator[Mapping[str, Any]]:
    """What its probes do, of those that have a port."""
    for container in pod.containers:
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.get(name, {})
            yield from ({kind: probe[kind]} for kind in ("httpGet", "tcpSocket") if kind in probe)


def flows(manifests: Rendered, pod: Pod, way: str) -> Iterator[tuple[list[Object], set[int | str]]]:
    """Peers and ports that some policy allows the pod, `way` being ingress or egress."""
    for each in manifests.of("NetworkPolicy"):
        if each["spec"]["podSelector"]["matchLabels"].items() <= pod.labels.items():
            for rule in each["spec"].get(way, []):
                yield rule.get("from", rule.get("to", [])), {port["port"] for port in rule["ports"]}


def matches(peer: Object, labels: Mapping[str, str]) -> bool:
    """Whether the peer is pods of this namespace with such labels."""
    wanted = peer.get("podSelector", {}).get("matchLabels", {})
    return bool(wanted) and "namespaceSelector" not in peer and wanted.items() <= labels.items()


def to_redis_of(manifests: Rendered) -> list[Object]:
    """Where the service may look for Redis."""
    return [peer for peers, ports in flows(manifests, manifests.service, "egress") if 6379 in ports for peer in peers]


def references(pod: Pod) -> Iterator[tuple[str, str]]:
    """Kind and name of everything that must be there for the pod to start."""
    if "serviceAccountName" in pod.spec:
        yield "ServiceAccount", pod.spec["serviceAccountName"]
    for volume in pod.spec.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in pod.containers:
        for source in container.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"]
