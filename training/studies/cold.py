"""
What is known of a user or an item before training knows it: fold-in, the cold route, items placed by their pictures.

    python -m training.studies.cold --data DIR --out docs/results/cold.md

For every form and seed: a model that stopped some time ago, one trained again, one that never saw some users and items.
The constants of causalrec/foldin.py are judged on a fifth of the users, of whom nothing else is reported.
"""

import argparse
import logging
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np
from tqdm import tqdm

from causalrec.equations import Form
from causalrec.foldin import HALF_LIFE, PRIOR
from causalrec.manifest import Interval
from training.config import RunConfig, read_config
from training.data.dataset import Dataset, load_dataset
from training.export import code_version
from training.metrics import Bootstrap
from training.report import markdown_table, with_interval
from training.studies.command import write_report
from training.studies.histories import EVENTS, HALF_LIVES, NEWEST, PRIORS, Trial, known_users, later_users
from training.studies.newcomers import newcomers
from training.studies.trials import Ledger, Timeline

log = logging.getLogger(__name__)

LAMBDA2 = ("0", "default")
PLACED = ("placed", "γ* instead", "γ from the feature")
FOLDED, COLD = ("known users", "all folded in", "0"), "among NDCG"
QUESTIONS = (  # in words; part, ranking and λ2 of what is asked about, and of what it is compared with
    ("known users: folded in, over the stored vectors", FOLDED, ("known users", "stored vectors", "0")),
    ("known users: folded in, over training again", FOLDED, ("known users", "trained again", "0")),
    ("known users: closed form, over the exact softmax", FOLDED, ("known users", "all, exact softmax", "0")),
    ("new users: 1 event, over the cold route", ("new users, 1", "fold-in", "0"), ("new users, 0", "cold route", "0")),
    (
        "new users: 10 events, over the cold route",
        ("new users, 10", "fold-in", "0"),
        ("new users, 0", "cold route", "0"),
    ),
    (
        "no event: the mean user, over the cold route",
        ("new users, 0", "fold-in", "0"),
        ("new users, 0", "cold route", "0"),
    ),
    ("cold items: placed, over random, λ2 = 0", (COLD, PLACED[0], "0"), (COLD, "random", "—")),
    ("cold items: placed, over random, λ2 default", (COLD, PLACED[0], "default"), (COLD, "random", "—")),
    ("cold items: placed, over γ*, λ2 = 0", (COLD, PLACED[0], "0"), (COLD, PLACED[1], "0")),
    ("cold items: placed, over γ*, λ2 default", (COLD, PLACED[0], "default"), (COLD, PLACED[1], "default")),
)


def study(config: RunConfig, dataset: Dataset, seeds: list[int], forms: list[Form]) -> Ledger:
    """Every trial of every form and seed; the global time split once per form."""
    timeline, ledger = Timeline.of(dataset), Ledger()
    with tempfile.TemporaryDirectory() as folder, tqdm(total=len(forms) * (2 * len(seeds) + 1), unit="trial") as bar:
        fit = config.fit.model_copy(update={"checkpoints": Path(folder)})
        for form in forms:
            for turn, seed in enumerate(seeds):
                model = config.model.model_copy(update={"form": form})
                mine = config.model_copy(update={"seed": seed, "model": model, "fit": fit})
                trial = Trial(mine, timeline, ledger)
                bar.set_description(f"{form}, seed {seed}")
                known_users(trial)
                bar.update()
                newcomers(trial, turn)
                bar.update()
                if turn == 0:
                    later_users(trial)
                    bar.update()
    return ledger


class Report:
    """
    The study as Markdown.

    Args:
        made: by what, with what, in how long.
    """

    def __init__(self, ledger: Ledger, forms: list[Form], k: int, resamples: int, made: str) -> None:
        self._ledger, self._forms, self._k, self._made = ledger, forms, k, made
        self._bootstrap = Bootstrap(resamples, 0)

    def text(self) -> str:
        """All of it."""
        parts = [
            "# Users and items that training has not seen",
            self._made,
            f"NDCG@{self._k} over the whole catalogue, means over users (each the mean over the seeds that judge him) "
            "with 95 % bootstrap intervals; gains are paired. λ2 at 0 and at the default that each model's validation "
            "chooses. Items a user already had are left out of his lists.",
            "## In short",
            self._in_short(),
            self._defaults(),
            "## Known users: the newest events folded in",
            "Time split by user: the model was trained on the first 60 % of each user's events, the next 20 % came "
            "since, the last 20 % are looked for. Trained again: the same model trained on the first 80 %.",
            self._known("known users"),
            "## Known users, by one moment in time",
            "The model was trained on all that happened before one moment; of each user's later events the first half "
            "is folded in and the second looked for. One seed.",
            self._known("later, known")
            if ("later, known", self._forms[0], "before", "0") in self._ledger
            else "Nobody.",
            "## New users, by one moment in time",
            "As above, for users who came after that moment; before: the cold route (service/cold.py).",
            self._known("later, new") if ("later, new", self._forms[0], "before", "0") in self._ledger else "Nobody.",
            f"## New users: NDCG@{self._k} by number of events",
            "Users held out of training; their first 10 events are left out of every list, the rest are looked for.",
            self._new(),
            "Gain over the cold route:",
            self._new_gains(),
            "## The constants of fold-in",
            f"Mean over forms and seeds on the tuning users at λ2 = 0; rows: prior ρ, columns: half-life in events. "
            f"Shipped: ρ = {PRIOR:g}, half-life {HALF_LIFE:g}.",
            self._tuning("known users"),
            self._tuning("new users"),
            "## Cold items",
            "A tenth of the items held out of training, placed by their pictures, and looked for among the cold items "
            f"alone and in the whole catalogue; share: of the top {self._k} that is cold (of the catalogue: a tenth). "
            "Placed (causalrec/placing.py): γ, and in the authors' form β, by ridge regression on e over the trained "
            "items, which is what is served. γ* instead: the match of the no-treatment item. γ from the feature: by "
            "ridge regression on the picture's whole feature.",
            self._cold(),
        ]
        return "\n\n".join(parts) + "\n"

    def _in_short(self) -> str:
        rows = []
        for words, (part, ranking, at), (base_part, base, base_at) in QUESTIONS:
            names = [((part, form, ranking, at), (base_part, form, base, base_at)) for form in self._forms]
            gains = [self._ledger.gain(name, over, self._bootstrap) for name, over in names]
            rows.append([words, *(f"{_verdict(gain)} {_signed(gain)}" for gain in gains)])
        return markdown_table([f"paired gains in NDCG@{self._k}", *self._forms], rows)

    def _defaults(self) -> str:
        models = ("known users", "new users and cold items", "later users")
        values = {
            (form, model): self._ledger.values(("lambda2", form, model)) for form in self._forms for model in models
        }
        rows = [[form, *(" ".join(f"{v:g}" for v in values[form, model]) for model in models)] for form in self._forms]
        return markdown_table(["default λ2, by seed", *models], rows)

    def _known(self, part: str) -> str:
        rankings = [
            *("before", "popularity", "stored vectors", *(f"newest {n} folded in" for n in NEWEST)),
            *("all folded in", "all, exact softmax", "trained again"),
        ]
        rows = []
        for form in self._forms:
            for ranking in rankings:
                if (part, form, ranking, "0") not in self._ledger:
                    continue
                base = "stored vectors" if part == "known users" else "before"
                cells = []
                for lambda2 in LAMBDA2:
                    name = (part, form, ranking, lambda2)
                    gain = self._ledger.gain(name, (part, form, base, lambda2), self._bootstrap)
                    cells += [self._interval(name), "" if ranking == base else _signed(gain)]
                rows.append([form, ranking, *cells])
        users = len(self._ledger.values((part, self._forms[0], rows[0][1], "0")))
        header = ["form", f"{users} users", "λ2 = 0", "gain", "λ2 default", "gain"]
        return markdown_table(header, rows)

    def _new(self) -> str:
        rows = []
        for form in self._forms:
            for lambda2 in LAMBDA2:
                for ranking in ("popularity", "cold route", "fold-in", "fold-in and popularity"):
                    names = [(f"new users, {events}", form, ranking, lambda2) for events in EVENTS]
                    cells = [self._interval(name) if name in self._ledger else "" for name in names]
                    rows.append([form, lambda2, ranking, *cells])
        users = len(self._ledger.values(("new users, 0", self._forms[0], "fold-in", "0")))
        return markdown_table(["form", "λ2", f"{users} users", *map(str, EVENTS)], rows)

    def _new_gains(self) -> str:
        rows = []
        for form in self._forms:
            for lambda2 in LAMBDA2:
                for ranking in ("fold-in", "fold-in and popularity"):
                    base = ("new users, 0", form, "cold route", lambda2)
                    names = [(f"new users, {events}", form, ranking, lambda2) for events in EVENTS]
                    gains = [_signed(self._ledger.gain(name, base, self._bootstrap)) for name in names]
                    rows.append([form, lambda2, ranking, *gains])
        return markdown_table(["form", "λ2", "", *map(str, EVENTS)], rows)

    def _tuning(self, part: str) -> str:
        def mean(prior: float, half_life: float) -> str:
            names = [(f"tuning {part}", form, f"{prior:g}", f"{half_life:g}") for form in self._forms]
            return f"{np.mean([self._ledger.values(name).mean() for name in names]):.4f}"

        header = [part, *("∞" if half_life == np.inf else f"{half_life:g}" for half_life in HALF_LIVES)]
        return markdown_table(
            header, [[f"ρ = {prior:g}", *(mean(prior, half_life) for half_life in HALF_LIVES)] for prior in PRIORS]
        )

    def _cold(self) -> str:
        rows = []
        for form in self._forms:
            for ranking, lambda2 in (
                ("random", "—"),
                *((ranking, at) for ranking in PLACED for at in LAMBDA2),
            ):
                parts = ("among NDCG", "among Recall", "whole NDCG", "whole Recall")
                cells = [self._interval((part, form, ranking, lambda2)) for part in parts]
                share = self._ledger.values(("share", form, ranking, lambda2)).mean()
                rows.append([form, ranking, lambda2, *cells, f"{share:.3f}"])
        k = self._k
        header = ["form", "cold items", "λ2", f"among cold: NDCG@{k}", f"Recall@{k}", f"whole: NDCG@{k}", f"Recall@{k}"]
        return markdown_table([*header, "share"], rows)

    def _interval(self, name: tuple[str, ...]) -> str:
        return with_interval(self._ledger.interval(name, self._bootstrap))


def _verdict(gain: Interval) -> str:
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "no difference shown"


def _signed(gain: Interval) -> str:
    return f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"


def main() -> int:
    """The study's command line."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.cold", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--config", type=Path, default=Path("training/runs/ml-latest-small.toml"), metavar="FILE")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="interactions with times, items, images"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--forms", nargs="+", choices=get_args(Form), default=list(get_args(Form)))
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the Markdown report")
    options = parser.parse_args()

    def make() -> str:
        started = time.perf_counter()
        config = read_config(options.config)
        dataset = load_dataset(options.data, config.data, config.images, seed=0)
        ledger = study(config, dataset, options.seeds, options.forms)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        made = (
            f"{config.name}: {len(dataset.users):,} users, {len(dataset.items):,} items, "
            f"{len(dataset.interactions):,} interactions. Made by `python -m training.studies.cold` with code "
            f"{code_version()}, seeds {', '.join(map(str, options.seeds))}, on {os.cpu_count()} cores in "
            f"{(time.perf_counter() - started) / 60:.0f} minutes, {peak:.2f} GiB at most."
        )
        return Report(ledger, options.forms, config.evaluate.k, config.evaluate.bootstrap, made).text()

    return write_report(make, options.out)


if __name__ == "__main__":
    sys.exit(main())
