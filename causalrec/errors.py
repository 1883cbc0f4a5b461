"""
Every error the project raises on purpose.

    CausalRecError
    ├── ConfigError          a setting or a configuration file that cannot be used
    ├── DataError            an input file: names the file and the line or row
    ├── ShapeError           arrays that do not fit together: names both shapes
    ├── InstallationError    the environment itself is wrong (both faiss flavours, no faiss)
    ├── BundleError          a bundle that must not be served: names the file and the way out
    │   ├── BundleMissing    nothing there, or no complete bundle
    │   ├── BundleCorrupt    truncated, edited, unreadable, or holding NaN
    │   └── BundleMismatch   whole, but of another schema, form or shape than asked for
    ├── RequestError         a caller's value that cannot be answered: names field, value, way out
    ├── NotReady             the service has no bundle to answer from, yet or any more
    ├── Overloaded           too much work is waiting; says when to come back
    ├── StateUnavailable     Redis does not answer, or not in time
    ├── EventsRefused        events that could be stored nowhere durable; says when to come back
    │   └── EventLogFull     the event log is at its bound; exporting empties it
    └── DeviceOutOfMemory    the accelerator has no room for the items, or for a batch

A message says what happened, the value, and the way out.
"""


class CausalRecError(Exception):
    """The base: catch it to catch everything the project raises on purpose."""


class ConfigError(CausalRecError):
    """A setting or a configuration file cannot be used."""


class DataError(CausalRecError):
    """An input file cannot be used; the message names file and line or row."""


class ShapeError(CausalRecError):
    """Arrays do not fit together; the message names both shapes."""


class InstallationError(CausalRecError):
    """The Python environment cannot run the project as it is."""


class BundleError(CausalRecError):
    """A bundle must not be served."""


class BundleMissing(BundleError):
    """There is no complete bundle at the path."""


class BundleCorrupt(BundleError):
    """A file of the bundle is truncated, edited, unreadable or holds NaN."""


class BundleMismatch(BundleError):
    """The bundle is whole but of another schema, form or shape than asked for."""


class RequestError(CausalRecError):
    """
    A caller's value cannot be answered.

    Args:
        field: the request field, as the caller wrote it.
        value: the value given.
        detail: what is wrong and what would be right.
    """

    def __init__(self, field: str, value: object, detail: str) -> None:
        super().__init__(f"{field}={value!r}: {detail}")
        self.field = field
        self.value = value
        self.detail = detail


class NotReady(CausalRecError):
    """The service has no bundle to answer from: not yet loaded, or already stopping."""


class Overloaded(CausalRecError):
    """
    Too much work is waiting.

    Args:
        retry_after: whole seconds after which trying again makes sense.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many requests are waiting; try again in {retry_after} s")
        self.retry_after = retry_after


class StateUnavailable(CausalRecError):
    """Redis does not answer, not in time, or refuses: what was asked of it was not done, or may not have been."""


class EventsRefused(CausalRecError):
    """
    None of the events was stored: send all of them again.

    Args:
        retry_after: whole seconds after which trying again makes sense.
    """

    def __init__(self, detail: str, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class EventLogFull(EventsRefused):
    """The event log holds as many events as it may; nothing acknowledged is dropped to make room."""


class DeviceOutOfMemory(CausalRecError):
    """The accelerator's memory does not hold the items, or a batch beside them."""
