"""What the manifests ask of the programs in the images is what these programs know."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from service import export, settings
from service.app import create_app
from service.settings import PREFIX, Settings
from service.telemetry import Telemetry
from tests.deploy.manifests import DOCUMENT, ROOT, Object, Rendered
from training import demo
from training.config import RunConfig

COMPOSE = (ROOT / "docker-compose.yml").read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_probes_ask_routes_of_the_service_and_only_readiness_waits_for_redis(manifests: Rendered) -> None:
    """A start or a life that depends on Redis would restart every pod while it is away."""
    container = service_container(manifests)
    app = create_app(Settings.model_validate({"bundle": "nowhere"}))
    routes = {getattr(route, "path", None) for route in app.routes}

    asked = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}

    assert asked == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }
    assert set(asked.values()) <= routes


def test_every_variable_is_a_setting_with_a_value_that_is_taken(
    manifests: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No CAUSALREC_ variable is a slip of the pen; the settings in force are those that the pod relies on."""
    for container in [each for pod in manifests.pods for each in pod.containers]:
        given = {name for name in manifests.environment(container) if name.startswith(PREFIX)}
        known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
        assert {name if name in known else name.removesuffix("_FILE") for name in given} <= known
    variables = manifests.environment(service_container(manifests))
    for name, value in variables.items():
        if name != "CAUSALREC_REDIS_URL_FILE":
            monkeypatch.setenv(name, value)

    found = settings.load({})

    assert [found.port] == list(manifests.service.ports.values())
    assert (found.host, found.data_dir) == ("0.0.0.0", Path("/data"))  # noqa: S104 - a container's


def test_what_arguments_refer_to_is_given(manifests: Rendered) -> None:
    """$(NAME) in arguments, which Kubernetes leaves as it is where there is no such variable."""
    for container in [each for pod in manifests.pods for each in pod.containers]:
        words = [*container.get("command", []), *container.get("args", [])]
        named = {name for word in words for name in re.findall(r"\$\((\w+)\)", word)}
        assert named <= manifests.environment(container).keys()


def test_a_pod_is_killed_only_after_it_could_stop_by_itself(manifests: Rendered) -> None:
    """preStop, grace and drain together, and some seconds for closing."""
    variables = manifests.environment(service_container(manifests))
    waited = float(service_container(manifests)["lifecycle"]["preStop"]["exec"]["command"][1])
    stopping = float(variables["CAUSALREC_GRACE_SECONDS"]) + float(variables["CAUSALREC_DRAIN_SECONDS"])

    assert waited + stopping + 5 <= manifests.service.spec["terminationGracePeriodSeconds"]


def test_the_spool_fits_into_its_volume(manifests: Rendered) -> None:
    """Else the pod is evicted, and its spool with it, before the service would refuse more events."""
    volume = next(each for each in manifests.service.spec["volumes"] if each["name"] == "data")
    limit = volume.get("emptyDir", {}).get("sizeLimit") or size_of_claim(manifests, volume)

    assert int(limit.removesuffix("Gi")) << 30 > Settings.model_fields["max_spool_bytes"].default


def test_images_are_those_that_docker_compose_names(manifests: Rendered) -> None:
    """No `latest`; the version is the package's; the service has the GPU build where it has a GPU, and only there."""
    composed = set(re.findall(r"image: (\S+)", re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", COMPOSE)))
    for pod in manifests.pods:
        for container in pod.containers:
            name, _, tag = container["image"].rpartition(":")
            assert name
            assert tag not in ("", "latest")
            if "causalrec" not in name:
                assert container["image"] in composed or name == "rclone/rclone"
                continue
            flavour = tag.removeprefix(f"{VERSION}-")
            assert f"{name.removeprefix('registry.example.com/')}:{flavour}" in composed
            if container == service_container(manifests):
                assert (flavour == "gpu") == ("nvidia.com/gpu" in container["resources"]["limits"])


def test_the_autoscaler_asks_for_what_the_documents_adapter_offers(manifests: Rendered) -> None:
    """A metric of the adapter's rule, made from a series that the service has."""
    shown = next(block for block in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL) if "seriesQuery" in block)
    rules = yaml.safe_load(shown)["rules"]["custom"]
    scaler = manifests.one("HorizontalPodAutoscaler", "causalrec")["spec"]
    telemetry = Telemetry(waiting=lambda: 0)
    telemetry.started()
    telemetry.finished("/v1/events", "POST", 200, 0.1, refused=False)

    asked = {each["pods"]["metric"]["name"] for each in scaler["metrics"] if each["type"] == "Pods"}

    assert asked == {rule["name"]["as"] for rule in rules}
    for rule in rules:
        assert f"\n{rule['seriesQuery'].partition('{')[0]}{{" in telemetry.render().decode()


def test_the_trainers_configuration_and_arguments_are_understood(manifests: Rendered) -> None:
    """Both files; the bundle's name is the link that the service serves; everything is written to a volume."""
    trainers = [each for pod in manifests.pods for each in pod.containers if "trainer" in each["image"]]
    bundle = Path(manifests.environment(service_container(manifests))["CAUSALREC_BUNDLE"])
    for container in [each for each in trainers if "command" not in each]:
        options = dict(zip(container["args"][::2], container["args"][1::2], strict=False))
        places = tuple(mount["mountPath"] for mount in container["volumeMounts"])
        content = manifests.one("ConfigMap", "causalrec-training")["data"][Path(options["--config"]).name]

        config = RunConfig.model_validate(tomllib.loads(content))

        assert bundle == config.export.out / config.name
        for path in (config.export.out, config.images.cache, config.fit.checkpoints, options["--data"]):
            assert str(path).startswith(places)
        assert config.data.events is None or config.data.events == exported_to(manifests)


def test_the_demo_knows_its_arguments(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The Job of the demo names options of `python -m training.demo`."""
    job = yaml.safe_load((ROOT / "k8s" / "components" / "demo" / "job.yaml").read_text())
    container = job["spec"]["template"]["spec"]["containers"][0]
    monkeypatch.setattr("sys.argv", ["demo", "--help"])

    with pytest.raises(SystemExit):
        demo.main()

    known = capsys.readouterr().out
    assert container["command"] == ["python", "-m", "training.demo"]
    assert all(word in known for word in container["args"] if word.startswith("--"))


def service_container(manifests: Rendered) -> Object:
    """The one that serves."""
    found: Object = manifests.service.spec["containers"][0]
    return found


def size_of_claim(manifests: Rendered, volume: Object) -> str:
    """What the claim of a volume asks for."""
    claim = manifests.one("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    return str(claim["spec"]["resources"]["requests"]["storage"])


def exported_to(manifests: Rendered) -> Path:
    """Where the CronJob puts the events, by the export's own command line."""
    exporter = next(pod for pod in manifests.pods if pod.owner["metadata"]["name"] == "causalrec-export")
    found: Path = export.parser().parse_args(exporter.spec["containers"][0]["args"][1:]).to
    return found
