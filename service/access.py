"""Which role each route asks for, and the check before those that ask here; others are left as they are."""

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from ipaddress import ip_address
from typing import Any, Final

from fastapi import FastAPI
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api_keys import Forbidden, Key, KeyFile, NoValidKey, Role
from service.problem_kinds import FORBIDDEN, MEDIA_TYPE, NO_VALID_KEY, documented

OPEN: Final = None  # for whoever can reach the port
HEALTH = "/health/live", "/health/ready", "/livez", "/readyz", "/metrics"
PAGES = "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"
TRIALS, TRIAL, HOLDOUT = "/v1/experiments", "/v1/experiments/{key}", "/v1/experiments-holdout"
FLAGS = "/ofrep/v1/evaluate/flags"
ITEM = "/v1/items/{item_id}"

ROLE_OF: Final[Mapping[str, Role | None]] = {
    **dict.fromkeys((f"GET {path}" for path in (*HEALTH, *PAGES)), OPEN),
    "GET /v1/users/{user_id}/recommendations": "reader",
    "GET /v1/users/{user_id}/lambda2-path": "reader",
    "POST /v1/recommendations": "reader",
    "POST /v1/recommendations/batch": "reader",
    "POST /v1/events": "events",
    f"GET {ITEM}": "reader",
    f"PUT {ITEM}": "items",
    f"PATCH {ITEM}": "items",
    f"DELETE {ITEM}": "items",
    f"GET {TRIALS}": "reader",
    f"POST {TRIALS}": "experiments",
    **{f"GET {TRIAL}{part}": "reader" for part in ("", "/assignment", "/report", "/audit")},
    **{f"POST {TRIAL}/{act}": "experiments" for act in ("versions", "start", "pause", "stop")},
    f"GET {HOLDOUT}": "reader",
    f"PUT {HOLDOUT}": "experiments",
    "GET /v1/experiments-audit": "reader",
    "GET /v1/models": "reader",
    "POST /v1/models/rollback": "models",
    **{f"POST /v1/models/{{model_id}}/{act}": "models" for act in ("activate", "canary")},
    "POST /v1/experiments-plan": "reader",
    f"POST {FLAGS}": "reader",
    f"POST {FLAGS}/{{key}}": "reader",
}
"""The role that every route asks for where it asks for one; a route without a row keeps the service from starting."""

READS: Final = frozenset[Role]({"reader", "events"})  # what open_reads opens
CLOSED: Final = (
    "without API keys this is open only to a service that listens on 127.0.0.1, and this one does not; make a key with "
    "`python -m service keys add NAME --role {role} --file FILE` and start the service with api_keys_file = FILE"
)
SCHEMES: Final[dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same; it wins over bearer."},
}


class Access:
    """
    Who may do what in one process.

    Args:
        keys: those that are valid; None where there is no file of them.
        open_reads: reading and telling events needs no key.
        loopback: only this machine can reach the service, so that without keys it may do anything.
    """

    def __init__(self, keys: KeyFile | None, *, open_reads: bool, loopback: bool) -> None:
        self._keys = keys
        self._open_reads = open_reads
        self._loopback = loopback

    @property
    def stale(self) -> bool:
        """Whether older keys are in force, because the file of them cannot be used as it is now."""
        return self._keys is not None and self._keys.stale

    def asks(self, role: Role | None) -> bool:
        """Whether a route of this role asks for a key here."""
        if role is OPEN:
            return False
        if role in READS:
            return not self._open_reads
        return self._keys is not None or not self._loopback

    def guard(self, app: FastAPI) -> None:
        """Puts the check before every route of `app` that asks, and says so in its OpenAPI. Raises: LookupError."""
        roles = [role_of(route) for route in app.router.routes]
        app.router.routes[:] = [
            self._guarded(route, role) if role and self.asks(role) else route
            for route, role in zip(app.router.routes, roles, strict=True)
        ]
        described = app.openapi
        app.openapi = lambda: self._described(described())  # type: ignore[method-assign] # FastAPI's documented way

    def admit(self, headers: Iterable[tuple[bytes, bytes]], role: Role) -> Key:
        """The key that came with `headers`. Raises: NoValidKey, Forbidden."""
        if self._keys is None:
            raise Forbidden(CLOSED.format(role=role))
        secret = offered(headers)
        if secret is None:
            raise NoValidKey(f"this asks for a key with the role {role}: Authorization: Bearer KEY, or X-API-Key: KEY")
        key = self._keys.find(secret)
        if key is None:
            raise NoValidKey("there is no such key; ask whoever runs the service for one")
        if not key.may(role):
            held = ", ".join(sorted(key.roles))
            raise Forbidden(f"the key {key.name!r} has not the role {role}, only {held}")
        return key

    def _guarded(self, route: BaseRoute, role: Role) -> BaseRoute:
        """A route like `route`, which is shared by every application of the process, with the check before it."""
        assert isinstance(route, Route)  # noqa: S101 - role_of has seen to it
        own = copy(route)
        own.app = checked(route.app, lambda headers: self.admit(headers, role))
        return own

    def _described(self, openapi: dict[str, Any]) -> dict[str, Any]:
        openapi.setdefault("components", {})["securitySchemes"] = SCHEMES
        for path, operations in openapi["paths"].items():
            for method, operation in operations.items():
                role = ROLE_OF[f"{method.upper()} {path}"]
                if self.asks(role):
                    operation["security"] = [{scheme: [role]} for scheme in SCHEMES]
                    operation["responses"].update(PROBLEMS)
        return openapi


def role_of(route: BaseRoute) -> Role | None:
    """The role that `route` asks for. Raises: LookupError where nobody has said which."""
    methods = set(getattr(route, "methods", None) or ()) - {"HEAD"}
    names = [f"{method} {getattr(route, 'path_format', '')}" for method in sorted(methods)]
    missing = [name for name in names if name not in ROLE_OF]
    roles = {ROLE_OF[name] for name in names if name in ROLE_OF}
    if missing or len(roles) != 1 or not isinstance(route, Route):
        raise LookupError(f"{missing or route} has no one role; give it a row in ROLE_OF, service/access.py")
    return roles.pop()


def checked(app: ASGIApp, admit: Callable[[Iterable[tuple[bytes, bytes]]], Key]) -> ASGIApp:
    """`app` for who is admitted; the scope then says as whom. The body of anybody else is not read."""

    async def check(scope: Scope, receive: Receive, send: Send) -> None:
        scope["api_key"] = admit(scope["headers"]).name
        await app(scope, receive, send)

    return check


def offered(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """
    The key that a request came with.

    X-API-Key wins: only we are meant by it, while Authorization may be for a gateway on the way.
    """
    bearer = None
    for name, value in headers:
        if name == b"x-api-key":
            return value.strip()
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            bearer = value[7:].strip()
    return bearer


def is_loopback(host: str) -> bool:
    """Whether what listens on `host` can be reached from its own machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _responses() -> dict[str, Any]:
    """401 and 403 as OpenAPI has them after FastAPI is done."""
    schema = {"$ref": "#/components/schemas/Problem"}
    found = documented(NO_VALID_KEY, FORBIDDEN)
    return {
        str(status): {
            "description": answer["description"],
            "content": {MEDIA_TYPE: {**answer["content"][MEDIA_TYPE], "schema": schema}},
        }
        for status, answer in found.items()
    }


PROBLEMS: Final = _responses()
