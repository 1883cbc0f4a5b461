"""
What debiasing buys: simulated shops, where it is known what people want.

    python -m training.studies.debiasing --seeds 0 1 2 3 4 --pulls 0 1 2 --out docs/results/debiasing-shop.md

For every seed and pull: a shop with drawn pictures, and each model of the configuration trained on its clicks; λ2 is
chosen on validation purchases and scored on test purchases, beside M alone and beside what the truth would do.
Interrupted, the same command goes on: what is done is kept below --cells.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from training.compare.config import CompareConfig, read_compare
from training.compare.outcome import Outcome
from training.export import code_version
from training.metrics import Bootstrap
from training.prepare import prepare
from training.shop import ShopConfig, make_shop, write_shop
from training.studies.command import quoted, write_report
from training.studies.debiasing_causes import learnt
from training.studies.debiasing_cells import Ticks, outcomes, settings, settings_table
from training.studies.debiasing_figures import draw_shop, write_figure
from training.studies.debiasing_tables import bounds_table, causes_table, conclusions, curves_table, gains_table, groups
from training.studies.debiasing_truth import truth

log = logging.getLogger(__name__)

CONFIG = Path("training/runs/compare-debiasing-shop.toml")
Found = tuple[list[tuple[float, Outcome]], list[tuple[float, Outcome]]]


def study(
    config: CompareConfig, shop: ShopConfig, pulls: Sequence[float], cells: Path, *, quiet: bool = False
) -> Found:
    """
    Every cell of the study, each with its pull: the models' and the truth's. What is there already is not made again.

    Args:
        config: its models with their own settings, and its seeds: each is a shop, a split and a training.
        shop: what the shops have in common.
        cells: the folder that keeps shops and cells.
    Raises: CausalRecError.
    """
    models: list[tuple[float, Outcome]] = []
    truths: list[tuple[float, Outcome]] = []
    found = settings(config, None)
    with Ticks(len(config.seeds) * len(pulls) * len(found), quiet=quiet) as ticks:
        for seed in config.seeds:
            for pull in pulls:
                world = make_shop(shop.model_copy(update={"seed": seed, "pull": pull}))
                data = write_shop(world, cells / "shops" / f"seed-{seed}-pull-{pull:g}")
                prepared, out = prepare(config.base(seed), data), cells / f"pull-{pull:g}"
                truths.append((pull, truth(world, prepared, config.evaluate, seed, out)))
                for made in outcomes(config, found, prepared, seed, out, ticks.say, learnt(world, prepared)):
                    models.append((pull, made))
                    ticks.done()
    return models, truths


def report(config: CompareConfig, found: Found, command: str, figure: str) -> str:
    """The study as Markdown."""
    k, bootstrap = config.evaluate.k, Bootstrap(config.evaluate.bootstrap, 0)
    models, truths = (sorted(groups(part), key=lambda group: group.pull) for part in found)
    return "\n".join(
        [
            "# The simulated shop: what a dial gives back",
            "",
            f"Made by `{command}` with code {code_version()}. Nothing here is real data.",
            "",
            f"NDCG@{k}, means over {len(config.seeds)} seeds, each a shop of its own; test part, training clicks "
            "masked. λ2 is chosen on validation purchases. Differences are paired: [users] is the 95 % bootstrap "
            "interval over all users of all shops, [seeds] the 95 % t interval over shops. A dial is worth having if "
            "it beats both of its ends: λ2 = 0, and the match M alone.",
            "",
            *conclusions(models, k, bootstrap),
            "",
            f"![purchases and clicks by λ2]({figure})",
            "",
            "## Against both ends",
            "",
            gains_table(models, k, bootstrap),
            "",
            "## Why: what match and notice have learnt",
            "",
            "Each model's logits m and n, regressed for every user on the four causes of their clicks: the taste for "
            "what pictures hide, the taste for what they show, the pull on everybody, and each user's own. Logits per "
            "standard deviation of the cause, means over users and seeds; sd is the branch's own within users, so that "
            "what the causes leave of it is error. A dial helps as far as the notice holds pull and no taste.",
            "",
            causes_table(models),
            "",
            "## What the truth would do",
            "",
            "Purchases by the users' true taste, and by a dial without error: the true click logits less λ2 times what "
            "the pictures' attributes explain of them.",
            "",
            bounds_table(truths, k),
            "",
            "## The whole curves",
            "",
            curves_table(models, config.evaluate.lambda2, k),
            "",
            "## Settings",
            "",
            settings_table([group.outcomes[0] for group in models]),
            "",
        ]
    )


def main() -> int:
    """The study's command line."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.debiasing", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="models and settings")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="N", help="[those of the configuration]")
    parser.add_argument("--pulls", type=float, nargs="+", default=[0.0, 1.0, 2.0], metavar="P")
    parser.add_argument("--items", type=int, default=1500, help="of a shop [1500]")
    parser.add_argument("--users", type=int, default=2000, help="of a shop [2000]")
    parser.add_argument("--cells", type=Path, default=Path("runs/debiasing-shop"), metavar="DIR", help="what is kept")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the Markdown report")
    options = parser.parse_args()
    command = quoted("debiasing", options, "config", "seeds", "pulls", "items", "users", "out")

    def make() -> str:
        config = read_compare(options.config)
        if options.seeds is not None:
            config = config.model_copy(update={"seeds": tuple(options.seeds)})
        shop = ShopConfig(items=options.items, users=options.users)
        found = study(config, shop, options.pulls, options.cells)
        figure = Path("figures") / f"{options.out.stem}.png"
        models, truths = (groups(part) for part in found)
        write_figure(draw_shop(models, truths, config.evaluate.lambda2, config.evaluate.k), options.out.parent / figure)
        return report(config, found, command, figure.as_posix())

    return write_report(make, options.out)


if __name__ == "__main__":
    sys.exit(main())
