"""What a perfect dial would do in the simulated shop: the bound that a model's λ2 is held against."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalrec.errors import DataError
from training.choice import choose_lambda2
from training.compare import outcome
from training.compare.grid import digest
from training.compare.outcome import Facts, Outcome
from training.config import EvaluateConfig
from training.evaluate import MATCH_ALONE, Evaluation, Ranking, evaluate_scores
from training.metrics import Relevant
from training.prepare import Prepared
from training.shop import Shop, fingerprint
from training.shop.catalogue import Floats, Rows
from training.shop.world import CLICK_TASTE

TASTE = "taste"
LABEL = "the truth"


def notice_of_truth(shop: Shop) -> Floats:
    """
    [U, I]: what of each user's click logits 1.2·t + p·κ the pictures can explain.

    The least-squares projection, over the catalogue, on the attributes a picture shows: the pull, shared and personal,
    the taste for what is shown, and of the taste for what is hidden as much as goes with it.
    """
    return explained(shop, _click_logits(shop))


def explained(shop: Shop, scores: Floats) -> Floats:
    """The projection of every user's `scores` [U, I] on what the items' pictures show."""
    weights, *_ = np.linalg.lstsq(shop.items.shown, scores.T, rcond=None)
    projected: Floats = (shop.items.shown @ weights).T
    return projected


def places(shop: Shop, prepared: Prepared) -> tuple[Rows, Rows]:
    """The shop's rows of the users and of the items that are in the data, in the data's order."""
    dataset = prepared.dataset
    users = np.searchsorted(shop.user_ids, dataset.users.ids)  # outside ids are sorted: their places are rows
    return users, np.searchsorted(shop.item_ids, dataset.items.ids)


def truth(shop: Shop, prepared: Prepared, config: EvaluateConfig, seed: int, out: Path) -> Outcome:
    """
    Rankings by the true taste, and by a dial without error: click logits less λ2 times what pictures explain.

    M alone is then what pictures do not explain. Kept below `out` as a model's cell is.
    """
    path = outcome.cell_path(out, LABEL, seed)
    identity = digest([outcome.VERSION, fingerprint(shop), prepared.dataset.fingerprint, config.k, config.lambda2])
    if path.exists() and _is(path, identity):
        return outcome.load(path)
    valid, test = (_judged(shop, prepared, config, sets) for sets in (prepared.valid, prepared.test))
    chosen = choose_lambda2(valid, config.k)
    facts = Facts(LABEL, seed, identity, lambda2=chosen.default, basis=chosen.basis)
    parts = {"valid": prepared.valid, "test": prepared.test}
    users = {part: {name: relevant.users for name, relevant in sets.items()} for part, sets in parts.items()}
    found = Outcome(facts, valid, test, users)
    outcome.save(found, path)
    return found


def _click_logits(shop: Shop) -> Floats:
    """1.2·t + p·κ, [U, I]: what clicks are drawn by."""
    return CLICK_TASTE * shop.taste + shop.config.pull * shop.kappa


def _is(path: Path, identity: str) -> bool:
    try:
        return outcome.load_facts(path).identity == identity
    except DataError:
        return False


def _judged(shop: Shop, prepared: Prepared, config: EvaluateConfig, sets: dict[str, Relevant]) -> Evaluation:
    rows, columns = places(shop, prepared)
    notice = notice_of_truth(shop)
    match = _click_logits(shop) - notice

    def scores(block: NDArray[np.int64]) -> Iterator[tuple[Ranking, Tensor]]:
        m, n, t = (torch.from_numpy(part[np.ix_(rows[block], columns)]) for part in (match, notice, shop.taste))
        for value in config.lambda2:
            yield value, m + (1 - value) * n
        yield MATCH_ALONE, m
        yield TASTE, t

    return evaluate_scores(scores, prepared.seen, sets, config.k, users_per_block=config.users_per_block, quiet=True)
