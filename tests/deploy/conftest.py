"""Every kustomization that is shipped or shown, as objects; the tools that judge them."""

import os
import shutil

import pytest

from tests.deploy.manifests import ROOT, Rendered, kustomizations, rendered

TOOLS = ROOT / ".cache" / "tools" / "bin"


@pytest.fixture(scope="session")
def kubectl() -> str:
    """The program, which is none of Python's; skips where it is not installed."""
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not installed: nothing of k8s/ is checked here")
    return found


@pytest.fixture(params=kustomizations())
def manifests(request: pytest.FixtureRequest, kubectl: str) -> Rendered:
    """One of them."""
    return rendered(str(request.param), kubectl)


@pytest.fixture
def production(kubectl: str) -> Rendered:
    """What a production applies."""
    return rendered("production", kubectl)


def tool(name: str) -> str:
    """Where a tool of tests/deploy/tools.txt is; skips where `make tools` has not been run."""
    found = shutil.which(name, path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed: `make tools` does")
    return found
