"""Room in layers: nobody is in two experiments, and none is left without anybody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.experiments.changes import created, paused, started, stopped, versioned
from service.experiments.model import (
    NO_EXPERIMENTS,
    Book,
    Config,
    Experiment,
    ExperimentConflict,
)
from tests.service.experiments.books import LIMITS, config, put, running


def beside(book: Book, said: Config) -> Experiment:
    """Made and started beside what is there."""
    return started(put(book, created(book, said, LIMITS)), said.key, None, 9.0)


@pytest.mark.parametrize(
    ("segment", "free"),
    [
        ((0.2, 0.4), r"overlaps \[0.3, 0.5\) of 'a', which is running in the layer 'default'; \[0.7, 1\) is free"),
        ((0.0, 1.0), r"of 'a', which is running"),
        ((0.6, 0.9), r"overlaps \[0.5, 0.7\) of 'b', which is paused"),
        ((0.35, 0.36), r"of 'a'"),
    ],
)
def test_segments_of_a_layer_do_not_overlap(segment: tuple[float, float], free: str) -> None:
    """Whose segment is in the way is said, and where there is room; who is paused may come back to its own."""
    book = running(config("a", segment=(0.3, 0.5)), config("b", segment=(0.5, 0.7)))
    book = put(book, paused(book, "b", 3.0))

    with pytest.raises(ExperimentConflict, match=free):
        beside(book, config("c", segment=segment))


def test_room_is_found_by_touching_other_layers_and_stopped_ones() -> None:
    """A segment ends before its end, a stopped experiment has none, nor a draft; a layer is its own."""
    book = running(config("a", segment=(0.3, 0.5)), config("b", segment=(0.6, 0.7)))
    book = put(book, stopped(book, "b", 3.0))
    book = put(book, created(book, config("draft"), LIMITS))

    for said in (config("c", segment=(0.5, 1.0)), config("c", segment=(0.0, 0.3)), config("c", layer="other")):
        assert beside(book, said).state == "running"


def test_a_full_layer_says_whom_to_stop() -> None:
    """Where nothing is free there is another way out; another layer would not be one."""
    with pytest.raises(ExperimentConflict, match="nothing of the layer is free: stop 'a'"):
        beside(running(config("a")), config("c", segment=(0.0, 0.1)))


def test_a_version_may_not_grow_into_another_experiment() -> None:
    """Overlap is looked for with every start, not with the first only."""
    book = running(config("a", segment=(0.0, 0.5)), config("b", segment=(0.5, 1.0)))
    book = put(book, versioned(book, "a", config("a", segment=(0.0, 0.6)), LIMITS))

    with pytest.raises(ExperimentConflict, match="of 'b'"):
        started(book, "a", None, 4.0)


def test_no_experiment_starves_another() -> None:
    """A unit gets one experiment, so a layer that takes everybody leaves nobody to those after it: nor to a new one."""
    late, greedy = config("late", layer="b"), config("greedy", layer="a")

    with pytest.raises(ExperimentConflict, match=r"'late' of the layer 'b' would get nobody.*'greedy'"):
        beside(running(greedy), late)
    with pytest.raises(ExperimentConflict, match=r"'late' of the layer 'b' would get nobody.*'greedy'"):
        beside(running(late), greedy)
    assert beside(running(late), greedy._replace(allocation=0.9)).state == "running"


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).filter(lambda ends: ends[0] < ends[1]), max_size=12))
def test_what_runs_never_overlaps(segments: list[tuple[int, int]]) -> None:
    """Whoever comes in whatever order: on twentieths of a layer each is taken at most once, and what is free is."""
    book, taken = NO_EXPERIMENTS, set[int]()
    for number, (start, end) in enumerate(segments):
        said = config(f"e{number}", segment=(start / 20, end / 20))
        part = set(range(start, end))
        if taken & part:
            with pytest.raises(ExperimentConflict):
                beside(book, said)
        else:
            book, taken = put(book, beside(book, said)), taken | part
