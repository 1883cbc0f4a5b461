"""What the trials of cold.py share: events in order of time, models of parts of the data, lists judged, sums kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalrec import equations
from causalrec.errors import ConfigError
from causalrec.manifest import Interval
from causalrec.visual import Visual
from causalrec.weights import UserVectors, Weights
from training.choice import choose_lambda2
from training.config import RunConfig
from training.data.dataset import Dataset
from training.data.split import Split
from training.evaluate import evaluate, popularity_order
from training.export import served_weights
from training.metrics import Bootstrap, Values, judge
from training.prepare import Prepared, arrange
from training.run import train

Rows = NDArray[np.int64]
Chosen = NDArray[np.bool_]  # interactions [n]

FIFTHS = 5
STOPPING = 0.1  # share of what a model may learn from that is kept for early stopping and the default λ2
OF_USERS = {"gamma_u", "theta_u", "M_null", "MV_null", "m_null"}
FUSED = 60  # of reciprocal rank fusion, as in service/cold.py


@dataclass(frozen=True)
class Timeline:
    """A data set's events: place [n] is each one's rank among its user's, oldest first, counts [U] how many he has."""

    dataset: Dataset
    place: Rows
    counts: Rows

    @classmethod
    def of(cls, dataset: Dataset) -> "Timeline":
        """Events at equal times stand in the order of their items. Raises: ConfigError where there are no times."""
        events = dataset.interactions
        if events.timestamp is None or np.isnan(events.timestamp).any():
            raise ConfigError("this study follows users through time: the interactions need a timestamp, all of them")
        order = np.lexsort((events.item, events.timestamp, events.user))
        counts = np.bincount(events.user, minlength=len(dataset.users))
        place = np.empty(len(events), dtype=np.int64)
        place[order] = np.arange(len(events)) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(dataset, place, counts)

    @property
    def passed(self) -> Values:
        """The share of the user's events that lies before each event, [n]."""
        return self.place / self.counts[self.dataset.interactions.user]

    def newest_first(self, chosen: Chosen, users: Rows) -> list[Rows]:
        """The items of each user's events among `chosen`, newest first."""
        events = self.dataset.interactions
        rows = np.flatnonzero(chosen)
        rows = rows[np.lexsort((-self.place[rows], events.user[rows]))]
        starts = np.searchsorted(events.user[rows], users)
        ends = np.searchsorted(events.user[rows], users, side="right")
        return [events.item[rows[start:end]] for start, end in zip(starts, ends, strict=True)]

    def matrix(self, chosen: Chosen, users: Rows) -> Tensor:
        """bool [B, I]: which items the events `chosen` of `users` are with."""
        events = self.dataset.interactions
        whole = torch.zeros(len(self.dataset.users), len(self.dataset.items), dtype=torch.bool)
        whole[torch.from_numpy(events.user[chosen]), torch.from_numpy(events.item[chosen])] = True
        return whole[torch.from_numpy(users)]


def fifths(n: int) -> Rows:
    """Which fifth each of n users (or items) is in, the same in every trial: [n], drawn once."""
    return np.random.default_rng(0).permutation(n) % FIFTHS


class Trained(NamedTuple):
    """A model of a part of the data: only users it saw have rows in its weights; λ2 is the default it would get."""

    weights: Weights
    visual: Visual
    lambda2: float


def trained_on(config: RunConfig, dataset: Dataset, chosen: Chosen) -> Trained:
    """The model of `config` fitted to the events `chosen`; its users are the rows, in order, of those who have any."""
    rows = np.flatnonzero(chosen)
    stopping = np.random.default_rng(config.seed).random(len(rows)) < STOPPING
    parts = Split(train=rows[~stopping], valid=rows[stopping], test=rows[:0])
    prepared = arrange(dataset, parts, config)
    model = train(config, prepared, quiet=True)
    weights = served_weights(config, prepared, model)
    visual = model.visual(prepared.backbone, prepared.scaling)
    lambda2 = _default_lambda2(config, prepared, weights)
    return Trained(_of_users(weights, np.unique(dataset.interactions.user[rows])), visual, lambda2)


def _default_lambda2(config: RunConfig, prepared: Prepared, weights: Weights) -> float:
    tried = config.evaluate.lambda2
    found = evaluate(weights, prepared.seen, prepared.valid, tried, config.evaluate.k, references=False, quiet=True)
    return choose_lambda2(found, config.evaluate.k, config.model.undebiasable).default


def _of_users(weights: Weights, users: Rows) -> Weights:
    rows = torch.from_numpy(users)
    own: dict[str, Any] = {name: part[rows] for name, part in weights.tensors().items() if name in OF_USERS}
    return replace(weights, **own)


def scores(weights: Weights, users: Sequence[UserVectors], lambda2: float) -> Tensor:
    """Debiased scores [B, I] in float64."""
    gamma, theta, null = (torch.stack([part.double() for part in parts]) for parts in zip(*users, strict=True))
    terms = equations.grid_terms(gamma, theta, weights.items.double())
    return equations.score(weights.form, terms, null[:, None], lambda2)


def fused_with_popularity(weights: Weights, ranked: Tensor) -> Tensor:
    """Reciprocal rank fusion [B, I] of the ranking by `ranked` [B, I] with that by popularity, as service/cold.py."""
    popularity = popularity_order(weights.popularity).expand_as(ranked)
    return 1 / (FUSED + _places(ranked)) + 1 / (FUSED + _places(popularity))


def _places(ranked: Tensor) -> Tensor:
    order = ranked.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(1, ranked.shape[1] + 1, dtype=torch.float64).expand_as(order)
    return torch.empty(order.shape, dtype=torch.float64).scatter_(1, order, places)


def judged(ranked: Tensor, masked: Tensor, relevant: Tensor, k: int, metric: str = "NDCG") -> Values:
    """NDCG@k, or another of training.metrics, of each row of `ranked` [B, I] with the items in `masked` left out."""
    left = ranked.masked_fill(masked, -torch.inf)
    k = min(k, left.shape[1])
    return judge(left, left.topk(k, 1).indices, relevant, k)[f"{metric}@{k}"]


@dataclass
class Ledger:
    """What was found, by name: for every user the mean of what all trials found for him."""

    _sums: dict[tuple[str, ...], dict[int, list[float]]] = field(default_factory=dict)

    def add(self, name: tuple[str, ...], users: Rows, values: Values) -> None:
        """One trial's `values` [B] of `users` [B]."""
        found = self._sums.setdefault(name, {})
        for user, value in zip(users.tolist(), values.tolist(), strict=True):
            found.setdefault(user, []).append(value)

    def __contains__(self, name: tuple[str, ...]) -> bool:
        return name in self._sums

    def values(self, name: tuple[str, ...]) -> Values:
        """[users], in the order of their rows."""
        found = self._sums[name]
        return np.array([np.mean(found[user]) for user in sorted(found)])

    def interval(self, name: tuple[str, ...], bootstrap: Bootstrap) -> Interval:
        """The mean over users with its interval."""
        return bootstrap.interval(self.values(name))

    def gain(self, name: tuple[str, ...], over: tuple[str, ...], bootstrap: Bootstrap) -> Interval:
        """The mean of the users' paired differences with its interval."""
        return bootstrap.interval(self.values(name) - self.values(over))
