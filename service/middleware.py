"""Around every request: its id, its time, its size, and an answer even to what nobody foresaw. Pure ASGI."""

import time
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.answers import Answer
from service.logs import AccessLog
from service.problem_kinds import OVERLOADED
from service.refusal import Refusal, request_id
from service.telemetry import Telemetry
from service.tracing import Tracing


class RequestContext:
    """
    Gives every request an id (X-Request-ID), sends it back, counts and times the request, refuses what could only join
    a full line before anything else is done for it, and turns an unexpected error into a problem document.

    Args:
        refusal: answers instead of the application where it applies.
        access: told of every request that is over.
        tracing: the same, where traces are made.
    """

    def __init__(
        self, app: ASGIApp, telemetry: Telemetry, refusal: Refusal, access: AccessLog, tracing: Tracing | None
    ) -> None:
        self._app = app
        self._telemetry = telemetry
        self._refusal = refusal
        self._access = access
        self._tracing = tracing

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
            self._over(scope, own_id, status or 500, time.perf_counter() - begun)

    def _over(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", "unmatched")
        method, refused = scope["method"], scope.get("problem") == OVERLOADED.name
        self._telemetry.finished(route, method, status, seconds, refused=refused)
        said = request_id, method, route, status, seconds
        trace_id = None
        if self._tracing is not None and route.startswith("/v1/"):  # not of probes and scrapes
            answer: Answer | None = scope.get("answer")
            bundle_id, stages = (None, None) if answer is None else (answer.bundle_id, answer.seconds)
            trace_id = self._tracing.tell(*said, scope["headers"], bundle_id=bundle_id, stages=stages)
        self._access.tell(*said, refused=refused, trace_id=trace_id)


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
