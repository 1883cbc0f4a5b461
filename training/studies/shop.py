"""
Does λ2 bring back what people want? The simulated shop knows.

    python -m training.studies.shop --seeds 0 1 2 3 4 --pulls 0 1 2 --out docs/results/shop.md

For every seed and pull: a shop with drawn pictures, real features, each form trained on clicks; λ2 chosen on validation
purchases, scored on test purchases, beside M alone, popularity and the true taste. Nothing is tuned per cell.
"""

import argparse
import logging
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from causalrec.equations import Form
from causalrec.manifest import Interval
from training.choice import choose_lambda2
from training.config import RunConfig, read_config
from training.evaluate import MATCH_ALONE, POPULARITY, Evaluation
from training.export import code_version, served_weights
from training.metrics import Bootstrap, Values, judge, mask
from training.prepare import Prepared, prepare
from training.report import markdown_table, with_interval
from training.run import sweep, train
from training.shop import Shop, ShopConfig, make_shop, write_shop
from training.studies.command import write_report

log = logging.getLogger(__name__)

COLUMNS = (
    *("pull", "form", "λ2 chosen", "clicks at 0", "clicks at chosen", "purchases at 0", "at chosen", "M alone"),
    *("popularity", "true taste", "gain [over seeds]", "gain %", "gain [over users]"),
)
STUDENT_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True)
class Cell:
    """One form trained in one shop; chosen is the λ2 that validation purchases picked."""

    pull: float
    seed: int
    form: Form
    chosen: float
    valid: Evaluation
    test: Evaluation
    ceiling: float
    """NDCG of ranking by the users' true taste."""

    def purchases(self, ranking: float | str, k: int) -> Values:
        """NDCG@k on test purchases, per user."""
        return self.test.values[ranking][f"purchases:NDCG@{k}"]

    def gain(self, k: int) -> Values:
        """What the chosen λ2 adds over λ2 = 0 on test purchases, per user."""
        return self.purchases(self.chosen, k) - self.purchases(0.0, k)


def study(config: RunConfig, seeds: list[int], pulls: list[float], shops: Path) -> list[Cell]:
    """Every cell of the study; the shops are written below `shops` and found again there."""
    cells = []
    total, done, started = len(seeds) * len(pulls) * len(get_args(Form)), 0, time.perf_counter()
    for seed in seeds:
        for pull in pulls:
            shop = make_shop(ShopConfig.for_studies(seed=seed, pull=pull))
            data = write_shop(shop, shops / f"seed-{seed}-pull-{pull:g}")
            prepared = prepare(config.model_copy(update={"seed": seed}), data)
            ceiling = _ceiling(shop, prepared, config.evaluate.k)
            for form in get_args(Form):
                model_config = config.model.model_copy(update={"form": form})
                named = {"seed": seed, "model": model_config, "name": f"{config.name}-{form}-{seed}-{pull:g}"}
                mine = config.model_copy(update=named)
                model = train(mine, prepared, quiet=True)
                valid, test = sweep(mine, prepared, served_weights(mine, prepared, model), quiet=True)
                chosen = choose_lambda2(valid, config.evaluate.k).default
                cells.append(Cell(pull, seed, form, chosen, valid, test, ceiling))
                done += 1
                log.info(
                    "%d/%d (%.0f s): seed %d, pull %g, %s: λ2 %g chosen, gain %+.4f on purchases",
                    *(done, total, time.perf_counter() - started, seed, pull, form, chosen),
                    cells[-1].gain(config.evaluate.k).mean(),
                )
    return cells


def _ceiling(shop: Shop, prepared: Prepared, k: int) -> float:
    """NDCG@k on test purchases of ranking by true taste, training clicks masked."""
    dataset, purchases = prepared.dataset, prepared.test["purchases"]
    columns = [shop.item_ids.index(item) for item in dataset.items.ids]
    rows = [shop.user_ids.index(dataset.users.ids[user]) for user in purchases.users]
    scores = torch.from_numpy(shop.taste[np.ix_(rows, columns)].copy())
    scores = scores.masked_fill(mask(prepared.seen, purchases.users, len(columns)), -torch.inf)
    relevant = purchases.matrix(purchases.users, len(columns))
    return float(judge(scores, scores.topk(k, 1).indices, relevant, k)[f"NDCG@{k}"].mean())


def over_seeds(values: list[float]) -> Interval:
    """Mean over seeds with its 95 % t interval: the seed is the unit, since one seed's users share a model."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean=mean, low=-math.inf, high=math.inf)
    half = STUDENT_T[len(values) - 1] * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Interval(mean=mean, low=mean - half, high=mean + half)


def report(config: RunConfig, cells: list[Cell], command: str) -> str:
    """The study as Markdown: the gain per form and pull, then the whole curves."""
    k = config.evaluate.k
    groups: dict[tuple[float, Form], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.pull, cell.form), []).append(cell)
    lambda2 = [f"λ2={value:g}" for value in config.evaluate.lambda2]
    curves = [
        [
            f"{pull:g}",
            form,
            kind,
            *(f"{np.mean([c.test.mean(at, m) for c in group]):.4f}" for at in config.evaluate.lambda2),
        ]
        for (pull, form), group in groups.items()
        for kind, m in (("purchases", f"purchases:NDCG@{k}"), ("clicks", f"NDCG@{k}"))
    ]
    return "\n".join(
        [
            "# The simulated shop: what λ2 gives back",
            "",
            f"Made by `{command}` with code {code_version()}. Nothing here is real data.",
            "",
            f"NDCG@{k}, means over {len({cell.seed for cell in cells})} seeds. λ2 is chosen on validation purchases "
            "and scored on test purchases; the gain is over λ2 = 0 in the same model, with the 95 % t interval over "
            "seeds and, in the last column, the paired bootstrap interval over all users of all seeds.",
            "",
            markdown_table(
                COLUMNS,
                [_summary(group, k, config.evaluate.bootstrap) for group in groups.values()],
            ),
            "",
            "## The whole curves",
            "",
            markdown_table(["pull", "form", "test", *lambda2], curves),
            "",
        ]
    )


def _summary(group: list[Cell], k: int, resamples: int) -> list[str]:
    at_zero = float(np.mean([cell.purchases(0.0, k).mean() for cell in group]))
    gain = over_seeds([float(cell.gain(k).mean()) for cell in group])
    pooled = Bootstrap(resamples, 0).interval(np.concatenate([cell.gain(k) for cell in group]))
    values = [
        np.mean([cell.test.mean(0.0, f"NDCG@{k}") for cell in group]),
        np.mean([cell.test.mean(cell.chosen, f"NDCG@{k}") for cell in group]),
        at_zero,
        np.mean([cell.purchases(cell.chosen, k).mean() for cell in group]),
        np.mean([cell.purchases(MATCH_ALONE, k).mean() for cell in group]),
        np.mean([cell.purchases(POPULARITY, k).mean() for cell in group]),
        np.mean([cell.ceiling for cell in group]),
    ]
    chosen = " ".join(f"{cell.chosen:g}" for cell in group)
    figures = [f"{value:.4f}" for value in values]
    gains = [with_interval(gain), f"{gain.mean / at_zero:+.1%}", with_interval(pooled)]
    return [f"{group[0].pull:g}", group[0].form, chosen, *figures, *gains]


def main() -> int:
    """The study's command line."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.shop", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--config", type=Path, default=Path("training/runs/shop.toml"), metavar="FILE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--pulls", type=float, nargs="+", default=[0.0, 1.0, 2.0])
    parser.add_argument("--shops", type=Path, default=Path(".cache/shops"), metavar="DIR", help="where shops are kept")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the Markdown report")
    options = parser.parse_args()
    command = "python -m training.studies.shop " + " ".join(sys.argv[1:])

    def make() -> str:
        config = read_config(options.config)
        return report(config, study(config, options.seeds, options.pulls, options.shops), command)

    return write_report(make, options.out)


if __name__ == "__main__":
    sys.exit(main())
