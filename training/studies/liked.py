"""
What debiasing does to what people disliked: ratings tell, the model only sees what was watched.

    python -m training.studies.liked --data DIR --out docs/results/debiasing-liked.md

Every interaction is a click, whatever its rating. Among the test items those rated high are liked, those rated low
disliked; λ2 is chosen on validation NDCG of the liked ones. Interrupted, the same command goes on: what is done is kept
below --cells.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np

from causalrec.errors import DataError
from training.compare.config import CompareConfig, read_compare
from training.compare.outcome import Outcome
from training.export import code_version
from training.metrics import Bootstrap, Relevant
from training.prepare import Prepared, prepare
from training.studies.command import quoted, write_report
from training.studies.debiasing_cells import Ticks, outcomes, settings, settings_table
from training.studies.debiasing_figures import write_figure
from training.studies.liked_tables import Rated, conclusions, curves_table, draw_liked, gains_table

CONFIG = Path("training/runs/compare-liked.toml")


def with_disliked(prepared: Prepared, at_most: float) -> Prepared:
    """
    `prepared` with one more set held out: "disliked", what was rated `at_most` or less.

    Raises: DataError where nothing is rated, or nothing held out that low.
    """
    interactions = prepared.dataset.interactions
    if interactions.rating is None:
        raise DataError("interactions have no column `rating`: what was disliked is not known; give data with ratings")
    sets = {}
    for name, chosen, held in (
        ("valid", prepared.split.valid, prepared.valid),
        ("test", prepared.split.test, prepared.test),
    ):
        low = chosen[interactions.rating[chosen] <= at_most]
        if not len(low) or "liked" not in held:
            raise DataError(
                f"the {name} part has no rating of {at_most:g} or less, or none that counts as liked; "
                "change --disliked or data.liked_rating"
            )
        disliked = Relevant.of(interactions.user[low], interactions.item[low], len(prepared.dataset.users))
        sets[name] = {**held, "disliked": disliked}
    return dataclasses.replace(prepared, valid=sets["valid"], test=sets["test"])


def study(
    config: CompareConfig, data: Path, cells: Path, at_most: float, compared: Path | None, *, quiet: bool = False
) -> list[Rated]:
    """
    Every model under every seed, with how many liked and disliked items each user's test part holds.

    Args:
        at_most: the highest rating that counts as disliked.
        compared: the folder of a comparison whose settings are taken; None: the configuration's own.
    Raises: CausalRecError.
    """
    found = settings(config, compared)
    by_model: dict[str, list[Outcome]] = {}
    held: dict[int, dict[str, Relevant]] = {}
    with Ticks(len(config.seeds) * len(found), quiet=quiet) as ticks:
        for seed in config.seeds:
            prepared = with_disliked(prepare(config.base(seed), data), at_most)
            held[seed] = prepared.test
            for made in outcomes(config, found, prepared, seed, cells, ticks.say):
                by_model.setdefault(made.facts.label, []).append(made)
                ticks.done()
    return [Rated(label, tuple(made), held, config.evaluate.k) for label, made in by_model.items()]


def report(config: CompareConfig, models: list[Rated], at_most: float, command: str, figure: str) -> str:
    """The study as Markdown."""
    k, bootstrap = config.evaluate.k, Bootstrap(config.evaluate.bootstrap, 0)
    counts = {
        name: np.mean([len(held[name].pairs.indices) for held in models[0].held.values()])
        for name in ("clicks", "liked", "disliked")
    }
    return "\n".join(
        [
            "# Ratings: what a dial does to what people disliked",
            "",
            f"Made by `{command}` with code {code_version()}.",
            "",
            f"Trained on what was watched, whatever the rating; {len(config.seeds)} seeds, each a split of its own. Of "
            f"the {counts['clicks']:,.0f} test items (mean over seeds) {counts['liked']:,.0f} are liked "
            f"(rated ≥ {config.data.liked_rating:g}) and {counts['disliked']:,.0f} disliked (≤ {at_most:g}). "
            f"Share of disliked: among the test items in the top {k} of all users. λ2 is chosen on validation "
            f"NDCG@{k} of the liked. Intervals: 95 % over users, paired, each user averaged over the seeds.",
            "",
            *conclusions(models, bootstrap),
            "",
            f"![liked and disliked by λ2]({figure})",
            "",
            "## Against both ends",
            "",
            gains_table(models, bootstrap),
            "",
            "## The whole curves",
            "",
            curves_table(models),
            "",
            "## Settings",
            "",
            settings_table([model.outcomes[0] for model in models]),
            "",
        ]
    )


def main() -> int:
    """The study's command line."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.liked", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="models and settings")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="interactions with ratings")
    parser.add_argument(
        "--settings", type=Path, metavar="DIR", help="take those a comparison found, kept in this folder"
    )
    parser.add_argument("--disliked", type=float, default=2.5, metavar="R", help="rated at most this [2.5]")
    parser.add_argument("--cells", type=Path, default=Path("runs/liked"), metavar="DIR", help="what is kept")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the Markdown report")
    options = parser.parse_args()
    command = quoted("liked", options, "config", "disliked", "out") + " --data DIR"
    command += " --settings DIR" if options.settings is not None else ""

    def make() -> str:
        config = read_compare(options.config)
        models = study(config, options.data, options.cells, options.disliked, options.settings)
        figure = Path("figures") / f"{options.out.stem}.png"
        write_figure(draw_liked(models), options.out.parent / figure)
        return report(config, models, options.disliked, command, figure.as_posix())

    return write_report(make, options.out)


if __name__ == "__main__":
    sys.exit(main())
