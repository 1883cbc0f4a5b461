"""The sorts of problem: which error has which status, and how a problem document is written and documented."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from causalrec import errors
from causalrec.errors import CausalRecError
from service.api_keys import Forbidden, NoValidKey
from service.batching import DeadlinePassed
from service.candidate import GoldenMismatch, RehearsalFailed, Shrunk
from service.catalogue import CatalogueFull, NoSuchItem
from service.changeover import ModelRefused
from service.experiments.model import ExperimentConflict, NoSuchExperiment
from service.models import ModelConflict, NoSuchModel
from service.state.experiments import Outdated

MEDIA_TYPE: Final = "application/problem+json"
LONGEST = 100  # characters of a caller's value or field name that are given back


class Kind(NamedTuple):
    """One sort of problem: HTTP status, last part of its type URI, title. internal: the message stays in the log."""

    status: int
    name: str
    title: str
    internal: bool = False


UNREADABLE = Kind(400, "unreadable-body", "The body cannot be read")
NO_VALID_KEY = Kind(401, "no-valid-key", "This asks for an API key")
FORBIDDEN = Kind(403, "forbidden", "That is not allowed")
NOT_FOUND = Kind(404, "not-found", "There is nothing at this path")
NO_SUCH_ITEM = Kind(404, "unknown-item", "There is no such item")
NO_SUCH_EXPERIMENT = Kind(404, "unknown-experiment", "There is no such experiment")
NO_SUCH_MODEL = Kind(404, "unknown-model", "There is no such bundle here")
WRONG_METHOD = Kind(405, "method-not-allowed", "This path has other methods")
CATALOGUE_FULL = Kind(409, "catalogue-full", "No more items may be new or changed")
EXPERIMENT_CONFLICT = Kind(409, "experiment-conflict", "That does not go with what experiments there are")
MODEL_CONFLICT = Kind(409, "model-conflict", "That does not go with what is served")
TOO_LARGE = Kind(413, "body-too-large", "The body is too long")
WRONG_MEDIA_TYPE = Kind(415, "unsupported-media-type", "The body is declared as something else")
INVALID = Kind(422, "invalid-request", "A value of the request cannot be answered")
MODEL_REFUSED = Kind(422, "model-refused", "The bundle cannot be served")
INTERNAL = Kind(500, "internal", "The service failed", internal=True)
OVERLOADED = Kind(503, "overloaded", "Too many requests are waiting")
LATE = Kind(503, "deadline-passed", "The request waited too long")
OUT_OF_MEMORY = Kind(503, "out-of-memory", "The accelerator had no room for this")
EVENTS_REFUSED = Kind(503, "events-refused", "The events could not be stored")
EVENT_LOG_FULL = Kind(503, "event-log-full", "The event log is full")
STATE_AWAY = Kind(503, "state-unavailable", "Redis does not answer")
NOT_READY = Kind(503, "not-ready", "No bundle is being served")

BY_ERROR: Mapping[type[CausalRecError], Kind] = {
    CausalRecError: INTERNAL,
    errors.ConfigError: INTERNAL,
    errors.DataError: INTERNAL,
    errors.ShapeError: INTERNAL,
    errors.InstallationError: INTERNAL,
    errors.BundleError: INTERNAL,
    errors.BundleMissing: INTERNAL,
    errors.BundleCorrupt: INTERNAL,
    errors.BundleMismatch: INTERNAL,
    GoldenMismatch: INTERNAL,
    RehearsalFailed: INTERNAL,
    Shrunk: INTERNAL,
    NoSuchModel: NO_SUCH_MODEL,
    ModelConflict: MODEL_CONFLICT,
    ModelRefused: MODEL_REFUSED,
    errors.RequestError: INVALID,
    NoValidKey: NO_VALID_KEY,
    Forbidden: FORBIDDEN,
    errors.Overloaded: OVERLOADED,
    DeadlinePassed: LATE,
    errors.EventsRefused: EVENTS_REFUSED,
    errors.EventLogFull: EVENT_LOG_FULL,
    errors.DeviceOutOfMemory: OUT_OF_MEMORY,
    errors.StateUnavailable: STATE_AWAY,
    errors.NotReady: NOT_READY,
    NoSuchItem: NO_SUCH_ITEM,
    CatalogueFull: CATALOGUE_FULL,
    NoSuchExperiment: NO_SUCH_EXPERIMENT,
    ExperimentConflict: EXPERIMENT_CONFLICT,
    Outdated: EXPERIMENT_CONFLICT,
}
BY_STATUS: Mapping[int, Kind] = {
    kind.status: kind for kind in (UNREADABLE, NOT_FOUND, WRONG_METHOD, TOO_LARGE, WRONG_MEDIA_TYPE, INTERNAL)
}


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    field: str
    """As the caller wrote it; inside a batch requests.<index>.<field>."""
    detail: str
    """What is wrong or what would be right."""
    value: str | int | float | bool | None = None
    """What was given, shortened; absent where it is a list or an object."""


class Problem(BaseModel):
    """An error, after RFC 9457 (application/problem+json)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str = Field(examples=["urn:causalrec:problem:invalid-request"])
    """The sort of problem; stable."""
    title: str
    status: int
    """The HTTP status again."""
    detail: str
    """What happened this time, and the way out."""
    instance: str
    """This occurrence: the X-Request-ID as a URI."""
    errors: list[FieldProblem]
    """Field by field; empty where it is not about a field."""


EXAMPLES: Mapping[Kind, tuple[str, list[dict[str, Any]]]] = {
    UNREADABLE: ("the body is not JSON: Expecting value at character 12", []),
    NO_VALID_KEY: ("this asks for a key with the role items: Authorization: Bearer KEY, or X-API-Key: KEY", []),
    FORBIDDEN: ("the key 'tracker' has not the role items, only events", []),
    NO_SUCH_ITEM: ("there is no item 'item-901'; PUT makes one", []),
    CATALOGUE_FULL: (
        "10000 items are new, changed or deleted since the bundle, and no more may be; serve a bundle that was trained "
        "with what is in the shop now",
        [],
    ),
    NO_SUCH_EXPERIMENT: ("there is no experiment 'dial'; POST /v1/experiments makes one", []),
    EXPERIMENT_CONFLICT: ("'dial-2026-01' is stopped and stays so; make another experiment", []),
    NO_SUCH_MODEL: (
        "there is no bundle '0f343b093112' here; GET /v1/models lists those there are, and 12 or more characters of an "
        "id name one",
        [],
    ),
    MODEL_CONFLICT: ("everybody is answered by this bundle; try out another one", []),
    MODEL_REFUSED: (
        "corrupt: /bundles/shop-0f343b093112/weights.safetensors: was edited (sha256 differs from the manifest's); "
        "export the bundle again, or copy it again from where it is whole",
        [],
    ),
    TOO_LARGE: ("the body is longer than 1048576 bytes; send several requests, or a smaller picture", []),
    WRONG_MEDIA_TYPE: ("send the body as Content-Type: application/json, not 'text/plain'", []),
    INVALID: (
        "k: input should be less than or equal to 500",
        [{"field": "k", "detail": "input should be less than or equal to 500", "value": 501}],
    ),
    OVERLOADED: ("too many requests are waiting; try again in 1 s", []),
    EVENTS_REFUSED: (
        "Redis is away and the spool holds 1,073,741,800 of at most 1,073,741,824 bytes; send the events "
        "again when Redis is back",
        [],
    ),
    STATE_AWAY: ("Redis did not answer in 1000 ms", []),
    NOT_READY: ("this process is stopping; send requests to another one", []),
}


def documented(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that can end in these problems, each with an example."""
    return {
        kind.status: {
            "model": Problem,
            "description": kind.title,
            "content": {MEDIA_TYPE: {"example": document(kind, EXAMPLES[kind][0], "4f2a", EXAMPLES[kind][1])}},
        }
        for kind in kinds
    }


def declare_media_type(openapi: dict[str, Any]) -> dict[str, Any]:
    """Moves every problem's schema from application/json, where FastAPI puts it, to application/problem+json."""
    for path in openapi["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                content = answer.get("content", {})
                if MEDIA_TYPE in content:
                    content[MEDIA_TYPE].update(content.pop("application/json", {}))
    return openapi


def document(kind: Kind, detail: str, request_id: str, fields: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The problem as a JSON object, in the order of `Problem`."""
    return {
        "type": f"urn:causalrec:problem:{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": f"urn:causalrec:request:{quote(request_id)}",
        "errors": list(fields),
    }


def shown(value: object) -> dict[str, Any]:
    """{"value": value} as far as it can be given back: short, finite, well-formed; {} for lists and objects."""
    if isinstance(value, bool):
        return {"value": value}
    if isinstance(value, int | float):
        plain = abs(value) < 2**53 and math.isfinite(value)
        return {"value": value if plain else shortened(str(value))}
    return {"value": shortened(value)} if isinstance(value, str) else {}


def shortened(text: str) -> str:
    """At most 100 characters of `text`, encodable as UTF-8."""
    start = text[:LONGEST].encode("utf-8", "backslashreplace").decode()
    return f"{start}… ({len(text)} characters)" if len(text) > LONGEST else start
