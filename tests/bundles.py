"""Small bundles with random weights, for tests that serve or read one: no training, no downloads, milliseconds."""

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from causalrec.bundle import Bundle, Seen
from causalrec.equations import Form
from causalrec.ids import Vocabulary
from causalrec.index import Kind, build_index
from causalrec.manifest import (
    Diagnostics,
    Golden,
    GoldenItem,
    Interval,
    Lambda2Range,
    Manifest,
    Quantiles,
    Retrieval,
    SweepRow,
)
from causalrec.model import ModelConfig
from causalrec.search import Searcher
from causalrec.visual import Scaling, Visual
from causalrec.weights import Weights
from training.models.causalrec import CausalRec

FEATURES = 6
NAMED_USERS = ("100%", "a/b", "ann", "bob", "sated", "zoë")  # sated has seen all but three items


def make_bundle(
    form: Form = "paper",
    *,
    users: int = 40,
    items: int = 300,
    dim: int = 8,
    seed: int = 0,
    dead: bool = False,
    retrieval: Kind | None = None,
) -> Bundle:
    """
    A bundle of `form` with random weights whose no-treatment terms differ between users.

    Users are NAMED_USERS and user-00, user-01 ...; items are item-000 ... and some of them have no interaction.

    Args:
        users: at least 6.
        dead: the manifest claims that λ2 changes nothing.
        retrieval: what the manifest asks for, with its index where it has one; by default "flat", or "scan" of the
            form sum, which has no index.
    """
    retrieval = retrieval or ("scan" if form == "sum" else "flat")
    rng = np.random.default_rng(seed)
    user_ids = Vocabulary.of([*NAMED_USERS, *(f"user-{n:02d}" for n in range(users - len(NAMED_USERS)))])
    item_ids = Vocabulary([f"item-{n:0{len(str(items - 1))}d}" for n in range(items)])
    seen = _seen(rng, user_ids, items)
    model, visual = _model(ModelConfig(form=form, dim=dim), users, items, seed)
    popularity = torch.from_numpy(np.bincount(seen.indices, minlength=items)).float()
    weights = model.weights(popularity, "mean", "product_mean")
    return Bundle(
        manifest=_manifest(model.config, users, items, dead, retrieval),
        weights=weights,
        visual=visual,
        users=user_ids,
        items=item_ids,
        catalogue=_catalogue(rng, item_ids),
        seen=seen,
        index=None if retrieval in ("scan", "int8") else build_index(weights, retrieval),
        golden=_golden(weights, user_ids, item_ids, seen),
    )


def _seen(rng: np.random.Generator, user_ids: Vocabulary, items: int) -> Seen:
    liked = rng.random(items) ** 2
    liked[rng.permutation(items)[: items // 10]] = 0  # never interacted with
    counts = rng.integers(2, min(12, items // 4), len(user_ids))
    user = np.repeat(np.arange(len(user_ids)), counts)
    item = rng.choice(items, size=len(user), p=liked / liked.sum())
    sated = user_ids.row("sated")
    keep = user != sated
    return Seen.of(
        np.concatenate([user[keep], np.full(items - 3, sated)]),
        np.concatenate([item[keep], np.arange(items - 3)]).astype(np.int64),
        len(user_ids),
    )


def _model(config: ModelConfig, users: int, items: int, seed: int) -> tuple[CausalRec, Visual]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(items, FEATURES, generator=generator)
    scaling = Scaling.of(features)
    model = CausalRec(config, users, items, scaling.apply(features), generator)
    spread = 0.8 * (8 / config.dim) ** 0.25  # logits spread alike at every width
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0.6 if name.startswith("gamma_i") else 0.0, spread, generator=generator)
    E_match = None if model.E_match is None else model.E_match.detach().clone()
    bias = None if model.visual_bias is None else model.visual_bias.detach().clone()
    return model, Visual("random", scaling, model.E.detach().clone(), E_match, bias, config.tanh)


def _catalogue(rng: np.random.Generator, item_ids: Vocabulary) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": item_ids.ids,
            "title": [f"Item {n}" for n in range(len(item_ids))],
            "category": rng.choice(["coat", "hat", "shoe"], len(item_ids)),
            "price": rng.uniform(5, 200, len(item_ids)).round(2),
            "image": [f"images/{item_id}.png" for item_id in item_ids.ids],
        }
    )


def _golden(weights: Weights, users: Vocabulary, items: Vocabulary, seen: Seen) -> tuple[Golden, ...]:
    searcher = Searcher(weights, "scan")
    nothing: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    answers = []
    for user_id in ("ann", "sated", None):
        for lambda2 in (0.0, 0.8):
            if user_id is None:
                best = searcher.scan(weights.mean_user(), lambda2, 10, nothing)
            else:
                row = users.rows([user_id])[0]
                best = searcher.scan(weights.user(row), lambda2, 10, seen.items(row))
            expected = tuple(
                GoldenItem(item_id=items.ids[item], score=score)
                for item, score in zip(best.rows.tolist(), best.scores.tolist(), strict=True)
            )
            answers.append(Golden(user_id=user_id, lambda2=lambda2, k=10, items=expected))
    return tuple(answers)


def _manifest(config: ModelConfig, users: int, items: int, dead: bool, retrieval: Kind) -> Manifest:
    spread = Quantiles(mean=0.3, sd=0.1, q01=0.1, q25=0.2, q50=0.3, q75=0.4, q99=0.6)
    metrics = {"ndcg@10": Interval(mean=0.2, low=0.1, high=0.3)}
    return Manifest(
        content_id="",
        name="random",
        code_version="test",
        model=config,
        form=config.form,
        users=users,
        items=items,
        feature_width=FEATURES,
        backbone="random",
        lambda2=Lambda2Range(default=0.6, minimum=0.0, maximum=3.0, basis="chosen for tests"),
        sweep=tuple(SweepRow(ranking="debiased", lambda2=at, valid=metrics, test=metrics) for at in (0.0, 0.6)),
        diagnostics=Diagnostics(
            null=None if config.form in ("additive", "sum") else spread,
            notice=spread,
            notice_sd_within_user=0.5,
            notice_saturated=0.0,
            null_above_best_match=None if config.form in ("additive", "sum") else 0.0,
            overlap={"1.0": 1.0 if dead else 0.5},
            dead=dead,
        ),
        retrieval=Retrieval(
            index=retrieval, metric="inner_product", width=config.dim, exact_share={"0.6": 1.0}, recall={"0.6": 1.0}
        ),
        data_fingerprint="none",
        statistics={"users": users, "items": items},
        run={},
        files={},
    )
