"""The parts of a multipart/form-data body, in memory: bodies are bounded before they come here."""

from typing import TYPE_CHECKING

from fastapi import HTTPException
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_PARTS = 8
MEDIA_TYPE = "multipart/form-data"


def is_multipart(content_type: str) -> bool:
    """Whether that is what the body is declared as."""
    return content_type.partition(";")[0].strip().lower() == MEDIA_TYPE


def parts_of(body: bytes, content_type: str) -> dict[str, bytes]:
    """
    The content of each part, by its name, whether it is declared a file or not.

    Raises: HTTPException (400) where the body is cut off or not what it is declared as, a part has no name, or two
        have the same.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _unreadable("its Content-Type names no boundary")
    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _unreadable(str(error)) from error
    if not reader.ended:
        raise _unreadable("it is cut off")
    return reader.parts


class _Reader:
    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self.ended = False
        self._field = self._value = b""
        self._name: str | None = None
        self._content: list[bytes] = []

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._name, self._content = None, []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            name = parse_options_header(self._value)[1].get(b"name")
            self._name = None if name is None else name.decode("utf-8", "replace")
        self._field = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content.append(data[start:end])

    def _part_end(self) -> None:
        if self._name is None:
            raise _unreadable("a part has no name")
        if self._name in self.parts or len(self.parts) == MOST_PARTS:
            raise _unreadable(f"it has more than one part {self._name[:50]!r}, or more than {MOST_PARTS}")
        self.parts[self._name] = b"".join(self._content)

    def _end(self) -> None:
        self.ended = True


def _unreadable(reason: str) -> HTTPException:
    return HTTPException(400, f"the body is no whole {MEDIA_TYPE}: {reason}")
