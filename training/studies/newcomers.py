"""Trials of cold items: held out of training, placed by their pictures alone, looked for where people found them."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalrec.equations import ItemArrays
from causalrec.placing import Placer
from causalrec.weights import Weights
from training.studies.histories import TUNING, Trial, new_users
from training.studies.trials import (
    FIFTHS,
    Chosen,
    Ledger,
    Rows,
    Timeline,
    Trained,
    fifths,
    judged,
    scores,
    trained_on,
)

Floats = NDArray[np.float64]

TENTHS = 10
RIDGES = 10.0 ** np.arange(-4, 5)


class HeldOut(NamedTuple):
    """Rows of the users and items that a model is not to see, and bool [n]: the events that are left to learn from."""

    users: Rows
    items: Rows
    learnt: Chosen

    @classmethod
    def of(cls, timeline: Timeline, turn: int) -> "HeldOut":
        """The tuning users and another fifth of the users each turn, and another tenth of the items."""
        events = timeline.dataset.interactions
        users = np.flatnonzero(np.isin(fifths(len(timeline.counts)), (TUNING, 1 + turn % (FIFTHS - 1))))
        tenths = np.random.default_rng(1).permutation(len(timeline.dataset.items)) % TENTHS
        items = np.flatnonzero(tenths == turn % TENTHS)
        return cls(users, items, ~np.isin(events.user, users) & ~np.isin(events.item, items))


def newcomers(trial: Trial, turn: int) -> None:
    """One model that has seen neither the users nor the items held out this turn; both come to it."""
    timeline = trial.timeline
    held = HeldOut.of(timeline, turn)
    trained = trained_on(trial.config, timeline.dataset, held.learnt)
    trial.note("new users and cold items", trained)
    new_users(trial, trained, held.users)
    others = np.setdiff1d(np.arange(len(timeline.counts)), held.users)
    cold_items(trial, trained, others, held.items, held.learnt)


def cold_items(trial: Trial, trained: Trained, users: Rows, cold: Rows, learnt: Chosen) -> None:
    """Ranks the items `cold` for `users`, the rows of the weights, among each other and in the whole catalogue."""
    timeline, weights = trial.timeline, trained.weights
    events, form = timeline.dataset.interactions, trial.config.model.form
    sought = np.isin(events.item, cold)
    found = timeline.matrix(sought, users).any(1).numpy()
    kept = users[found]
    relevant = timeline.matrix(sought, kept)
    others = weights.popularity == 0
    others[torch.from_numpy(cold)] = False
    masked = timeline.matrix(learnt, kept) | others
    raw = torch.from_numpy(timeline.dataset.features)
    served = Placer(weights, trained.visual).place(raw[torch.from_numpy(cold)])
    placed = _with(weights, cold, served)
    seen = trained.visual.scaling.apply(raw).double().numpy()
    catalogues = {
        "placed": placed,
        "γ* instead": _with(weights, cold, unmatched(weights, served)),
        "γ from the feature": _with(placed, cold, predicted(placed, seen, cold)),
    }
    k, among = trial.config.evaluate.k, torch.from_numpy(cold)
    rankings = {("random", "—"): torch.from_numpy(np.random.default_rng(trial.config.seed).random(relevant.shape))}
    for name, lambda2 in (("0", 0.0), ("default", trained.lambda2)):
        for ranking, catalogue in catalogues.items():
            vectors = [catalogue.user(int(row)) for row in np.flatnonzero(found)]
            rankings[ranking, name] = scores(catalogue, vectors, lambda2)
    for (ranking, name), ranked in rankings.items():
        key = (form, ranking, name)
        _judge(trial.ledger, key, kept, ranked[:, among], masked[:, among], relevant[:, among], k)
        everywhere = ranked.masked_fill(masked, -torch.inf)
        for metric in ("NDCG", "Recall"):
            trial.ledger.add(("whole " + metric, *key), kept, judged(everywhere, masked, relevant, k, metric))
        share = torch.isin(everywhere.topk(min(k, everywhere.shape[1]), 1).indices, among).double().mean(1)
        trial.ledger.add(("share", *key), kept, share.numpy())


def _judge(
    ledger: Ledger, key: tuple[str, ...], users: Rows, ranked: Tensor, masked: Tensor, relevant: Tensor, k: int
) -> None:
    for metric in ("NDCG", "Recall"):
        ledger.add(("among " + metric, *key), users, judged(ranked, masked, relevant, k, metric))


def unmatched(weights: Weights, items: ItemArrays) -> ItemArrays:
    """`items` with the match of the no-treatment item: γ* and, where the form has it, β*."""
    gamma = weights.null_gamma.expand_as(items.gamma)
    return items._replace(gamma=gamma, beta=None if items.beta is None else weights.null_beta.expand_as(items.beta))


def predicted(weights: Weights, features: Floats, cold: Rows) -> ItemArrays:
    """
    The `cold` items with γ (and β) by ridge regression on the features [I, F], fitted to the trained items.

    The ridge is the one of RIDGES with the least generalised cross-validation error (Golub, Heath, Wahba 1979).
    """
    own = weights.gamma_i.double().numpy()
    if weights.beta is not None:
        own = np.column_stack([own, weights.beta.double().numpy()])
    trained = (weights.popularity > 0).numpy()
    mean, origin = own[trained].mean(0), features[trained].mean(0)
    left, sizes, right = np.linalg.svd(features[trained] - origin, full_matrices=False)
    turned = left.T @ (own[trained] - mean)
    rest = float(np.square(own[trained] - mean).sum() - np.square(turned).sum())

    def error(ridge: float) -> float:
        kept = ridge / (sizes**2 + ridge)
        freedom = trained.sum() - len(sizes) + kept.sum()
        return float((rest + np.square(kept[:, None] * turned).sum()) / freedom**2)

    ridge = min(RIDGES, key=error)
    guess = mean + (features[cold] - origin) @ right.T @ ((sizes / (sizes**2 + ridge))[:, None] * turned)
    rows, d = torch.from_numpy(cold), weights.gamma_i.shape[1]
    beta = None if weights.beta is None else torch.from_numpy(guess[:, d]).float()
    return weights.items.take(rows)._replace(gamma=torch.from_numpy(guess[:, :d]).float(), beta=beta)


def _with(weights: Weights, rows: Rows, items: ItemArrays) -> Weights:
    """`weights` with `items` in their places."""
    arrays = {"gamma_i": items.gamma, "e": items.e, "beta": items.beta, "visual_bias": items.visual_bias}
    if weights.e_match is not None:
        arrays["e_match"] = items.e_match
    changed = {
        name: getattr(weights, name).index_copy(0, torch.from_numpy(rows), part)
        for name, part in arrays.items()
        if part is not None
    }
    return replace(weights, **changed)
