"""From a trained model and its evaluation to a bundle on disk."""

import logging
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import causalrec
from causalrec.bundle import Bundle, Seen, write_bundle
from causalrec.ids import Vocabulary
from causalrec.index import build_index, item_vectors
from causalrec.manifest import Golden, GoldenItem, Manifest, Retrieval
from causalrec.model import CausalRec
from causalrec.search import Searcher
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
PROBED_LAMBDA2 = (0.0, 0.4, 0.8, 1.2, 2.0)
PROBED_K = 50
PROBED_CANDIDATES = 500


def export(config: RunConfig, prepared: Prepared, model: CausalRec, valid: Evaluation, test: Evaluation) -> Path:
    """
    Writes the bundle: weights, index, sweep, dial diagnostics, default λ2, golden answers, certificate's share.

    Args:
        valid, test: evaluations of the model under the null treatment of config.model.
    Returns: its directory below config.export.out.
    Raises: what `write_bundle` raises.
    """
    weights = served_weights(config, prepared, model)
    users, items, seen = prepared.dataset.users, prepared.dataset.items, prepared.seen
    index = build_index(weights)
    searcher = Searcher(weights, data=index)
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
        retrieval=probe_retrieval(searcher, seen),
        data_fingerprint=prepared.dataset.fingerprint,
        statistics=prepared.statistics.as_dict(),
        run=config.model_dump(mode="json"),
        files={},
    )
    for warning in manifest.diagnostics.warnings():
        log.warning("WARNING: %s", warning)
    golden = golden_answers(searcher, users, items, seen, config.export.golden_users)
    visual = Visual(
        prepared.backbone,
        prepared.scaling,
        model.E.detach().cpu(),
        None if model.E_match is None else model.E_match.detach().cpu(),
        None if model.visual_bias is None else model.visual_bias.detach().cpu(),
        config.model.tanh,
    )
    bundle = Bundle(manifest, weights, visual, users, items, prepared.dataset.catalogue, seen, index, golden)
    return write_bundle(bundle, config.export.out)


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


def probe_retrieval(searcher: Searcher, seen: Seen) -> Retrieval:
    """
    What the index does by itself, per λ2, on 100 users spread over the vocabulary: the share of top-50 lists that the
    certificate alone (500 candidates, no full scan) proves exact, and the recall of all of them.
    """
    weights = searcher.weights
    users = np.unique(np.linspace(0, len(weights.gamma_u) - 1, PROBED_USERS).astype(int))
    exact: dict[str, float] = {}
    recall: dict[str, float] = {}
    for lambda2 in PROBED_LAMBDA2:
        outcomes = [_probe(searcher, int(row), lambda2, seen.items(int(row))) for row in users]
        exact[str(lambda2)] = float(np.mean([proved for proved, _ in outcomes]))
        recall[str(lambda2)] = float(np.mean([found for _, found in outcomes]))
    width = item_vectors(weights).shape[1]
    return Retrieval(index="flat", metric="inner_product", width=width, exact_share=exact, recall=recall)


def _probe(searcher: Searcher, row: int, lambda2: float, excluded: NDArray[np.int64]) -> tuple[bool, float]:
    user = searcher.weights.user(row)
    found = searcher.top_k(user, lambda2, PROBED_K, excluded, candidates=PROBED_CANDIDATES, full_scan=False)
    truth = searcher.scan(user, lambda2, PROBED_K, excluded)
    return found.exact, len(np.intersect1d(found.rows, truth.rows)) / max(1, len(truth.rows))


def code_version() -> str:
    """The package's version, with the commit when it runs from a checkout of the project's own."""
    root = Path(causalrec.__file__).parent.parent
    if not (root / ".git").exists():
        return causalrec.__version__
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    return f"{causalrec.__version__}+{found.stdout.strip()}" if found.returncode == 0 else causalrec.__version__
