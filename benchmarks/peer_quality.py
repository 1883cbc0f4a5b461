"""
cornac 3.0.1's BPR, VBPR, AMR and CausalRec on the split and the features of a comparison, judged by our metrics.

    OMP_NUM_THREADS=1 python -m benchmarks.peer_quality --config compare.toml --data DIR --out DIR

CONFIG, DATA and OUT are those of `python -m training compare`, whose report finds these cells below OUT/peers and sets
each beside its counterpart: same seeds and split, same centred and scaled features, same users, same masks.

cornac trains by its own `fit`, at most so many epochs as the comparison allows, and is stopped, as ours are, when
validation NDCG@k no longer rises, with the best epoch's arrays. Its settings are chosen on the first seed's validation
part among as many as a comparison tries per model, within as many minutes: cornac's own defaults first, then a grid
(benchmarks/peer_jobs.py). `--settings-from` takes those that another OUT found. d is the comparison's. Batches:
cornac's default, 100, but 1,024 for AMR, each of whose steps writes the gradient of every feature. Negatives come from
the distribution of cornac's own loop in Python, drawn an epoch at a time.

Its scores are cornac's own (`score`), but that the three arrays which CausalRec's `score` adds to are copied before
each call: it would rank the second user by the first one's sums. CausalRec is scored at every λ2 of the comparison; the
others have no λ2. Interrupted, the same command goes on after the last model and seed, or trial, that it finished.
"""

import argparse
import hashlib
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from benchmarks.generators import environment
from benchmarks.peer_jobs import BATCH, DEFAULTS, GRIDS, Job, Peer, label, tried
from benchmarks.trainer import PACKAGES
from causalrec.errors import CausalRecError, ConfigError
from training.choice import choose_lambda2
from training.compare.config import CompareConfig, read_compare
from training.compare.found import Found, Trial, best_settings, load_found, save_found
from training.compare.outcome import Facts, Outcome, cell_path, load_facts, save
from training.evaluate import Evaluation, Ranking, evaluate_scores
from training.metrics import Relevant
from training.prepare import Prepared, prepare

log = logging.getLogger(__name__)

NO_DIAL = "cornac's own {} has no λ2: it is scored as cornac scores it"
VERSION = 1  # of what a cell's figures depend on besides settings and data: cornac's code, and these scripts


def search(peer: Peer, model: str, out: Path) -> Found:
    """
    The settings of `model` found on the first seed's validation part; trials made before are not made again.

    A trial that goes on when the minutes are over is cut short and counts for what it had reached.
    """
    config, seed = peer.config, peer.config.seeds[0]
    settings = tried(model, max(1, config.search.trials))
    identity = _digest(model, settings, replace(peer.job(model, {}, seed=seed), seconds=0.0), peer.prepared, config)
    before = load_found(out, label(model))
    trials = before.trials if before is not None and before.identity == identity else ()
    space = {name: ", ".join(map(str, values)) for name, values in GRIDS[model].items()}
    found = Found(label(model), identity, best_settings(trials, DEFAULTS[model]), trials, space)
    for wanted in tqdm(settings[len(trials) :], desc=f"search {label(model)}", unit="trial"):
        left = config.search.minutes * 60 - found.seconds
        if left <= 0:
            break
        done = peer.run(peer.job(model, wanted, seed=seed, seconds=left))
        trial = Trial(wanted, done["best"], done["seconds"], done["epochs"], cut=done["seconds"] >= left)
        trials = (*found.trials, trial)
        found = replace(found, trials=trials, settings=best_settings(trials, DEFAULTS[model]))
        save_found(found, out)
    return found


def make_cell(peer: Peer, job: Job, identity: str, path: Path) -> None:
    """Trains, scores and judges one model under one seed and writes its outcome to `path`."""
    done = peer.run(job)
    scores = peer.scores()
    prepared, evaluation = peer.prepared, peer.config.evaluate
    parts = {"valid": prepared.valid, "test": prepared.test}
    valid, test = (judged(scores, job.lambda2, prepared, sets, evaluation.k) for sets in parts.values())
    why_not = None if len(job.lambda2) > 1 else NO_DIAL.format(job.model)
    chosen = choose_lambda2(valid, evaluation.k, why_not)
    facts = Facts(
        label=label(job.model),
        seed=job.seed,
        identity=identity,
        peer=True,
        undebiasable=why_not,
        lambda2=chosen.default,
        basis=chosen.basis,
        settings={f"cornac.{name}": value for name, value in job.settings.items()},
        epochs=done["epochs"],
        best_epoch=done["best_epoch"],
        batch_size=BATCH[job.model],
        seconds=done["seconds"],
    )
    users = {part: {name: relevant.users for name, relevant in sets.items()} for part, sets in parts.items()}
    save(Outcome(facts, valid, test, users), path)


def judged(
    scores: NDArray[np.float32], lambda2: tuple[float, ...], prepared: Prepared, sets: dict[str, Relevant], k: int
) -> Evaluation:
    """`scores` [λ2, U, I] by our metrics, as the comparison judges our own models."""

    def of_block(block: NDArray[np.int64]) -> Iterator[tuple[Ranking, Tensor]]:
        for level, value in enumerate(lambda2):
            yield value, torch.from_numpy(scores[level, block])

    return evaluate_scores(of_block, prepared.seen, sets, k, features=prepared.features, quiet=True)


class Peers:
    """
    cornac's models beside one comparison.

    Args:
        source: the folder of another comparison whose settings to take; None searches here.
    """

    def __init__(self, config: CompareConfig, data: Path, out: Path, source: Path | None) -> None:
        self._config, self._data, self._source, self._out = config, data, source, out
        self._python = environment("cornac-train", *PACKAGES) / "python"

    def compare(self, models: list[str], seeds: tuple[int, ...]) -> None:
        """Makes every cell that is not there already, made under the same settings of the same data."""
        settings = self._settings(models)
        with tqdm(total=len(models) * len(seeds), desc="peers", unit="cell") as progress:
            for seed in seeds:
                with self._peer(seed) as peer:
                    for model in models:
                        progress.set_postfix_str(f"{label(model)}, seed {seed}")
                        self._cell(peer, peer.job(model, settings[model], seed=seed, scored=True))
                        progress.update()

    def _settings(self, models: list[str]) -> dict[str, dict[str, Any]]:
        if self._source is not None:
            return {model: _taken(self._source, model) for model in models}
        with self._peer(self._config.seeds[0]) as peer:
            return {model: dict(search(peer, model, self._out / "peers").settings) for model in models}

    @contextmanager
    def _peer(self, seed: int) -> Iterator[Peer]:
        with tempfile.TemporaryDirectory() as exchanged:
            yield Peer(self._config, prepare(self._config.base(seed), self._data), Path(exchanged), self._python)

    def _cell(self, peer: Peer, job: Job) -> None:
        path = cell_path(self._out, label(job.model), job.seed, peer=True)
        identity = _digest(job, peer.prepared, self._config)
        if not path.exists() or load_facts(path).identity != identity:
            make_cell(peer, job, identity, path)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer_quality", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the comparison's")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of the comparison's")
    parser.add_argument("--models", nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--settings-from", type=Path, metavar="OUT", help="take the settings found there")
    options = parser.parse_args()
    try:
        config = read_compare(options.config)
        seeds = tuple(options.seeds or config.seeds)
        Peers(config, options.data, options.out, options.settings_from).compare(options.models, seeds)
    except CausalRecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    return 0


def _taken(source: Path, model: str) -> dict[str, Any]:
    found = load_found(source / "peers", label(model))
    if found is None:
        raise ConfigError(f"--settings-from {source}: has no settings of {label(model)}; leave it out to search here")
    return found.settings


def _digest(*parts: Any) -> str:
    """Hash of all that determines a search or a cell."""
    plain = [VERSION, PACKAGES]
    for part in parts:
        if isinstance(part, Prepared):
            plain.append([part.dataset.fingerprint, part.backbone])
        elif isinstance(part, CompareConfig):
            plain.append(part.model_dump(mode="json", include={"data": True, "evaluate": {"k"}, "model": {"dim"}}))
        else:
            plain.append(asdict(part) if isinstance(part, Job) else part)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
