"""From a trained model and its evaluation to a bundle on disk."""

import logging
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import causalrec
from causalrec.bundle import Bundle, Seen, write_bundle
from causalrec.ids import Vocabulary
from causalrec.index import Index, Kind, build_index, with_probes
from causalrec.manifest import Golden, GoldenItem, Manifest, Retrieval
from causalrec.model import CausalRec
from causalrec.search import Searcher
from causalrec.topk import Query, TopK
from causalrec.vectors import vector_width
from causalrec.visual import Visual
from causalrec.weights import Weights
from training.choice import choose_lambda2
from training.config import RunConfig
from training.diagnostics import diagnose
from training.evaluate import Evaluation, sweep_rows
from training.metrics import Bootstrap
from training.prepare import Prepared

log = logging.getLogger(__name__)

GOLDEN_LAMBDA2 = (0.0, 1.0, 2.0)
GOLDEN_K = 20
PROBED_USERS = 100
PROBED_LAMBDA2 = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 2.0)
PROBED_K = 50
PROBED_CANDIDATES = 500
SCANNED = 200_000  # items up to which a scan of all is fastest
IVF_FEWEST = 1 / 64  # share of the cells at which the search for enough begins
IVF_RECALL = 0.98


def export(
    config: RunConfig,
    prepared: Prepared,
    model: CausalRec,
    valid: Evaluation,
    test: Evaluation,
    *,
    quiet: bool = False,
) -> Path:
    """
    Writes the bundle: weights, index, sweep, dial diagnostics, default λ2, golden answers, what its retrieval finds.

    Args:
        valid, test: evaluations of the model under the null treatment of config.model.
    Returns: its directory below config.export.out.
    Raises: what `write_bundle` raises.
    """
    weights = served_weights(config, prepared, model)
    users, items, seen = prepared.dataset.users, prepared.dataset.items, prepared.seen
    kind = retrieval_kind(config.export.retrieval, len(items))
    probes = exact_lists(weights, seen)
    index = served_index(weights, kind, probes)
    searcher = Searcher(weights, kind, index)
    bootstrap = Bootstrap(config.evaluate.bootstrap, config.seed)
    manifest = Manifest(
        content_id="",
        name=config.name,
        code_version=code_version(),
        model=config.model,
        form=weights.form,
        users=len(users),
        items=len(items),
        feature_width=prepared.features.shape[1],
        backbone=prepared.backbone,
        lambda2=choose_lambda2(valid, config.evaluate.k),
        sweep=sweep_rows(valid, test, bootstrap),
        diagnostics=diagnose(weights, valid, users_per_block=config.evaluate.users_per_block),
        retrieval=Retrieval(
            index=kind,
            metric="inner_product",
            width=vector_width(weights),
            parameters={} if index is None else Index(weights, kind, index).parameters,
            **probe_retrieval(searcher, probes, quiet=quiet)._asdict(),
        ),
        data_fingerprint=prepared.dataset.fingerprint,
        statistics=prepared.statistics.as_dict(),
        run=config.model_dump(mode="json"),
        files={},
    )
    for warning in manifest.diagnostics.warnings():
        log.warning("WARNING: %s", warning)
    golden = golden_answers(searcher, users, items, seen, config.export.golden_users)
    visual = served_visual(config, prepared, model)
    bundle = Bundle(manifest, weights, visual, users, items, prepared.dataset.catalogue, seen, index, golden)
    return write_bundle(bundle, config.export.out)


def served_visual(config: RunConfig, prepared: Prepared, model: CausalRec) -> Visual:
    """What places a new picture while serving."""
    return Visual(
        prepared.backbone,
        prepared.scaling,
        model.E.detach().cpu(),
        None if model.E_match is None else model.E_match.detach().cpu(),
        None if model.visual_bias is None else model.visual_bias.detach().cpu(),
        config.model.tanh,
    )


def served_weights(config: RunConfig, prepared: Prepared, model: CausalRec) -> Weights:
    """The arrays to serve, under the null treatment of config.model."""
    return model.weights(prepared.popularity, config.model.null_match, config.model.null_visual)


def golden_answers(
    searcher: Searcher, users: Vocabulary, items: Vocabulary, seen: Seen, count: int
) -> tuple[Golden, ...]:
    """Answers of users spread over the vocabulary at λ2 of 0, 1 and 2, by full scan, seen items left out."""
    answers = []
    for row in np.unique(np.linspace(0, len(users) - 1, count).astype(int)):
        for lambda2 in GOLDEN_LAMBDA2:
            best = searcher.scan(searcher.weights.user(int(row)), lambda2, GOLDEN_K, seen.items(int(row)))
            listed = zip(best.rows, best.scores, strict=True)
            golden = tuple(GoldenItem(item_id=items.ids[item], score=float(score)) for item, score in listed)
            answers.append(Golden(user_id=users.ids[row], lambda2=lambda2, k=GOLDEN_K, items=golden))
    return tuple(answers)


def retrieval_kind(asked: Literal["auto"] | Kind, items: int) -> Kind:
    """What `export.retrieval` comes to for a catalogue of `items` items."""
    if asked == "auto":
        return "scan" if items <= SCANNED else "int8"
    return asked


class Probe(NamedTuple):
    """One user's question at every probed λ2, and the exact lists."""

    query: Query
    truth: tuple[TopK, ...]


class Probed(NamedTuple):
    """As in `causalrec.manifest.Retrieval`."""

    exact_share: dict[str, float]
    recall: dict[str, float]


def exact_lists(weights: Weights, seen: Seen) -> list[Probe]:
    """The exact top 50 of 100 users spread over the vocabulary, seen items left out, by scoring every item."""
    searcher = Searcher(weights, "scan")
    users = np.unique(np.linspace(0, len(weights.gamma_u) - 1, PROBED_USERS).astype(int)).tolist()
    queries = [
        Query(weights.user(row), PROBED_LAMBDA2, PROBED_K, seen.items(row), PROBED_CANDIDATES, full_scan=False)
        for row in users
    ]
    return [Probe(query, searcher.batch([query])[0]) for query in queries]


def served_index(weights: Weights, kind: Kind, probes: Sequence[Probe]) -> NDArray[np.uint8] | None:
    """The bytes of index.faiss, None for kinds without; ivf visits the fewest cells that give a recall of .98."""
    if kind in ("scan", "int8"):
        return None
    index = build_index(weights, kind)
    if kind != "ivf":
        return index
    cells = Index(weights, kind, index).parameters["nlist"]
    visited = max(1, round(IVF_FEWEST * cells))
    while visited < cells:
        index = with_probes(index, visited)
        if min(probe_retrieval(Searcher(weights, kind, index), probes, quiet=True).recall.values()) >= IVF_RECALL:
            return index
        visited *= 2
    return with_probes(index, cells)


def probe_retrieval(searcher: Searcher, probes: Sequence[Probe], *, quiet: bool) -> Probed:
    """Per λ2: the share of lists proved exact with 500 candidates and no full scan, and the recall of all of them."""
    exact, shared = [], []
    for probe in tqdm(probes, desc="probe", unit="user", delay=2, leave=False, disable=quiet):
        found = searcher.batch([probe.query])[0]
        exact.append([best.exact for best in found])
        shared.append([_recall(best, truth) for best, truth in zip(found, probe.truth, strict=True)])
    names = [str(lambda2) for lambda2 in PROBED_LAMBDA2]
    return Probed(*(dict(zip(names, np.mean(per_user, axis=0).tolist(), strict=True)) for per_user in (exact, shared)))


def _recall(found: TopK, truth: TopK) -> float:
    return len(np.intersect1d(found.rows, truth.rows)) / len(truth.rows) if len(truth.rows) else 1.0


def code_version() -> str:
    """The package's version, with the commit when it runs from a checkout of the project's own."""
    root = Path(causalrec.__file__).parent.parent
    if not (root / ".git").exists():
        return causalrec.__version__
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    return f"{causalrec.__version__}+{found.stdout.strip()}" if found.returncode == 0 else causalrec.__version__
