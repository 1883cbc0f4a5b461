"""No to what could only join a full line, at next to no cost: under overload these are most of the answers."""

import random
import re
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from urllib.parse import quote

import orjson
from starlette.types import Receive, Scope, Send

from causalrec.errors import Overloaded
from service.batching import LONGEST_RETRY
from service.logs import AccessLog
from service.problem_kinds import MEDIA_TYPE, OVERLOADED, document
from service.telemetry import Telemetry

LINED = ("/v1/users/", "/v1/recommendations")  # how paths begin whose answers wait in the line
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
MARK = "request-id"  # stands in a document for the id of the request
Headers = Sequence[tuple[bytes, bytes]]

_ids = random.Random()  # seeded by the system; asking the system for each would let go of the interpreter each time


@lru_cache(maxsize=LONGEST_RETRY)
def _body(retry_after: int) -> list[bytes]:
    """The problem document, cut where its request id belongs."""
    return orjson.dumps(document(OVERLOADED, str(Overloaded(retry_after)), MARK)).split(MARK.encode())


class Refusal:
    """
    503 with Retry-After, with no parameter looked at and no body read.

    Args:
        full: seconds after which to try again while the line is full, else None.
        access: told of each.
    """

    def __init__(self, telemetry: Telemetry, full: Callable[[], int | None], access: AccessLog) -> None:
        self._telemetry = telemetry
        self._full = full
        self._access = access

    def applies(self, path: str) -> bool:
        """Whether a request for `path` would have to wait in the line, and the line is full."""
        return path.startswith(LINED) and self.full

    @property
    def full(self) -> bool:
        """The line is."""
        return self._full() is not None

    def answer(self, method: str, headers: Headers) -> tuple[Headers, bytes]:
        """The answer's headers and body; counts it."""
        begun = time.perf_counter()
        self._telemetry.started()
        own_id, retry_after = request_id(headers), self._full() or 1
        body = quote(own_id).encode().join(_body(retry_after))
        sent = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"retry-after", b"%d" % retry_after),
            (b"x-request-id", own_id.encode()),
        ]
        seconds = time.perf_counter() - begun
        self._telemetry.finished("refused", method, OVERLOADED.status, seconds, refused=True)
        self._access.tell(own_id, method, "refused", OVERLOADED.status, seconds, refused=True)
        return sent, body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """The same as an ASGI application."""
        headers, body = self.answer(scope["method"], scope["headers"])
        await send({"type": "http.response.start", "status": OVERLOADED.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def request_id(headers: Headers) -> str:
    """The caller's X-Request-ID where it is printable ASCII of at most 128 characters, else a new one."""
    given = next((value for name, value in headers if name == b"x-request-id"), b"").decode("latin-1")
    return given if REQUEST_ID.fullmatch(given) else f"{_ids.getrandbits(128):032x}"
