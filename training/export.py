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
from causalrec.equations import Form
from causalrec.ids import Vocabulary
from causalrec.index import Index, Kind, build_index, with_probes
from causalrec.manifest import Golden, GoldenItem, Lambda2Range, Manifest, Retrieval, SweepRow
from causalrec.search import Searcher
from causalrec.topk import Query, TopK
from causalrec.vectors import vector_width
from causalrec.weights import Weights
from training.choice import choose_lambda2
from training.config import RunConfig
from training.diagnostics import diagnose
from training.evaluate import MATCH_ALONE, Evaluation, sweep_rows
from training.metrics import Bootstrap
from training.models.model import Model
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
    model: Model,
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
    lambda2 = choose_lambda2(valid, config.evaluate.k, config.model.undebiasable)
    kind = retrieval_kind(config.export.retrieval, len(items), weights.form)
    probes = exact_lists(weights, seen, within(PROBED_LAMBDA2, lambda2))
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
        lambda2=lambda2,
        sweep=told(sweep_rows(valid, test, bootstrap), lambda2),
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
    asked = within(GOLDEN_LAMBDA2, lambda2)
    golden = golden_answers(searcher, users, items, seen, config.export.golden_users, asked)
    visual = model.visual(prepared.backbone, prepared.scaling)
    bundle = Bundle(manifest, weights, visual, users, items, prepared.dataset.catalogue, seen, index, golden)
    return write_bundle(bundle, config.export.out)


def served_weights(config: RunConfig, prepared: Prepared, model: Model) -> Weights:
    """The arrays to serve, under the null treatment of config.model."""
    return model.weights(prepared.popularity, config.model.null_match, config.model.null_visual)


def within(lambda2: Sequence[float], allowed: Lambda2Range) -> tuple[float, ...]:
    """Those of `lambda2` that the bundle may be asked for."""
    return tuple(value for value in lambda2 if allowed.minimum <= value <= allowed.maximum)


def told(sweep: Sequence[SweepRow], allowed: Lambda2Range) -> tuple[SweepRow, ...]:
    """The sweep without M alone where there is no dial: it is the model itself, or ranks nothing."""
    return tuple(row for row in sweep if row.ranking != MATCH_ALONE or allowed.maximum > 0)


def golden_answers(
    searcher: Searcher, users: Vocabulary, items: Vocabulary, seen: Seen, count: int, asked: Sequence[float]
) -> tuple[Golden, ...]:
    """Answers of users spread over the vocabulary at each λ2 `asked`, by full scan, seen items left out."""
    answers = []
    for row in np.unique(np.linspace(0, len(users) - 1, count).astype(int)):
        for lambda2 in asked:
            best = searcher.scan(searcher.weights.user(int(row)), lambda2, GOLDEN_K, seen.items(int(row)))
            listed = zip(best.rows, best.scores, strict=True)
            golden = tuple(GoldenItem(item_id=items.ids[item], score=float(score)) for item, score in listed)
            answers.append(Golden(user_id=users.ids[row], lambda2=lambda2, k=GOLDEN_K, items=golden))
    return tuple(answers)


def retrieval_kind(asked: Literal["auto"] | Kind, items: int, form: Form) -> Kind:
    """What `export.retrieval` comes to for a catalogue of `items` items."""
    if asked == "auto":
        return "scan" if items <= SCANNED or form == "sum" else "int8"
    return asked


class Probe(NamedTuple):
    """One user's question at every probed λ2, and the exact lists."""

    query: Query
    truth: tuple[TopK, ...]


class Probed(NamedTuple):
    """As in `causalrec.manifest.Retrieval`."""

    exact_share: dict[str, float]
    recall: dict[str, float]


def exact_lists(weights: Weights, seen: Seen, lambda2: tuple[float, ...] = PROBED_LAMBDA2) -> list[Probe]:
    """The exact top 50 of 100 users spread over the vocabulary, seen items left out, by scoring every item."""
    searcher = Searcher(weights, "scan")
    users = np.unique(np.linspace(0, len(weights.gamma_u) - 1, PROBED_USERS).astype(int)).tolist()
    queries = [
        Query(weights.user(row), lambda2, PROBED_K, seen.items(row), PROBED_CANDIDATES, full_scan=False)
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
    names = [str(lambda2) for lambda2 in probes[0].query.lambda2]
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
