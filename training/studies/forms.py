"""
Every form and null treatment at every λ2, on one data set.

    python -m training.studies.forms --config training/runs/ml-1m.toml --data DIR --seeds 0 1 2 --out report.md

Trains each form once per seed (the null treatment plays no part in training), exports its bundle as NAME-FORM-SEED,
and writes a Markdown report: test metrics with 95 % bootstrap intervals over users for the first seed, means over the
seeds of what λ2 does, wall time and peak memory.
"""

import argparse
import logging
import resource
import sys
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np

from causalrec.equations import Form, NullMatch, NullVisual
from causalrec.weights import Weights
from training.config import RunConfig, read_config
from training.data.statistics import Statistics
from training.evaluate import MATCH_ALONE, POPULARITY, Evaluation, Ranking
from training.export import code_version, served_weights
from training.metrics import Bootstrap
from training.prepare import prepare
from training.report import markdown_table, with_interval
from training.run import finish, sweep, train
from training.studies.command import write_report

log = logging.getLogger(__name__)

TREATMENT = ("form", "null (match / picture)")
WITHOUT_NULL: tuple[Form, ...] = ("additive", "sum")  # what they remove has no no-treatment item


@dataclass(frozen=True)
class Cell:
    """One trained form under one null treatment."""

    form: Form
    null: str
    seed: int
    seconds: float
    c: tuple[float, float] | None
    """Mean and standard deviation over users of c_u or m*."""
    valid: Evaluation
    test: Evaluation


def treatments(form: Form) -> list[tuple[NullMatch, NullVisual]]:
    """The distinct null treatments of `form`: with a zero γ*, feature_mean is zero too; some have none."""
    if form in WITHOUT_NULL:
        return [("mean", "product_mean")]
    every = product(get_args(NullMatch), get_args(NullVisual))
    return [(match, visual) for match, visual in every if (match, visual) != ("zero", "feature_mean")]


def study(config: RunConfig, data: Path, seeds: list[int]) -> tuple[Statistics, list[Cell]]:
    """Trains, exports and evaluates every form, null treatment and seed."""
    cells = []
    statistics = None
    for seed in seeds:
        prepared = prepare(config.model_copy(update={"seed": seed}), data)
        statistics = statistics or prepared.statistics
        for form in get_args(Form):
            model_config = config.model.model_copy(update={"form": form})
            named = {"seed": seed, "model": model_config, "name": f"{config.name}-{form}-{seed}"}
            mine = config.model_copy(update=named)
            log.info("— seed %d, %s form", seed, form)
            started = time.perf_counter()
            model = train(mine, prepared)
            seconds = time.perf_counter() - started
            finish(mine, prepared, model)
            for match, visual in treatments(form):
                null = {"null_match": match, "null_visual": visual}
                treated = mine.model_copy(update={"model": model_config.model_copy(update=null)})
                weights = served_weights(treated, prepared, model)
                valid, test = sweep(treated, prepared, weights)
                name = "—" if form in WITHOUT_NULL else f"{match} / {visual}"
                cells.append(Cell(form, name, seed, seconds, _null(weights), valid, test))
    assert statistics is not None  # noqa: S101 - argparse asks for a seed at least
    return statistics, cells


def report(config: RunConfig, statistics: Statistics, cells: list[Cell]) -> str:
    """The study as Markdown."""
    k = config.evaluate.k
    first = [cell for cell in cells if cell.seed == cells[0].seed]
    seeds = sorted({cell.seed for cell in cells})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = ", ".join(
        f"{form} {np.mean([cell.seconds for cell in cells if cell.form == form]):.0f} s" for form in get_args(Form)
    )
    return "\n".join(
        [
            f"# {config.name}: forms, null treatments and λ2",
            "",
            f"Code {code_version()}; seeds {', '.join(map(str, seeds))}; test part, training positives masked, whole "
            f"catalogue ranked. Fit time per model: {seconds}. Peak memory of the process: {peak:.2f} GiB.",
            "",
            f"Data: {statistics}",
            "",
            f"## Seed {cells[0].seed}, 95 % bootstrap intervals over users",
            "",
            markdown_table(
                [*TREATMENT, "ranking", "MRR", f"NDCG@{k}", f"HR@{k}", *_wanted(first[0], k), "overlap"],
                [row for cell in first for row in _rows(cell, k, Bootstrap(config.evaluate.bootstrap, 0))],
            ),
            "",
            f"## Means over {len(seeds)} seed(s)",
            "",
            markdown_table(
                [*TREATMENT, "c_u or m* (sd)", "metric", *_rankings(first[0])],
                [row for group in _by_treatment(cells) for row in _means(group, k)],
            ),
            "",
        ]
    )


def _null(weights: Weights) -> tuple[float, float] | None:
    if weights.form in WITHOUT_NULL:
        return None
    return float(weights.null.double().mean()), float(weights.null.double().std())


def _wanted(cell: Cell, k: int) -> list[str]:
    return [name for name in cell.test.values[0.0] if ":" in name and name.endswith(f"NDCG@{k}")]


def _rankings(cell: Cell) -> list[str]:
    return [_ranking_name(ranking) for ranking in cell.test.values]


def _ranking_name(ranking: Ranking) -> str:
    return {MATCH_ALONE: "M alone", POPULARITY: "popularity"}.get(str(ranking), f"λ2={ranking}")


def _rows(cell: Cell, k: int, bootstrap: Bootstrap) -> list[list[str]]:
    rows = []
    for ranking, values in cell.test.values.items():
        metrics = ["MRR", f"NDCG@{k}", f"HR@{k}", *_wanted(cell, k)]
        shared = f"{cell.test.overlap[ranking].mean():.3f}" if isinstance(ranking, float) else ""
        cells = [with_interval(bootstrap.interval(values[metric])) for metric in metrics]
        rows.append([cell.form, cell.null, _ranking_name(ranking), *cells, shared])
    return rows


def _by_treatment(cells: list[Cell]) -> list[list[Cell]]:
    keys = dict.fromkeys((cell.form, cell.null) for cell in cells)
    return [[cell for cell in cells if (cell.form, cell.null) == key] for key in keys]


def _means(group: list[Cell], k: int) -> list[list[str]]:
    first = group[0]
    c = "—" if first.c is None else f"{np.mean([g.c for g in group if g.c], 0)[0]:.3f} ({first.c[1]:.3f})"
    rows = []
    for metric in (f"NDCG@{k}", f"HR@{k}", "MRR", *_wanted(first, k)):
        means = [np.mean([g.test.mean(ranking, metric) for g in group]) for ranking in first.test.values]
        rows.append([first.form, first.null, c, metric, *(f"{mean:.4f}" for mean in means)])
    shared = [f"{np.mean([g.test.overlap[at].mean() for g in group]):.3f}" for at in first.test.overlap]
    rows.append([first.form, first.null, c, "overlap with λ2=0", *shared, "", ""])
    return rows


def main() -> int:
    """The study's command line."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.forms", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the run's TOML file")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="interactions, items, images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one training of each form per seed")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the Markdown report")
    options = parser.parse_args()

    def make() -> str:
        config = read_config(options.config)
        return report(config, *study(config, options.data, options.seeds))

    return write_report(make, options.out)


if __name__ == "__main__":
    sys.exit(main())
