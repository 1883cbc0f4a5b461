"""One cell of a comparison: train, judge on validation and test, choose λ2, keep."""

from collections.abc import Callable
from typing import Any

from causalrec.weights import Weights
from training.choice import choose_lambda2
from training.compare.grid import Cell
from training.compare.outcome import Facts, Outcome, save
from training.config import RunConfig
from training.diagnostics import diagnose
from training.evaluate import Evaluation, evaluate
from training.export import served_weights
from training.metrics import Relevant
from training.prepare import Prepared
from training.run import checkpoint_path, fitted


def make_cell(cell: Cell, prepared: Prepared, also: Callable[[Weights], dict[str, float]] | None = None) -> Outcome:
    """
    Trains and judges `cell` and writes it to its path; a training under way goes on from its checkpoint.

    Args:
        prepared: the data under the cell's seed.
        also: what else to note of the trained model, among the diagnostics.
    Raises: ConfigError when training diverges; DataError on scores that are no numbers.
    """
    run = cell.config
    model, progress = fitted(run, prepared, resume=True, quiet=True)
    weights = served_weights(run, prepared, model)
    valid, test = (judged(run, prepared, weights, sets) for sets in (prepared.valid, prepared.test))
    chosen = choose_lambda2(valid, run.evaluate.k, run.model.undebiasable)
    noted = {} if run.model.undebiasable else dial(weights, valid, run.evaluate.users_per_block)
    facts = Facts(
        label=cell.entry.label,
        seed=run.seed,
        identity=cell.identity,
        undebiasable=run.model.undebiasable,
        lambda2=chosen.default,
        basis=chosen.basis,
        settings=settings(run),
        epochs=progress.epochs_done,
        best_epoch=progress.best_epoch,
        batch_size=run.fit.batch_size,
        seconds=progress.seconds,
        diagnostics=noted if also is None else noted | also(weights),
    )
    parts = {"valid": prepared.valid, "test": prepared.test}
    users = {part: {name: relevant.users for name, relevant in sets.items()} for part, sets in parts.items()}
    outcome = Outcome(facts, valid, test, users)
    save(outcome, cell.path)
    checkpoint_path(run).unlink(missing_ok=True)
    return outcome


def judged(run: RunConfig, prepared: Prepared, weights: Weights, sets: dict[str, Relevant]) -> Evaluation:
    """Every ranking on one part; a model that cannot be debiased at λ2 = 0 alone, beside M alone and popularity."""
    return evaluate(
        weights,
        prepared.seen,
        sets,
        run.evaluate.lambda2 if run.model.undebiasable is None else (0.0,),
        run.evaluate.k,
        features=prepared.features,
        users_per_block=run.evaluate.users_per_block,
        quiet=True,
    )


def dial(weights: Weights, valid: Evaluation, users_per_block: int) -> dict[str, float]:
    """What λ2 has to work with, in few figures: `training.diagnostics.diagnose`."""
    found = diagnose(weights, valid, users_per_block=users_per_block)
    figures = {
        "notice_sd_within_user": found.notice_sd_within_user,
        "notice_saturated": found.notice_saturated,
        "overlap_at_1": found.overlap["1.0"],
    }
    return figures if found.null is None else {**figures, "null_mean": found.null.mean}


def settings(run: RunConfig) -> dict[str, Any]:
    """The model's and the fit's settings by dotted name, less where things are kept and run."""
    free = {"fit": {"checkpoints", "checkpoint_seconds", "device"}}
    dumped = run.model_dump(mode="json", include={"model", "fit"}, exclude=free)
    return {f"{section}.{name}": value for section, values in dumped.items() for name, value in values.items()}
