"""An experiment whose truth is known, as exported events, and the command that analyses it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.analyse import main
from service.events import Event
from service.experiments.model import Experiment, Guardrail
from service.experiments.report import Report
from service.partitions import opened
from service.state.deliveries import Delivered
from service.state.keys import Keys
from tests.service.served import START, a_list, act, config, exposure

UNITS = 400
ARMS: tuple[dict[str, Any], ...] = ({"variant": "low"}, {"variant": "high", "lambda2": (1.0,)})
GUARDED = (Guardrail("latency", 0.5),)
EXPERIMENT = Experiment(
    "dial",
    "stopped",
    (config(window=None, guardrails=GUARDED), config(window=None, series=2), config(window=None, series=2, version=3)),
    1,
    START,
)


def shopping(key: str = "dial", units: int = UNITS) -> Iterator[Event]:
    """A unit a second, in turn low and high; of high nine of ten buy, of low three."""
    for number in range(units):
        unit, arm = f"user-{number:04}", {"key": key, **ARMS[number % 2]}
        yield exposure(unit, number, **arm)
        yield a_list(unit, number + 0.1, **arm)
        yield act(unit, number + 0.2)
        if number // 2 % 10 < (3, 9)[number % 2]:
            yield act(unit, number + 0.3, "purchase", value=9.5)


def written(folder: Path, events: Sequence[Event]) -> Path:
    with opened(folder, Keys("test", "shop")) as partitions:
        partitions.add([Delivered(f"{number}-0", event) for number, event in enumerate(events)])
    return folder


def report(capsys: pytest.CaptureFixture[str], *arguments: object) -> Report:
    """What the command says, as JSON."""
    assert main(["analyse", "--format", "json", *map(str, arguments)]) == 0
    return Report.model_validate_json(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which the command refuses."""
    assert main([*map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line
