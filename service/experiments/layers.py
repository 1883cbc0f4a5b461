"""Whether an experiment has room in its layer: one per segment, and no layer that an earlier one leaves empty."""

from collections.abc import Iterable, Sequence

from service.experiments.model import Book, Config, Experiment, ExperimentConflict

Segment = tuple[float, float]


def check_room(book: Book, starting: Experiment) -> None:
    """
    Nothing where `starting` can run beside the experiments of the book that run, or are paused and may run again.

    Raises: ExperimentConflict naming the one that is in the way and a free segment; or, as a unit gets one experiment
        and layers come in the order of their names, an experiment for which an earlier layer leaves nobody.
    """
    others = [
        each for key, each in book.experiments.items() if key != starting.key and each.state in ("running", "paused")
    ]
    config = starting.config
    beside = [each for each in others if each.config.layer == config.layer]
    for other in beside:
        start, end = other.config.segment
        if config.segment[0] < end and start < config.segment[1]:
            free = _free([each.config.segment for each in beside])
            raise ExperimentConflict(
                f"the segment {_shown(config.segment)} of {starting.key!r} overlaps {_shown(other.config.segment)} of "
                f"{other.key!r}, which is {other.state} in the layer {config.layer!r}; {_way_out(free, other.key)}"
            )
    running = [each.config for each in others if each.state == "running"]
    _check_nobody_starves([*running, config])


def _free(taken: Iterable[Segment]) -> Segment | None:
    """The largest part of a layer that none of `taken` has."""
    gaps: list[Segment] = []
    at = 0.0
    for start, end in sorted(taken):
        gaps.append((at, start))
        at = max(at, end)
    start, end = max([*gaps, (at, 1.0)], key=lambda gap: gap[1] - gap[0])
    return (start, end) if start < end else None


def _way_out(free: Segment | None, other: str) -> str:
    if free is None:
        return f"nothing of the layer is free: stop {other!r}"
    return f"{_shown(free)} is free: make a version with a segment in it, or stop {other!r}"


def _check_nobody_starves(running: Sequence[Config]) -> None:
    for later in running:
        taken: dict[str, float] = {}
        for config in running:
            if config.layer < later.layer:
                start, end = config.segment
                taken[config.layer] = taken.get(config.layer, 0.0) + config.allocation * (end - start)
        if full := next((layer for layer, share in taken.items() if share > 1 - 1e-9), None):
            keys = ", ".join(repr(config.key) for config in running if config.layer == full)
            raise ExperimentConflict(
                f"{later.key!r} of the layer {later.layer!r} would get nobody: the layer {full!r} comes before it, and "
                f"{keys} there would take every unit; a version with a smaller segment or allocation leaves some"
            )


def _shown(segment: Segment) -> str:
    return f"[{segment[0]:g}, {segment[1]:g})"
