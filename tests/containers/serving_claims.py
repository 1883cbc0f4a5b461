"""`docker compose up`: a list, an event, an experiment; what may be written and reached."""

import shutil
import subprocess
import time
from typing import Any

from tests.containers.claims import Claims, demand
from tests.containers.client import Answer, ask, recommendations
from tests.containers.stack import Stack, until

TRIAL = {"key": "compose-test", "variants": [{"lambda2": 0.0}, {"lambda2": 1.2}]}
# Prints every folder in which the container's user may write.
WRITABLE = """
import os
found = []
for place, folders, _ in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(place, f) not in ("/proc", "/sys", *found)]
    if os.access(place, os.W_OK) and not any(place.startswith(f + "/") for f in found):
        found.append(place)
print(*sorted(found))
"""
IN_MEMORY = {"/dev/shm", "/dev/mqueue", "/tmp"}  # noqa: S108 - the containers', gone when they end


def serving_claims(claims: Claims, stack: Stack) -> None:
    """Of a stack that is up, in their order."""
    claims.check("the trainer's second run leaves the bundle as it is", lambda: kept(stack))
    claims.check("the service writes only where it must", lambda: writable(stack, "service", {"/data"}))
    claims.check("the trainer too", lambda: writable(stack, "trainer", {"/bundles", "/work"}))
    claims.check("ports are published on 127.0.0.1 only, Redis has none", lambda: published(stack))
    claims.check("Redis asks for its password", lambda: locked(stack))
    claims.check("a list by curl", lambda: listed(stack))
    claims.check("a click takes its item out of the next list", lambda: clicked(stack))
    claims.check("an experiment cannot be made without a key", lambda: closed(stack))
    claims.check("an experiment: made, started, answered, stopped", lambda: experiment(stack))
    claims.check("SIGTERM ends the service with 0, and it starts again", lambda: stopped(stack))


def kept(stack: Stack) -> str:
    """A second run of the job, as every `docker compose up` does."""
    before = recommendations(stack.service, "user-0001").body["bundle_id"]
    begun = time.monotonic()
    said = stack.compose("run", "--rm", "--no-deps", "--no-TTY", "trainer")
    demand("is there already" in said, said[-300:])
    demand(recommendations(stack.service, "user-0001").body["bundle_id"] == before, "another bundle is served")
    return f"{said.splitlines()[-1]}, {time.monotonic() - begun:.1f} s"


def writable(stack: Stack, service: str, allowed: set[str]) -> str:
    """Raises: Broken naming the folders in which a container may write besides `allowed` and memory."""
    if service == "service":
        found = set(stack.run_inside(service, WRITABLE).split())
    else:
        run = ("run", "--rm", "--no-deps", "--no-TTY", "--entrypoint", "python", service, "-c", WRITABLE)
        found = set(stack.compose(*run).split())
    demand(found - IN_MEMORY == allowed, f"{sorted(found)}")
    return " ".join(sorted(found - IN_MEMORY))


def published(stack: Stack) -> str:
    """Raises: Broken naming a port that other machines can reach."""
    found = []
    for service in ("service", "redis"):
        for port, places in (stack.container(service)["NetworkSettings"]["Ports"] or {}).items():
            found += [f"{service} {place['HostIp']}:{place['HostPort']}→{port}" for place in places or ()]
    demand([each.split(":")[0] for each in found] == ["service 127.0.0.1"], str(found))
    return found[0]


def locked(stack: Stack) -> str:
    """Raises: Broken when it answers anybody, or its command line says the password."""
    said = stack.compose("exec", "--no-TTY", "redis", "redis-cli", "ping")
    demand("NOAUTH" in said, said)
    processes = stack.compose("top", "redis")
    demand("requirepass" not in processes, processes)
    return said


def listed(stack: Stack) -> str:
    """Ten items, proved exact, with the bundle's λ2. Without curl on PATH: by urllib."""
    url = f"{stack.service}/v1/users/user-0005/recommendations?k=10"
    if shutil.which("curl"):
        subprocess.run(["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", url], check=True)
    answer = recommendations(stack.service, "user-0005").body
    demand(len({item["item_id"] for item in answer["items"]}) == 10, str(answer))
    demand(answer["exact"] and answer["lambda2_source"] == "default" and answer["source"] == "personal", str(answer))
    by = "curl" if shutil.which("curl") else "urllib"
    return f"10 items by {by}, λ2 = {answer['lambda2']}, bundle {answer['bundle_id'][:12]}"


def clicked(stack: Stack) -> str:
    """The item told of is in the first list and not in the second; the others move up."""
    first = _items(recommendations(stack.service, "user-0007"))
    event = {"event_id": "round-trip", "user_id": "user-0007", "item_id": first[0], "type": "click"}
    told = ask(f"{stack.service}/v1/events", event)
    demand(told == (200, {"accepted": 1, "duplicates": 0}), str(told))
    second = _items(recommendations(stack.service, "user-0007"))
    demand(first[0] not in second and len(second) == 10, f"{first[0]} in {second}")
    again = ask(f"{stack.service}/v1/events", event)
    demand(again == (200, {"accepted": 0, "duplicates": 1}), str(again))
    return f"{first[0]} gone, told twice and counted once"


def closed(stack: Stack) -> str:
    """Raises: Broken when anybody may, or somebody with a key that is none."""
    url = f"{stack.service}/v1/experiments"
    found = [ask(url, TRIAL).status, ask(url, TRIAL, key="crk_made-up").status]
    demand(found == [401, 401], str(found))
    return "401 without a key, 401 with a wrong one"


def experiment(stack: Stack) -> str:
    """With a key that is made while the service runs: both variants are served, and none after the end."""
    key = stack.compose("exec", "--no-TTY", "service", "python", "-m", "service", "keys", "add", "t", "--role", "admin")
    trials = f"{stack.service}/v1/experiments"
    until(lambda: ask(trials, TRIAL, key=key).status in {201, 409}, "the key to be taken over", 10)
    started = ask(f"{trials}/{TRIAL['key']}/start", {}, key=key)
    demand(started.status == 200, str(started))
    served = _served(stack)
    demand(set(served) == {0.0, 1.2}, f"λ2 served: {served}")
    ended = ask(f"{trials}/{TRIAL['key']}/stop", {"reason": "seen enough"}, key=key)
    demand(ended.status == 200, str(ended))
    after = recommendations(stack.service, "user-0010").body
    demand(after["lambda2_source"] == "default" and not after.get("experiment"), str(after))
    return f"{len(served)} lists at λ2 {served.count(0.0)} × 0.0, {served.count(1.2)} × 1.2; then the default"


def stopped(stack: Stack) -> str:
    """As `docker compose stop` does."""
    demand(stack.healthy("service"), "it is not healthy before")
    begun = time.monotonic()
    stack.compose("stop", "service")
    took, code = time.monotonic() - begun, stack.container("service")["State"]["ExitCode"]
    demand(code == 0, f"exit {code} after {took:.1f} s")
    return f"exit 0 after {took:.1f} s; ready again after {stack.up('service'):.1f} s"


def _items(answer: Answer) -> list[str]:
    demand(answer.status == 200, str(answer))
    return [item["item_id"] for item in answer.body["items"]]


def _served(stack: Stack) -> list[float]:
    answers: list[Any] = [recommendations(stack.service, f"user-{number:04}").body for number in range(20, 60)]
    return [answer["lambda2"] for answer in answers if (answer.get("experiment") or {}).get("key") == TRIAL["key"]]
