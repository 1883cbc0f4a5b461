"""What the service records of answers in experiments, made for tests."""

from typing import Any

from service.events import Event, RecordType, Served
from service.experiments.metrics import PRIMARY
from service.experiments.model import EMPTY, Config, Variant

START = 1_700_000_000.0
HALVES = (Variant("low", 0.0, 0.5), Variant("high", 1.0, 0.5))


def config(key: str = "dial", series: int = 1, **changed: Any) -> Config:
    """A version of an experiment that splits users in two."""
    made = EMPTY._replace(key=key, version=series, series=series, salt=key, variants=HALVES, control="low")
    made = made._replace(primary=PRIMARY, window=100.0, created=START, actor="ann")
    return made._replace(**changed)


def served(key: str = "dial", **changed: Any) -> Served:
    """An answer to a unit of the variant "low"."""
    return Served(key, 1, 1, "low", (0.0,), 0.5, "b1")._replace(**changed)


def _record(type_: RecordType, unit: str, at: float, answer: Served, number: object) -> Event:
    event_id = f"{type_}:{answer.experiment}:{answer.version}:{unit}"
    return Event(
        event_id if type_ == "exposure" else f"{event_id}:{number}",
        *(unit, "", type_, None, START + at),
        f"request-{number}",
        answer,
    )


def exposure(unit: str, at: float, before: tuple[int, int, int, int] | None = (0, 0, 0, 0), **changed: Any) -> Event:
    """The first answer of a unit, `at` seconds after START."""
    return _record("exposure", unit, at, served(**changed)._replace(before=before), at)


def a_list(unit: str, at: float, items: str = "hat bag", number: object = None, **changed: Any) -> Event:
    """A list of items that took a quarter of a second; its request is request-<number>, or request-<at>."""
    answer = served(**changed)._replace(item_ids=tuple(items.split()), seconds=0.25)
    return _record("list", unit, at, answer, at if number is None else number)


def failure(unit: str, at: float, **changed: Any) -> Event:
    """An answer that was an error."""
    return _record("failure", unit, at, served(**changed)._replace(seconds=3.0), at)


def act(unit: str, at: float, type_: RecordType = "click", item: str = "hat", **changed: Any) -> Event:
    """What a unit did, told by somebody."""
    made = Event(f"{type_}:{unit}:{at}:{item}", unit, item, type_, None, START + at, None)
    return made._replace(**changed)


MIXED: dict[str, Any] = {"variant": "low-high", "lambda2": (0.0, 1.0), "propensity": 1.0}
"""Of an interleaving."""
