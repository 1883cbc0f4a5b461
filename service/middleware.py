"""Around every request: its id, its time, its size, and an answer even to what nobody foresaw. Pure ASGI."""

import re
import time
import uuid

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.telemetry import Telemetry

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class RequestContext:
    """
    Gives every request an id (X-Request-ID, the caller's where it is printable ASCII of at most 128 characters), sends
    it back, counts and times the request, and turns an unexpected error into a problem document.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["request_id"] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
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
            self._telemetry.finished(route, scope["method"], status or 500, time.perf_counter() - begun)


class BodyLimit:
    """Refuses to read a body longer than `limit` bytes (413): at once where its length is announced."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
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
