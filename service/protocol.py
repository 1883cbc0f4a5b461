"""uvicorn's HTTP protocol, which refuses as it reads: without a task or a turn of the event loop for a refusal."""

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.problem_kinds import OVERLOADED
from service.refusal import LINED, Refusal

STATUS = f"HTTP/1.1 {OVERLOADED.status} {HTTPStatus(OVERLOADED.status).phrase}\r\n".encode()
PREFIX = LINED.encode()


def refusing(refusal: Refusal) -> type[HttpToolsProtocol]:
    """
    The protocol with `refusal` before the application.

    A refusal in the middleware costs more (86 µs against 51), and under overload accepted requests wait for the event
    loop, behind refusals, on their way in and out. What is no plain request on a connection kept alive, and what
    comes while an earlier one is being answered, is left to the middleware.
    """

    class Refusing(HttpToolsProtocol):
        _refused = False  # the request being read

        def on_headers_complete(self) -> None:
            plain = self.url.startswith(PREFIX) and self.parser.should_keep_alive() and not self.flow.write_paused
            self._refused = plain and (self.cycle is None or self.cycle.response_complete) and refusal.applies(LINED)
            if not self._refused:
                super().on_headers_complete()
                return
            headers, body = refusal.answer(self.parser.get_method().decode("ascii"), self.headers)
            lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
            self.transport.write(b"".join([STATUS, *lines, b"\r\n", body]))

        def on_body(self, body: bytes) -> None:
            if not self._refused:
                super().on_body(body)

        def on_message_complete(self) -> None:
            if self._refused:
                self.on_response_complete()  # counts it, and waits for the next
            else:
                super().on_message_complete()

    return Refusing
