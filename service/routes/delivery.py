"""From an answer to a response, for as long as its caller is there."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fastapi import Request, Response

from causalrec.errors import NotReady
from service.answers import Answer
from service.recommender import Recommender

WATCHED = 0.01  # seconds of waiting from which a caller is watched: to watch one takes some 30 µs
CALLER_LEFT = 499  # nobody receives it; what proxies log for the same


def recommender(request: Request) -> Recommender:
    """The one of the application that `request` came to. Raises: NotReady (`part`)."""
    found: Recommender = part(request, "recommender")
    return found


def part(request: Request, name: str) -> Any:
    """A part of the application that `request` came to. Raises: NotReady before there is one."""
    found = getattr(request.app.state, name, None)
    if found is None:
        raise NotReady("nothing has been loaded yet; try again when /health/ready says 200")
    return found


async def deliver(request: Request, answering: Coroutine[Any, Any, Answer]) -> Response:
    """
    The response with the answer, or 304 without it where If-None-Match names it.

    Who has to wait long is watched meanwhile: a caller who hangs up leaves the line.
    """
    if recommender(request).wait < WATCHED:
        return _response(await answering, request)
    own = asyncio.current_task()
    assert own is not None  # noqa: S101 - this is a coroutine
    watch = asyncio.create_task(_cancel_when_gone(request, own))
    try:
        return _response(await answering, request)
    except asyncio.CancelledError:
        if not watch.done():
            raise
        own.uncancel()
        return Response(status_code=CALLER_LEFT)
    finally:
        watch.cancel()


async def _cancel_when_gone(request: Request, task: asyncio.Task[Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    task.cancel()


def _response(answer: Answer, request: Request) -> Response:
    request.scope["answer"] = answer  # for its trace
    headers = {
        "ETag": answer.etag,
        "Cache-Control": "private, no-cache",
        "Server-Timing": ", ".join([f"{stage};dur={1000 * seconds:.3f}" for stage, seconds in answer.seconds.items()]),
    }
    known = request.headers.get("if-none-match") if request.method == "GET" else None
    if known is not None and names(known, answer.etag):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, headers=headers, media_type="application/json")


def names(known: str, etag: str) -> bool:
    """Whether an If-None-Match header names `etag` (weak comparison, RFC 9110 §13.1.2)."""
    tags = (tag.strip().removeprefix("W/") for tag in known.split(","))
    return known.strip() == "*" or etag in tags
