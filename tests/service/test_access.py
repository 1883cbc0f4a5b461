"""Who may do what: every route says which role it asks for, and what asks for one is not done without."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response

from causalrec.errors import ConfigError
from service.access import ROLE_OF, Access, is_loopback
from service.api_keys import ROLES
from service.problem_kinds import Problem
from service.routes import experiments, health
from tests.service.conftest import Serve

DRAFT = {"key": "dial", "variants": [{"lambda2": 0.0}, {"lambda2": 1.0}]}
BODIES: dict[str, Any] = {  # of requests that would be answered, for each that asks for more than to be well-formed
    "POST /v1/recommendations": {"user_id": "ann"},
    "POST /v1/recommendations/batch": {"requests": [{"user_id": "ann"}]},
    "POST /v1/experiments": DRAFT,
}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A file with a key for each role, named as its role; the key itself is the name and -key."""
    file = tmp_path / "keys"
    file.write_text("".join(f"{role} {role} {hashlib.sha256(f'{role}-key'.encode()).hexdigest()}\n" for role in ROLES))
    return file


def ask(client: TestClient, route: str, key: str | None = None) -> Response:
    """The answer to a request to a route of `ROLE_OF`."""
    method, path = route.split()
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    path = path.format(user_id="ann", item_id="hat", key="dial", model_id="f00d")
    return client.request(method, path, headers=headers, json=None if method == "GET" else BODIES.get(route, {}))


def kind(answer: Response) -> tuple[int, str]:
    """Status and problem of an answer that is one."""
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, Problem.model_validate(answer.json()).type.rpartition(":")[2]


def named(app: FastAPI) -> set[str]:
    """The routes of an application, as `ROLE_OF` has them."""
    routes: list[Any] = list(app.router.routes)
    return {f"{method} {route.path_format}" for route in routes for method in route.methods - {"HEAD"}}


def test_every_route_has_a_role(client: TestClient) -> None:
    """And every row a route: none is left over from one that is gone."""
    assert isinstance(client.app, FastAPI)
    assert named(client.app) == set(ROLE_OF)


def test_a_route_that_was_forgotten_keeps_the_service_from_starting() -> None:
    """Nobody can add one that is open by mistake."""
    app = FastAPI()
    app.add_api_route("/v1/secrets", lambda: None, methods=["POST"])

    with pytest.raises(LookupError, match=r"POST /v1/secrets.*give it a row in ROLE_OF, service/access\.py"):
        Access(None, open_reads=True, loopback=True).guard(app)


def test_what_changes_anything_asks_for_a_role_of_its_own() -> None:
    """By method: nothing but questions, and what is told of users, has a role that open_reads opens."""
    questions = {"POST /v1/recommendations", "POST /v1/recommendations/batch", "POST /v1/experiments-plan"}
    flags = {route for route in ROLE_OF if route.startswith("POST /ofrep/")}

    opened = {route for route, role in ROLE_OF.items() if role in ("reader", "events") and not route.startswith("GET ")}

    assert opened == {*questions, *flags, "POST /v1/events"}
    assert all(route.startswith("GET ") for route, role in ROLE_OF.items() if role is None)


@pytest.mark.parametrize("open_reads", [True, False])
def test_each_role_opens_its_routes_and_no_other(serve: Serve, keys: Path, open_reads: bool) -> None:
    """Every key at every route; admin opens all; what is open is so with a wrong key too."""
    client = serve(api_keys_file=keys, open_reads=open_reads)

    for route, role in ROLE_OF.items():
        is_open = role is None or (open_reads and role in ("reader", "events"))
        for held in ROLES:
            status = ask(client, route, f"{held}-key").status_code
            assert (status == 403) == (not is_open and held not in (role, "admin")), (route, held)
            assert status != 401
        for key in (None, "wrong", "admin-ke", "admin-key2", ""):
            assert (ask(client, route, key).status_code == 401) == (not is_open), (route, key)


def test_without_a_file_of_keys_a_service_on_loopback_may_be_changed(serve: Serve) -> None:
    """On a laptop nobody needs a key."""
    client = serve(host="127.0.0.1")

    assert ask(client, "POST /v1/experiments").status_code == 201
    assert ask(client, "DELETE /v1/items/{item_id}").status_code == 404


def test_without_a_file_of_keys_one_that_others_can_reach_may_not(serve: Serve) -> None:
    """403 with the way out for every change; questions and events are answered."""
    client = serve(host="0.0.0.0")  # noqa: S104 - that is the point

    for route, role in ROLE_OF.items():
        refused = role not in (None, "reader", "events")
        assert (ask(client, route).status_code == 403) == refused, route
    answer = ask(client, "POST /v1/experiments")
    assert kind(answer) == (403, "forbidden")
    assert "python -m service keys add NAME --role experiments --file FILE" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *(("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)),  # noqa: S104
        *(("::", False), ("", False), ("10.0.0.7", False), ("shop.example", False), ("127.0.0.1.example", False)),
    ],
)
def test_which_addresses_are_of_this_machine_only(host: str, loopback: bool) -> None:
    """What is not known to be is not."""
    assert is_loopback(host) is loopback


def test_no_key_is_401_and_says_how(serve: Serve, keys: Path) -> None:
    """With the challenge that RFC 9110 asks for; a wrong key is not shown."""
    client = serve(api_keys_file=keys)

    none, wrong = (ask(client, "POST /v1/experiments", key) for key in (None, "my-secret"))

    assert kind(none) == kind(wrong) == (401, "no-valid-key")
    assert "role experiments: Authorization: Bearer KEY, or X-API-Key: KEY" in none.json()["detail"]
    assert none.headers["www-authenticate"] == wrong.headers["www-authenticate"] == 'Bearer realm="causalrec"'
    assert "my-secret" not in wrong.text


def test_a_key_of_another_role_is_403_and_says_which_is_needed(serve: Serve, keys: Path) -> None:
    """It names the key, by its name."""
    answer = ask(serve(api_keys_file=keys), "DELETE /v1/items/{item_id}", "events-key")

    assert kind(answer) == (403, "forbidden")
    assert answer.json()["detail"] == "the key 'events' has not the role items, only events"
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-API-Key": "items-key"}, 404),
        ({"Authorization": "bearer items-key"}, 404),
        ({"Authorization": "BEARER   items-key "}, 404),
        ({"Authorization": "Basic aXRlbXMta2V5", "X-API-Key": "items-key"}, 404),
        ({"Authorization": "Bearer of-a-gateway", "X-API-Key": "items-key"}, 404),
        ({"Authorization": "Bearer items-key", "X-API-Key": "wrong"}, 401),
        ({"Authorization": "items-key"}, 401),
        ({"Authorization": "Basic items-key"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Cookie": "X-API-Key=items-key"}, 401),
    ],
)
def test_how_a_key_is_sent(serve: Serve, keys: Path, headers: dict[str, str], status: int) -> None:
    """X-API-Key wins, since Authorization may be for somebody on the way."""
    assert serve(api_keys_file=keys).delete("/v1/items/nothing", headers=headers).status_code == status


def test_a_refused_request_does_nothing_and_its_body_is_not_looked_at(serve: Serve, keys: Path) -> None:
    """A body that would be 400 or 413 is 401; what it asked for was not done."""
    client = serve(api_keys_file=keys, max_body_bytes=1024)

    broken = client.post("/v1/experiments", content=b"{", headers={"Content-Type": "application/json"})
    refused = ask(client, "POST /v1/experiments", "items-key")

    assert (broken.status_code, refused.status_code) == (401, 403)
    assert client.get("/v1/experiments/dial").status_code == 404


def test_the_audit_log_has_the_name_of_the_key(serve: Serve, keys: Path) -> None:
    """Whatever X-Actor says; without keys X-Actor is all there is."""
    headers = {"X-Actor": "somebody-else", "X-API-Key": "experiments-key"}

    for client, actor in ((serve(api_keys_file=keys), "experiments"), (serve(prefix="open"), "somebody-else")):
        assert client.post("/v1/experiments", json=DRAFT, headers=headers).status_code == 201
        (entry,) = client.get("/v1/experiments/dial/audit").json()["entries"]
        assert entry["actor"] == actor


def test_keys_rotate_while_the_service_runs(serve: Serve, keys: Path) -> None:
    """No restart; a file that is half written takes nothing away, and raises a metric."""
    client = serve(api_keys_file=keys)
    route = "DELETE /v1/items/{item_id}"

    keys.write_text(f"next items {hashlib.sha256(b'next-key').hexdigest()}\n")
    while ask(client, route, "next-key").status_code == 401:
        pass
    gone = ask(client, route, "items-key").status_code
    keys.write_text("next ite")
    while "causalrec_api_keys_stale 1.0" not in client.get("/metrics").text:
        pass

    assert gone == 401
    assert ask(client, route, "next-key").status_code == 404


def test_reading_can_only_be_closed_with_keys(serve: Serve) -> None:
    """Else nobody could be answered."""
    with pytest.raises(ConfigError, match=r"open_reads=false.*set api_keys_file"):
        serve(open_reads=False)


@pytest.mark.parametrize("open_reads", [True, False])
def test_openapi_says_where_a_key_is_asked_for(serve: Serve, keys: Path, open_reads: bool) -> None:
    """Both ways to send one, the role, and examples of 401 and 403; nothing of it where none is asked for."""
    openapi = serve(api_keys_file=keys, open_reads=open_reads).get("/openapi.json").json()

    schemes = openapi["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            role = ROLE_OF[f"{method.upper()} {path}"]
            asked = role is not None and not (open_reads and role in ("reader", "events"))
            assert operation.get("security", []) == [{scheme: [role]} for scheme in schemes if asked]
            for status in ("401", "403"):
                assert (status in operation["responses"]) == asked
                if asked:
                    content = operation["responses"][status]["content"]["application/problem+json"]
                    assert Problem.model_validate(content["example"]).status == int(status)
                    assert content["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_services_of_one_process_do_not_share_their_checks(serve: Serve, keys: Path) -> None:
    """Routes are declared once for all; one service with keys must not close, and one without not open, another."""
    keyed, free = serve(api_keys_file=keys), serve(prefix="free")

    assert ask(keyed, "POST /v1/experiments").status_code == 401
    assert ask(free, "POST /v1/experiments").status_code == 201
    assert "checked" not in repr([getattr(route, "app", None) for route in experiments.router.routes])


def test_what_is_open_has_no_check_before_it(client: TestClient) -> None:
    """The very route that was declared: open answers cost nothing more."""
    assert isinstance(client.app, FastAPI)
    assert all(any(route is each for each in client.app.router.routes) for route in health.router.routes)
