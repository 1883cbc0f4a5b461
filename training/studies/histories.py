"""Trials of fold-in: known users whose newest events the model has not seen, and users it has never seen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from causalrec.foldin import HALF_LIFE, PRIOR, FoldIn, recency
from causalrec.weights import UserVectors, Weights
from training.config import RunConfig
from training.evaluate import popularity_order
from training.metrics import Values
from training.studies.softmax import exactly
from training.studies.trials import (
    Chosen,
    Ledger,
    Rows,
    Timeline,
    Trained,
    fifths,
    fused_with_popularity,
    judged,
    scores,
    trained_on,
)

OLD, NEW = 0.6, 0.8  # shares of a user's events: trained on until OLD, folded in until NEW, looked for after it
LATER = 0.8  # share of all events before the moment that the global time split trains until
NEWEST = (1, 2, 5, 10, 20)
EVENTS = (0, 1, 2, 5, 10)
PRIORS = (0.1, 0.3, 1.0, 3.0, 10.0)
HALF_LIVES = (2.0, 5.0, 10.0, 20.0, np.inf)
TUNING = 0  # the fifth of the users that constants are chosen on, and nothing is reported of
ALL = 10_000


class Task(NamedTuple):
    """B users, their histories (newest first), and bool [B, I] what may not be in their lists and what should be."""

    users: Rows
    histories: list[Rows]
    masked: Tensor
    relevant: Tensor

    @classmethod
    def of(
        cls, timeline: Timeline, weights: Weights, users: Rows, told: Chosen, sought: Chosen, past: Chosen
    ) -> "Task":
        """
        Of those of `users` for whom there is something to find.

        An item that the model never saw trained has no place in the catalogue, in a history or among the sought.
        """
        trained = weights.popularity > 0
        relevant = timeline.matrix(sought, users) & trained
        found = relevant.any(1).numpy()
        kept, events = users[found], timeline.dataset.interactions
        known = trained.numpy()[events.item]
        masked = timeline.matrix(past | told, kept) | ~trained
        return cls(kept, timeline.newest_first(told & known, kept), masked, relevant[torch.from_numpy(found)])

    def judged(self, ranked: Tensor, k: int, metric: str = "NDCG") -> Values:
        """As `trials.judged`."""
        return judged(ranked, self.masked, self.relevant, k, metric)

    def folded(
        self, fold: FoldIn, starts: Sequence[UserVectors | None], newest: int = ALL, half_life: float = HALF_LIFE
    ) -> list[UserVectors]:
        """Every user after his `newest` events."""
        return [
            fold.user(history[:newest], recency(len(history[:newest]), half_life), start)
            for history, start in zip(self.histories, starts, strict=True)
        ]


class Trial(NamedTuple):
    """One configuration on one data set; k is that of NDCG@k, what is found goes into the ledger."""

    config: RunConfig
    timeline: Timeline
    ledger: Ledger

    def add(self, part: str, task: Task, trained: Trained, ranking: str, users: Sequence[UserVectors]) -> None:
        """Judges the users' lists at λ2 = 0 and at the model's default."""
        for name, lambda2 in (("0", 0.0), ("default", trained.lambda2)):
            self.add_ranked(part, task, ranking, name, scores(trained.weights, users, lambda2))

    def note(self, model: str, trained: Trained) -> None:
        """Keeps the default λ2 of a model, by seed."""
        name, value = ("lambda2", self.config.model.form, model), np.array([trained.lambda2])
        self.ledger.add(name, np.array([self.config.seed]), value)

    def add_ranked(self, part: str, task: Task, ranking: str, lambda2: str, ranked: Tensor) -> None:
        """Judges lists that were ranked elsewhere."""
        name = (part, self.config.model.form, ranking, lambda2)
        self.ledger.add(name, task.users, task.judged(ranked, self.config.evaluate.k))

    def tune(self, part: str, task: Task, weights: Weights, starts: Sequence[UserVectors | None], newest: int) -> None:
        """Judges every prior and half-life on the tuning users, at λ2 = 0."""
        for prior in PRIORS:
            fold = FoldIn(weights, self.config.model.folded, prior=prior)
            for half_life in HALF_LIVES:
                ranked = scores(weights, task.folded(fold, starts, newest, half_life), 0.0)
                name = (f"tuning {part}", self.config.model.form, f"{prior:g}", f"{half_life:g}")
                self.ledger.add(name, task.users, task.judged(ranked, self.config.evaluate.k))


def known_users(trial: Trial) -> None:
    """Each user's first events are trained on, the next are folded in, the last are looked for."""
    timeline, passed = trial.timeline, trial.timeline.passed
    old, told, sought = passed < OLD, (passed >= OLD) & (passed < NEW), passed >= NEW
    stale = trained_on(trial.config, timeline.dataset, old)
    fresh = trained_on(trial.config, timeline.dataset, old | told)
    trial.note("known users", stale)
    fifth = fifths(len(timeline.counts))
    tuning = Task.of(timeline, stale.weights, np.flatnonzero(fifth == TUNING), told, sought, old)
    trial.tune("known users", tuning, stale.weights, _rows(stale.weights, tuning.users), ALL)

    task = Task.of(timeline, stale.weights, np.flatnonzero(fifth != TUNING), told, sought, old)
    starts, fold = _rows(stale.weights, task.users), FoldIn(stale.weights, trial.config.model.folded)
    trial.add("known users", task, stale, "stored vectors", starts)
    for newest in NEWEST:
        trial.add("known users", task, stale, f"newest {newest} folded in", task.folded(fold, starts, newest))
    trial.add("known users", task, stale, "all folded in", task.folded(fold, starts))
    strengths = [recency(len(history)) for history in task.histories]
    exact = exactly(stale.weights, trial.config.model.folded, task.histories, strengths, starts, PRIOR)
    trial.add("known users", task, stale, "all, exact softmax", exact)
    trial.add("known users", task, fresh, "trained again", _rows(fresh.weights, task.users))


def later_users(trial: Trial) -> None:
    """The model knows what happened before one moment; the first half of each user's later events is folded in."""
    timeline, events = trial.timeline, trial.timeline.dataset.interactions
    assert events.timestamp is not None  # noqa: S101 - Timeline.of asked for it
    old = events.timestamp < np.quantile(events.timestamp, LATER)
    before = np.bincount(events.user[old], minlength=len(timeline.counts))
    since = timeline.place - before[events.user]
    told = ~old & (since < (timeline.counts - before)[events.user] // 2)
    trained = trained_on(trial.config, timeline.dataset, old)
    trial.note("later users", trained)
    fold, reported = FoldIn(trained.weights, trial.config.model.folded), fifths(len(timeline.counts)) != TUNING
    row = np.cumsum(before > 0) - 1
    for part, chosen in (("later, known", reported & (before > 0)), ("later, new", reported & (before == 0))):
        task = Task.of(timeline, trained.weights, np.flatnonzero(chosen), told, ~old & ~told, old)
        if not len(task.users):
            continue
        if part == "later, known":
            starts = [*_rows(trained.weights, row[task.users])]
            trial.add(part, task, trained, "before", starts)
        else:
            starts = [trained.weights.mean_user() for _ in task.users]
            _add_cold_route(trial, part, task, trained, "before")
        trial.add(part, task, trained, "all folded in", task.folded(fold, starts))


def new_users(trial: Trial, trained: Trained, held_out: Rows) -> None:
    """Users that the model never saw, after 0 to 10 events; the rest of their events is looked for."""
    timeline = trial.timeline
    told, sought = timeline.place < EVENTS[-1], timeline.place >= EVENTS[-1]
    fifth, nothing = fifths(len(timeline.counts))[held_out], np.zeros(len(told), dtype=np.bool_)
    tuning = Task.of(timeline, trained.weights, held_out[fifth == TUNING], told, sought, nothing)
    for events in EVENTS[1:]:
        early = tuning._replace(histories=[history[-events:] for history in tuning.histories])
        trial.tune("new users", early, trained.weights, [None] * len(tuning.users), ALL)

    task = Task.of(timeline, trained.weights, held_out[fifth != TUNING], told, sought, nothing)
    fold = FoldIn(trained.weights, trial.config.model.folded)
    for events in EVENTS:
        part = f"new users, {events}"
        early = task._replace(histories=[history[-events:] if events else history[:0] for history in task.histories])
        users = early.folded(fold, [None] * len(task.users))
        trial.add(part, task, trained, "fold-in", users)
        for name, lambda2 in (("0", 0.0), ("default", trained.lambda2)):
            fused = fused_with_popularity(trained.weights, scores(trained.weights, users, lambda2))
            trial.add_ranked(part, task, "fold-in and popularity", name, fused)
    _add_cold_route(trial, "new users, 0", task, trained, "cold route")


def _add_cold_route(trial: Trial, part: str, task: Task, trained: Trained, ranking: str) -> None:
    weights, users = trained.weights, [trained.weights.mean_user()] * len(task.users)
    popular = popularity_order(weights.popularity).double().expand(len(task.users), -1)
    for name, lambda2 in (("0", 0.0), ("default", trained.lambda2)):
        trial.add_ranked(part, task, ranking, name, fused_with_popularity(weights, scores(weights, users, lambda2)))
        trial.add_ranked(part, task, "popularity", name, popular)


def _rows(weights: Weights, rows: Rows) -> list[UserVectors]:
    return [weights.user(int(row)) for row in rows]
