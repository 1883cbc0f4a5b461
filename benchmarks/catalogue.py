"""
Synthetic catalogues of any size, with vectors spread as trained ones are, and bundles of them to serve.

    python -m benchmarks.catalogue --items 50000 500000 --forms paper

Fitted to the bundle trained on MovieLens latest-small (paper's form), whose logits a, b, n
- have standard deviations of about 1.1, .8 and 1.7 with kurtosis 2.9, 5.0 and 3.7, nearly alike for all users,
- all learn what the user likes: within a user a and b correlate by .73, a and n by .47, b and n by .43,
- share a third of their variance between users: popularity,
and whose spectra fall as 1/√j, with c_u near .25. Here: a, b, n correlate by .70, .42, .46, kurtosis 2.9, 4.1, 2.7, c_u
from .1 to .46. Without the correlations certificates fail that hold on trained models.
Drawn in blocks, so 5,000,000 items need little more than their own size.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from benchmarks.oracle import sigmoid
from benchmarks.report import command_line
from causalrec.bundle import Bundle, Seen, read_manifest, write_bundle
from causalrec.equations import Form
from causalrec.errors import BundleError, ConfigError
from causalrec.ids import Vocabulary
from causalrec.index import FAISS_KINDS, Kind, build_index
from causalrec.manifest import Golden, GoldenItem
from causalrec.search import Searcher
from causalrec.weights import Weights
from tests.bundles import make_bundle
from training.export import retrieval_kind

USERS, D = 1000, 32
CLUSTERS = 64
BLOCK = 1 << 18  # items drawn at a time
EVENED = np.float32(0.6)  # trained vectors are of more equal length than normal ones: 0 leaves them, 1 makes them equal
CONSTANT = np.float32(0.5)  # γ where it only carries the picture into the visual match
SPREAD = {"a": 1.1, "b": 0.8, "n": 1.6}  # standard deviations of the logits over users and items
SEEN = (20, 200)  # fewest and most items a user has seen
FOLDER = Path(".cache/bench")

Floats = NDArray[np.float32]


def synthetic(items: int, form: Form = "paper", *, users: int = USERS, d: int = D, seed: int = 0) -> Weights:
    """
    A model of `form` over `items` items, as trained ones look.

    Half of the coordinates hold an item's taste t in γ and its style in e; in the other half γ is nearly constant and e
    is what the picture shows of t, so that a, b and n all rise with γᵤ·t. t's first coordinate is popularity.
    """
    rng, half = np.random.default_rng(seed), d // 2
    spectrum = (1 / np.sqrt(1 + np.arange(half))).astype(np.float32)
    taste, style = (_normal(rng, CLUSTERS, half) for _ in range(2))
    gamma_i, e = np.empty((items, d), np.float32), np.empty((items, d), np.float32)
    popularity = np.empty(items, np.float32)
    for start in range(0, items, BLOCK):
        block = slice(start, min(start + BLOCK, items))
        count = block.stop - start
        cluster = _pick(rng, count)
        t = _around(rng, taste[cluster], spectrum)
        t[:, 0] = _normal(rng, count)
        gamma_i[block] = np.hstack([t, CONSTANT * (1 + 0.2 * _normal(rng, count, half))])
        look = np.float32(0.3) * _around(rng, style[_pick(rng, count)], spectrum)
        shown = np.float32(0.8) * t + np.float32(0.6) * _around(rng, style[_pick(rng, count)], spectrum)
        e[block] = np.hstack([look, shown])
        popularity[block] = np.floor(np.exp(3 + 1.3 * t[:, 0]))
    likes = _around(rng, (taste[_pick(rng, users)] + taste[_pick(rng, users)]) / np.float32(2**0.5), spectrum)
    likes[:, 0] = 1 + 0.3 * _normal(rng, users)
    eye = _around(rng, style[_pick(rng, users)], spectrum)
    arrays = {
        "gamma_u": np.hstack([likes, likes]),
        "theta_u": np.hstack([np.float32(6) * eye, likes]),
        "gamma_i": gamma_i,
        "e": e,
        "popularity": popularity,
    }
    if form == "authors":
        arrays["e_match"] = e + np.float32(0.2) * _normal(rng, items, d)
        arrays["beta"], arrays["visual_bias"] = 0.2 * _normal(rng, items), 0.2 * _normal(rng, items)
    _spread(arrays)
    tensors = {name: torch.from_numpy(array) for name, array in {**arrays, **_null(form, arrays)}.items()}
    return Weights(form=form, **tensors)


def served_bundle(weights: Weights, kind: Kind, name: str, seed: int = 0) -> Bundle:
    """A bundle around `weights`, with ids, seen items, and answers to replay; searched by `kind`."""
    users, items = len(weights.gamma_u), len(weights.gamma_i)
    rng = np.random.default_rng(seed)
    small = make_bundle(weights.form, dim=weights.gamma_u.shape[1])  # lends whatever has nothing to do with size
    item_ids = Vocabulary([f"item-{row:07d}" for row in range(items)])
    user_ids = Vocabulary([f"user-{row:05d}" for row in range(users)])
    counts = rng.integers(*SEEN, users)
    seen = Seen.of(np.repeat(np.arange(users), counts), rng.integers(0, items, counts.sum()), users)
    searcher = Searcher(weights, "scan")
    manifest = small.manifest.model_copy(
        update={
            "name": name,
            "users": users,
            "items": items,
            "retrieval": small.manifest.retrieval.model_copy(update={"index": kind}),
        }
    )
    return replace(
        small,
        manifest=manifest,
        weights=weights,
        users=user_ids,
        items=item_ids,
        catalogue=pl.DataFrame({"item_id": item_ids.ids}),
        seen=seen,
        index=build_index(weights, kind) if kind in FAISS_KINDS else None,
        golden=tuple(_golden(searcher, row, seen, item_ids, user_ids) for row in (0, users // 2)),
    )


def write(items: int, form: Form, wanted: Kind | Literal["auto"], folder: Path = FOLDER) -> Path:
    """The folder of a bundle of `items` synthetic items, which an earlier run may have written."""
    kind = retrieval_kind(wanted, items, form)
    name = f"synthetic-{form}-{items}-{kind}"
    try:
        read_manifest(folder / name)
    except BundleError:
        folder.mkdir(parents=True, exist_ok=True)
        return write_bundle(served_bundle(synthetic(items, form), kind, name), folder)
    return folder / name


def _golden(searcher: Searcher, row: int, seen: Seen, items: Vocabulary, users: Vocabulary) -> Golden:
    best = searcher.scan(searcher.weights.user(row), 0.8, 20, seen.items(row))
    expected = tuple(
        GoldenItem(item_id=items.ids[item], score=score)
        for item, score in zip(best.rows.tolist(), best.scores.tolist(), strict=True)
    )
    return Golden(user_id=users.ids[row], lambda2=0.8, k=20, items=expected)


def _around(rng: np.random.Generator, centres: Floats, spectrum: Floats) -> Floats:
    """Points around their centres, both with half of the variance, of falling spread per coordinate, lengths evened."""
    points = (centres + _normal(rng, *centres.shape)) * (spectrum / np.float32(2**0.5))
    lengths = np.linalg.norm(points, axis=1, keepdims=True) / np.linalg.norm(spectrum)
    evened: Floats = points * lengths**-EVENED
    return evened


def _normal(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.standard_normal(shape, dtype=np.float32)


def _pick(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    return rng.integers(0, CLUSTERS, count)


def _spread(arrays: dict[str, Floats]) -> None:
    """Scales γᵤ, e (of the match) and θᵤ in place until a sample's logits spread as SPREAD says."""
    rows = np.random.default_rng(0).permutation(len(arrays["gamma_i"]))[:4096]
    match = "e_match" if "e_match" in arrays else "e"
    gamma = arrays["gamma_i"][rows]
    arrays["gamma_u"] *= _scales(arrays["gamma_u"] @ gamma.T, SPREAD["a"])
    arrays[match] *= np.float32(SPREAD["b"]) / (arrays["gamma_u"] @ (gamma * arrays[match][rows]).T).std()
    arrays["theta_u"] *= _scales(arrays["theta_u"] @ arrays["e"][rows].T, SPREAD["n"])


def _scales(logits: Floats, spread: float) -> Floats:
    """Factors [U, 1] that give logits [U, I] the standard deviation `spread` within users, their own evened."""
    own = logits.std(axis=1, keepdims=True)
    evened = (own / own.mean()) ** -EVENED
    return np.asarray(evened * np.float32(spread) / np.sqrt(np.mean((own * evened) ** 2)), np.float32)


def _null(form: Form, arrays: dict[str, Floats]) -> dict[str, NDArray[np.float32]]:
    """The no-treatment item (averages, product_mean) and what it gives every user."""
    gamma, e = arrays["gamma_i"], arrays.get("e_match", arrays["e"])
    null_gamma = gamma.mean(0, dtype=np.float64)
    products = np.einsum("id,id->d", gamma, e, dtype=np.float64) / len(gamma)
    beta = arrays["beta"].mean(dtype=np.float64) if "beta" in arrays else 0.0
    match, visual = arrays["gamma_u"] @ null_gamma + beta, arrays["gamma_u"] @ products
    own = {
        "paper": {"M_null": sigmoid(match), "MV_null": sigmoid(visual)},
        "authors": {"m_null": match + visual},
        "additive": {},
        "sum": {},
    }[form]
    null = {"null_gamma": null_gamma, "null_e": e.mean(0, dtype=np.float64), "null_gamma_e": products, **own}
    return {name: np.asarray(array, np.float32) for name, array in {**null, "null_beta": beta}.items()}


def main() -> int:
    """The command line."""
    parser = command_line("catalogue", __doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--form", choices=get_args(Form), default="paper")
    parser.add_argument(
        "--kind", choices=("auto", *get_args(Kind)), default="auto", help="how the service is to search it"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    try:
        for items in options.items:
            print(write(items, options.form, options.kind, options.folder))
    except ConfigError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
