"""What is logged: lines for people, or one JSON object a line for machines; and a line per request, where wanted."""

import json
import logging
import random
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

LogFormat = Literal["text", "json"]
FIELDS: Final = "fields"
"""Of a record: what is said besides its message, by name."""
access = logging.getLogger("service.access")


class TextFormatter(logging.Formatter):
    """A line for people; fields stand after the message as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line before a traceback."""
        fields = getattr(record, FIELDS, {})
        return " ".join([super().formatMessage(record), *(f"{name}={value}" for name, value in fields.items())])


class JsonFormatter(logging.Formatter):
    """One JSON object, in one line whatever is in it: time, level, logger, message, error (the traceback), fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; ASCII, so that no text makes a line that cannot be written."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps({**getattr(record, FIELDS, {}), **said}, default=str)


def configure(format_: LogFormat, level: str, stream: TextIO | None = None) -> None:
    """Everything the process logs goes to `stream` (standard error) in one form, from `level` on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format_ == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])


class AccessLog:
    """
    A line per request: its id, method, route template, status and seconds, and its trace where it has one. Neither the
    path nor the query, so no user and no item.

    Args:
        on: whether there are lines at all.
        sample: share of the answered and of the refused requests that get one; failed ones always do. Refused ones
            are sampled too, since under overload they are most, and are to cost next to nothing.
        rng: chooses.
    """

    def __init__(self, *, on: bool, sample: float = 1.0, rng: random.Random | None = None) -> None:
        self._on = on
        self._sample = sample
        self._rng = rng or random.Random()

    def tell(
        self,
        request_id: str,
        method: str,
        route: str,
        status: int,
        seconds: float,
        *,
        refused: bool,
        trace_id: str | None = None,
    ) -> None:
        """One request is over."""
        if not self._on or ((status < 400 or refused) and self._rng.random() >= self._sample):
            return
        fields = {
            "request_id": request_id,
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 6),
        }
        if trace_id is not None:
            fields["trace_id"] = trace_id
        access.log(logging.ERROR if status >= 500 and not refused else logging.INFO, "request", extra={FIELDS: fields})
