"""What `kubectl kustomize` makes of the overlays and of the combinations that docs/kubernetes.md shows."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
DOCUMENT = (ROOT / "docs" / "kubernetes.md").read_text()
OPERATORS = {"causalrec-redis", "causalrec-api-keys", "causalrec-object-store"}
"""Secrets that no manifest holds: the operator makes them, as docs/kubernetes.md says."""

Object = Mapping[str, Any]


class Pod(NamedTuple):
    """A pod that some object makes."""

    owner: Object
    labels: Mapping[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        """Those that run, and those that run before."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        """By their names."""
        return {port["name"]: port["containerPort"] for each in self.containers for port in each.get("ports", [])}

    def secrets(self) -> set[str]:
        """Names of the secrets that it mounts."""
        return {volume["secret"]["secretName"] for volume in self.spec.get("volumes", []) if "secret" in volume}


class Rendered(NamedTuple):
    """One kustomization, as objects."""

    text: str
    objects: tuple[Object, ...]

    def of(self, *kinds: str) -> list[Object]:
        """Objects of these kinds."""
        return [each for each in self.objects if each["kind"] in kinds]

    def one(self, kind: str, name: str) -> Object:
        """The object of this kind whose name is `name`, or that followed by a hash."""
        named = re.compile(rf"{re.escape(name)}(-[a-z0-9]{{10}})?")
        return next(each for each in self.of(kind) if named.fullmatch(each["metadata"]["name"]))

    @property
    def pods(self) -> list[Pod]:
        """Of every object that makes pods."""
        return list(_pods(self.objects))

    @property
    def service(self) -> Pod:
        """The service's."""
        return next(pod for pod in self.pods if pod.owner["kind"] == "Deployment")

    def selected(self, labels: Mapping[str, str]) -> list[Pod]:
        """Pods that have all of these labels."""
        return [pod for pod in self.pods if labels.items() <= pod.labels.items()]

    def environment(self, container: Object) -> dict[str, str]:
        """The variables that a container of this kustomization is given."""
        found = {each["name"]: each.get("value", "") for each in container.get("env", [])}
        for source in container.get("envFrom", []):
            found |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        return found


def kustomizations() -> dict[str, str | None]:
    """Every overlay by its name, and every kustomization that the document shows, with its text."""
    shown = [block for block in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL) if "kind: Kustomization" in block]
    overlays: dict[str, str | None] = {path.name: None for path in sorted((K8S / "overlays").iterdir())}
    return overlays | {f"document-{number}": block for number, block in enumerate(shown, 1)}


@cache
def rendered(name: str, kubectl: str) -> Rendered:
    """One of `kustomizations`, which stands where an overlay would, as the program `kubectl` makes it."""
    text = kustomizations()[name]
    with TemporaryDirectory() as folder:
        place = K8S / "overlays" / name
        if text is not None:
            place = Path(folder).resolve()
            (place / "kustomization.yaml").write_text(text.replace("../../", f"{os.path.relpath(K8S, place)}/"))
        made = subprocess.run([kubectl, "kustomize", str(place)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return Rendered(made.stdout, tuple(yaml.safe_load_all(made.stdout)))


def _pods(objects: tuple[Object, ...]) -> Iterator[Pod]:
    for each in objects:
        spec = each.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", {}).get("template") or spec.get("template")
        if template:
            yield Pod(each, template["metadata"]["labels"], template["spec"])
