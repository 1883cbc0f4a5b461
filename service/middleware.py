"""Around every request: its id, its time, its size, and an answer even to what nobody foresaw. Pure ASGI."""

import time
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.problem_kinds import OVERLOADED
from service.refusal import Refusal, request_id
from service.telemetry import Telemetry


class RequestContext:
    """
    Gives every request an id (X-Request-ID), sends it back, counts and times the request, refuses what could only join
    a full line before anything else is done for it, and turns an unexpected error into a problem document.

    Args:
        refusal: answers instead of the application where it applies.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry, refusal: Refusal) -> None:
        self._app = app
        self._telemetry = telemetry
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._refusal.applies(scope["path"]):
            await self._refusal(scope, receive, send)
            return
        begun = time.perf_counter()
        own_id = scope["request_id"] = request_id(scope["headers"])
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", own_id.encode())]
            await send(message)

        self._telemetry.started()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the last line before the server: nothing may pass it
            failure = problems.on_unexpected(Request(scope), error)
            if not status:
                await failure(scope, receive, send_with_id)
        finally:
            route = getattr(scope.get("route"), "path_format", "unmatched")
            refused = scope.get("problem") == OVERLOADED.name
            seconds = time.perf_counter() - begun
            self._telemetry.finished(route, scope["method"], status or 500, seconds, refused=refused)


class BodyLimit:
    """
    Refuses to read a body longer than `limit` bytes (413): at once where its length is announced.

    Args:
        larger: other limits, by how paths begin.
    """

    def __init__(self, app: ASGIApp, limit: int, larger: Mapping[str, int]) -> None:
        self._app = app
        self._limit = limit
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":  # whose bodies nobody reads
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        announced = int(length[:20]) if length.isdecimal() else 0
        path = scope["path"]
        limit = next((most for start, most in self._larger.items() if path.startswith(start)), self._limit)
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            if announced <= limit:
                message = await receive()
                received += len(message.get("body", b""))
                if received <= limit:
                    return message
            detail = f"the body is longer than {limit} bytes; send several requests, or a smaller picture"
            raise HTTPException(413, detail, {"Connection": "close"})

        await self._app(scope, receive_counted, send)
