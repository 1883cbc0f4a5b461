"""What an image must be, and what must not be in it."""

import json
import re
from functools import partial

from tests.containers.claims import Claims, demand
from tests.containers.stack import ROOT, docker, inspected

LABELS = ("title", "description", "version", "revision", "created", "source", "licenses", "vendor")
SBOM = ROOT / "build" / "sbom" / "cpu" / "causalrec.cdx.json"
# Lists what is there and should not be; `sys.argv` names the other room.
NEEDLESS = """
import importlib.util, pathlib, shutil, sys, sysconfig, torch
programs = [p for p in ("gcc", "cc", "g++", "c++", "clang", "ld", "make", "pip", "pip3") if shutil.which(p)]
unwanted = ("pip", "setuptools", "ensurepip", "numba", "pytest", *sys.argv[1:])
modules = [m for m in unwanted if importlib.util.find_spec(m)]
site = pathlib.Path(sysconfig.get_path("purelib"))
tests = [str(p) for place in (site, pathlib.Path("/app")) for p in place.rglob("tests") if p.is_dir()]
cuda = [p.name for p in site.iterdir() if p.name.startswith(("nvidia", "triton"))] + [torch.version.cuda or ""]
print(*filter(None, programs + modules + tests + cuda))
"""
INSTALLED = """
from importlib.metadata import distributions
print(*sorted(f"{d.name.lower().replace('_', '-').replace('.', '-')} {d.version}" for d in distributions()), sep="\\n")
"""


def image_claims(claims: Claims, service: str, trainer: str) -> None:
    """Both images."""
    for image, other in ((service, "training"), (trainer, "service")):
        claims.check(f"{image} runs as 10001, in exec form, with its labels", partial(described, image))
        claims.check(
            f"{image} holds no compiler, pip, tests, CUDA, numba, {other}/",
            partial(needless, image, other),
        )
    claims.check(f"{service} says whether it is healthy", lambda: health_check(service))
    claims.check("the SBOM names what the image holds, and nothing else", lambda: sbom(service))


def described(image: str) -> str:
    """The labels that matter and the size. Raises: Broken."""
    config = inspected(image)["Config"]
    labels = {name: config["Labels"].get(f"org.opencontainers.image.{name}", "") for name in LABELS}
    demand(config["User"] == "10001:10001", f"user {config['User']!r}")
    demand(isinstance(config["Entrypoint"], list) and config["Entrypoint"][0] == "python", str(config["Entrypoint"]))
    demand(all(labels.values()), f"labels {labels}")
    demand(re.match(r"[0-9a-f]{40}", labels["revision"]), f"revision {labels['revision']!r}: `make images` sets it")
    size = docker("images", "--format", "{{.Size}}", image)
    return f"{size}, version {labels['version']}, revision {labels['revision'][:12]}, created {labels['created']}"


def needless(image: str, other: str) -> str:
    """Raises: Broken naming what is there."""
    found = docker("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", NEEDLESS, other)
    demand(not found, found)
    return "none"


def health_check(image: str) -> str:
    """Its command, in exec form. Raises: Broken."""
    test = inspected(image)["Config"].get("Healthcheck", {}).get("Test", [])
    demand(test[:1] == ["CMD"] and "/health/ready" in test[-1], str(test))
    return "asks /health/ready"


def sbom(image: str) -> str:
    """How many components. Raises: Broken naming the differences."""
    demand(SBOM.exists(), f"{SBOM.relative_to(ROOT)} is not there; `make images` writes it")
    bom = json.loads(SBOM.read_text())
    installed = docker(
        "run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", INSTALLED
    ).splitlines()
    named = {f"{_normal(each['name'])} {each['version']}" for each in bom["components"]}
    demand(bom["bomFormat"] == "CycloneDX", str(bom.get("bomFormat")))
    demand(named and named == set(installed), f"differing: {sorted(named ^ set(installed))}")
    return f"{len(named)} components, CycloneDX {bom['specVersion']}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
