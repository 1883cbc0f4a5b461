"""Around every request: its id, its time, its size, and an answer even to what nobody foresaw. Pure ASGI."""

import os
import re
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.problem_kinds import OVERLOADED
from service.telemetry import Telemetry

LINED = "/v1/"  # where paths begin whose answers wait in the line
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class RequestContext:
    """
    Gives every request an id (X-Request-ID, the caller's where it is printable ASCII of at most 128 characters), sends
    it back, counts and times the request, refuses what could only join a full line before anything else is done for it,
    and turns an unexpected error into a problem document.

    Args:
        full: seconds after which to try again while the line is full, else None.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry, full: Callable[[], int | None]) -> None:
        self._app = app
        self._telemetry = telemetry
        self._full = full

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        request_id = scope["request_id"] = _request_id(scope)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        self._telemetry.started()
        retry_after = self._full() if scope["path"].startswith(LINED) else None
        try:
            if retry_after is None:
                await self._app(scope, receive, send_with_id)
            else:
                await problems.overloaded(Request(scope), retry_after)(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the last line before the server: nothing may pass it
            failure = problems.on_unexpected(Request(scope), error)
            if not status:
                await failure(scope, receive, send_with_id)
        finally:
            route = getattr(scope.get("route"), "path_format", "unmatched" if retry_after is None else "refused")
            refused = scope.get("problem") == OVERLOADED.name
            seconds = time.perf_counter() - begun
            self._telemetry.finished(route, scope["method"], status or 500, seconds, refused=refused)


def _request_id(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    return given if REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


class BodyLimit:
    """Refuses to read a body longer than `limit` bytes (413): at once where its length is announced."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":  # whose bodies nobody reads
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        announced = int(length[:20]) if length.isdecimal() else 0
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            if announced <= self._limit:
                message = await receive()
                received += len(message.get("body", b""))
                if received <= self._limit:
                    return message
            detail = f"the body is longer than {self._limit} bytes; send fewer ids or several requests"
            raise HTTPException(413, detail, {"Connection": "close"})

        await self._app(scope, receive_counted, send)
