"""uvicorn's HTTP protocol, which refuses as it reads: without a task or a turn of the event loop for a refusal."""

import re
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.problem_kinds import OVERLOADED
from service.refusal import LINED, Headers, Refusal

STATUS = f"HTTP/1.1 {OVERLOADED.status} {HTTPStatus(OVERLOADED.status).phrase}\r\n".encode()
PREFIXES = tuple(each.encode() for each in LINED)
TELLING = rb"content-length:|transfer-encoding:|upgrade:|expect:|connection:(?![ \t]*keep-alive[ \t]*\r)"
SIMPLE = re.compile(  # a whole GET, alone, that says nothing of a body or of ending the connection
    rb"GET (?:%b)[\x21-\x7e]* HTTP/1\.1\r\n(?:(?!%b)[!#-'*+\-.^-z|~]+:[^\r\n\x00]*\r\n)+\r\n"
    % (b"|".join(map(re.escape, PREFIXES)), TELLING),
    re.IGNORECASE,
)
IDENTIFIED = re.compile(rb"\r\nx-request-id:[ \t]*([\x21-\x7e]*)[ \t]*\r\n", re.IGNORECASE)


def refusing(refusal: Refusal) -> type[HttpToolsProtocol]:
    """
    The protocol with `refusal` before the application.

    A refusal in the middleware costs more (86 µs against 51), and under overload accepted requests wait for the event
    loop, behind refusals, on their way in and out. What is no plain request on a connection kept alive, and what
    comes while an earlier one is being answered, is left to the middleware.
    """

    class Refusing(HttpToolsProtocol):
        _refused = False  # the request being read
        _between = True  # requests: the next byte begins one

        def data_received(self, data: bytes) -> None:
            """Refuses a simple GET without parsing it, which takes half the time of the rest."""
            idle = self._between and (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused
            if idle and refusal.full and SIMPLE.fullmatch(data):
                given = IDENTIFIED.search(data)
                self._unset_keepalive_if_required()
                self._refuse("GET", [(b"x-request-id", given[1])] if given else [])
                self.on_response_complete()
            else:
                super().data_received(data)

        def on_message_begin(self) -> None:
            self._between = False
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            plain = self.url.startswith(PREFIXES) and self.parser.should_keep_alive() and not self.flow.write_paused
            self._refused = plain and (self.cycle is None or self.cycle.response_complete) and refusal.full
            if not self._refused:
                super().on_headers_complete()
                return
            self._refuse(self.parser.get_method().decode("ascii"), self.headers)

        def _refuse(self, method: str, given: Headers) -> None:
            headers, body = refusal.answer(method, given)
            lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
            self.transport.write(b"".join([STATUS, *lines, b"\r\n", body]))

        def on_body(self, body: bytes) -> None:
            if not self._refused:
                super().on_body(body)

        def on_message_complete(self) -> None:
            self._between = True
            if self._refused:
                self.on_response_complete()  # counts it, and waits for the next
            else:
                super().on_message_complete()

    return Refusing
