"""
Does an experiment find the best λ2? A/B experiments on the simulated shop, whose best λ2 is known without noise.

    python -m benchmarks.experiments.ab --out docs/results/ab.md

The whole path in process (trials.py): units are split by assignment.decide, visit the lists that a trained bundle
serves at their λ2 (shop.py), and analysis.analyse reports at five looks. Every interval is held against the truth at
every look (compared.py, best.py). A second part draws λ2 per unit; a third asks for the best λ2 only, in many shops
(anywhere.py). Bundles are trained first, about a minute each, and kept in .cache/experiments.
Prints PASS or FAIL per claim; exit status 1 after any FAIL.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.experiments.anywhere import anywhere
from benchmarks.experiments.best import best_claims
from benchmarks.experiments.claims import Claim, limits
from benchmarks.experiments.compared import compared_claims, outside
from benchmarks.experiments.shop import Place, trained
from benchmarks.experiments.trials import ALPHA, BETWEEN, LAMBDA2, Run, Study, experiments
from benchmarks.report import Report, command_line

HEADER = ("", "claim", "measured", "allowed")
MARKS = {True: "PASS", False: "**FAIL**", None: ""}
PLACE: Final = Place("authors", 2.0, 4000)
"""Its best λ2 lies inside the range tried, and clicks fall where purchases rise."""
ESTIMATES: Final = {"snips": "SNIPS", "doubly_robust": "doubly robust"}


def off_policy_claims(study: Study, runs: Sequence[Run]) -> Iterator[Claim]:
    """What single λ2 would have done, by units whose λ2 was drawn."""
    traffic = study.traffic
    targets = [point.lambda2 for point in runs[0][-1].off_policy]
    for name, words in ESTIMATES.items():
        wrong = []
        for column, value in enumerate(targets):
            truth = float(traffic.purchases[traffic.row(value)]) * study.visits
            points = [[getattr(at.off_policy[column], name) for at in run] for run in runs]
            wrong.append(sum(any(outside(each, truth) for each in run) for run in points))
        lowest = max(limits(count, len(runs))[0] for count in wrong)
        told = "; ".join(f"{value:g}: {count / len(runs):.1%}" for value, count in zip(targets, wrong, strict=True))
        claim = f"off-policy, {words}: wrong at any look, by λ2, of {len(runs):,} runs"
        yield Claim(lowest <= ALPHA, claim, f"{told}; greatest lower limit {lowest:.1%}", f"{ALPHA:.0%}")


def studies(folder: Path, count: int, seed: int) -> Iterator[Claim]:
    """All claims; `count` experiments of the split kind, and of the best λ2 in every shop; half as many drawn."""
    study, rng = Study(trained(folder, PLACE)), np.random.default_rng(seed)
    runs = experiments(study, "split", count, rng)
    yield from best_claims(study, runs, (LAMBDA2[0], LAMBDA2[-1]), "five λ2")
    yield from compared_claims(study, runs)
    runs = experiments(study, "random", -(-count // 2), rng)
    yield from best_claims(study, runs, BETWEEN, "λ2 drawn")
    yield from off_policy_claims(study, runs)
    yield from anywhere(folder, count, rng)


def main() -> int:
    """The command line."""
    parser = command_line("experiments.ab", __doc__)
    parser.add_argument("--experiments", type=int, default=500, help="how many of the split kind")
    parser.add_argument("--seed", type=int, default=0, help="of everything but shops and bundles")
    parser.add_argument("--folder", type=Path, default=Path(".cache/experiments"), help="of shops and bundles")
    options = parser.parse_args()
    command = f"python -m benchmarks.experiments.ab --experiments {options.experiments} --seed {options.seed}"
    report, failed = Report("A/B experiments on the simulated shop", command, HEADER, options.out), 0
    for holds, claim, measured, allowed in studies(options.folder, options.experiments, options.seed):
        report.add(MARKS[holds], claim, measured, allowed)
        failed += holds is not None and not holds  # numpy's False is not False
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
