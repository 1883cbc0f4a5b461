"""Public judges of what is rendered: Kubernetes' own schemas, and checkov."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.deploy.conftest import tool
from tests.deploy.manifests import ROOT, Rendered, kustomizations, rendered

OTHERS = {"ServiceMonitor", "PrometheusRule"}  # of the Prometheus operator: Kubernetes has no schema of them


def test_objects_are_as_kubernetes_declares_them(manifests: Rendered, tmp_path: Path) -> None:
    """Every object by the newest schemas, unknown fields refused; only what Kubernetes does not know is passed over."""
    file = tmp_path / "manifests.yaml"
    file.write_text(manifests.text)

    said = subprocess.run(
        [tool("kubernetes-validate"), "--strict", str(file)], capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stdout + said.stderr
    passed = (said.stdout + said.stderr).count(" passed for resource ")
    assert passed == len(manifests.objects) - len(manifests.of(*OTHERS))


def test_checkov_finds_nothing_but_what_is_explained(tmp_path: Path, kubectl: str) -> None:
    """One run over every object and the Dockerfile; checkov.yaml says why each check that is left out is."""
    checkov = tool("checkov")
    for name in kustomizations():
        (tmp_path / f"{name}.yaml").write_text(rendered(name, kubectl).text)
    shutil.copy(ROOT / "docker" / "Dockerfile", tmp_path)

    said = subprocess.run(
        [checkov, "--directory", str(tmp_path), "--config-file", str(Path(__file__).parent / "checkov.yaml")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LOG_LEVEL": "ERROR"},
    )

    reports = json.loads(said.stdout)
    failed = {
        f"{each['check_id']} {each['resource']}: {each['check_name']}"
        for report in reports
        for each in report["results"]["failed_checks"]
    }
    assert not failed
    assert {report["check_type"] for report in reports} == {"kubernetes", "dockerfile"}
    assert all(report["summary"]["passed"] > 50 and not report["summary"]["parsing_errors"] for report in reports)
