"""The profiles observability and load."""

import json
import time
import urllib.parse
import urllib.request
from contextlib import suppress
from typing import Any

from tests.containers.claims import Broken, Claims, demand
from tests.containers.client import ask, recommendations
from tests.containers.stack import ROOT, Stack, docker, inspected, until

WATCHERS = ("alertmanager", "prometheus")


def watching_claims(claims: Claims, stack: Stack) -> None:
    """Prometheus and Alertmanager; Grafana where its image can be had; k6."""
    claims.check("up with the profile observability", lambda: f"{stack.up(*WATCHERS):.0f} s")
    claims.check("Prometheus scrapes the service", lambda: scraped(stack))
    claims.check("Prometheus evaluates the rules", lambda: ruled(stack))
    claims.check("Prometheus knows its Alertmanager", lambda: alerting(stack))
    if obtained(image_of(stack, "grafana")):
        claims.check("Grafana has its data source and dashboards", lambda: drawn(stack))
    else:
        claims.left_out("Grafana has its data source and dashboards", "its image cannot be had here")
    claims.check("the profile load: k6, every answer right", lambda: loaded(stack))


def scraped(stack: Stack) -> str:
    """Every target, and metrics of ours with the bundle that is served."""
    until(lambda: _query(stack, "causalrec_bundle_info"), "a sample of causalrec_bundle_info", 60)
    with suppress(Broken):
        until(lambda: all(each["health"] == "up" for each in _targets(stack)), "every target to be up", 60)
    down = [f"{each['scrapeUrl']}: {each['lastError']}" for each in _targets(stack) if each["health"] != "up"]
    demand(not down, f"targets that are down: {down}")
    found = _query(stack, "causalrec_bundle_info")
    served = recommendations(stack.service, "user-0001").body["bundle_id"]
    demand([each["metric"]["bundle_id"] for each in found] == [served], f"{found}, but {served} is served")
    return f"{len(_targets(stack))} targets up; bundle {served[:12]}"


def ruled(stack: Stack) -> str:
    """Each rule was evaluated without an error."""

    def rules() -> list[dict[str, Any]]:
        groups = ask(f"{stack.prometheus}/api/v1/rules").body["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    until(lambda: rules() and all(rule["health"] != "unknown" for rule in rules()), "the rules to be evaluated", 120)
    wrong = [f"{rule['name']}: {rule.get('lastError')}" for rule in rules() if rule["health"] != "ok"]
    demand(not wrong, str(wrong))
    kinds = [rule["type"] for rule in rules()]
    return f"{kinds.count('recording')} recording, {kinds.count('alerting')} alerting"


def alerting(stack: Stack) -> str:
    """Raises: Broken."""
    found = ask(f"{stack.prometheus}/api/v1/alertmanagers").body["data"]["activeAlertmanagers"]
    demand(len(found) == 1, str(found))
    return str(found[0]["url"])


def drawn(stack: Stack) -> str:
    """Asked as its admin, whose password is in a file."""
    stack.up("grafana")
    password = (ROOT / "docker" / "secrets" / "grafana_password").read_text().strip()
    manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    manager.add_password(None, stack.grafana, "admin", password)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))

    def get(path: str) -> Any:
        with opener.open(f"{stack.grafana}{path}", timeout=10) as answer:
            return json.load(answer)

    sources, boards = get("/api/datasources"), get("/api/search?type=dash-db")
    demand([each["type"] for each in sources] == ["prometheus"], str(sources))
    demand(boards, "no dashboards")
    return f"{len(boards)} dashboards"


def loaded(stack: Stack) -> str:
    """k6's exit code is that of its thresholds: every check holds."""
    begun = time.monotonic()
    said = stack.compose("run", "--rm", "--no-deps", "--no-TTY", "--env", "SECONDS=10", "load")
    lines = [" ".join(line.split()) for line in said.splitlines() if "http_reqs" in line or "http_req_duration" in line]
    return f"{time.monotonic() - begun:.0f} s; {'; '.join(lines)}"


def image_of(stack: Stack, service: str) -> str:
    """The image that the compose file names."""
    found: str = json.loads(stack.compose("config", "--format", "json"))["services"][service]["image"]
    return found


def obtained(image: str) -> bool:
    """Whether the image is here, or comes when it is pulled."""
    for attempt in (("image", "inspect", image), ("pull", "--quiet", image)):
        try:
            docker(*attempt)
        except Broken:
            continue
        return True
    return False


def standin(image: str) -> str | None:
    """What a stand-in says it is; None for the image itself."""
    said: str | None = (inspected(image)["Config"]["Labels"] or {}).get("causalrec.stand-in")
    return said


def _targets(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(f"{stack.prometheus}/api/v1/targets?state=active").body["data"]["activeTargets"]
    return found


def _query(stack: Stack, query: str) -> list[dict[str, Any]]:
    answer = ask(f"{stack.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
    found: list[dict[str, Any]] = answer.body["data"]["result"] if answer.status == 200 else []
    return found
