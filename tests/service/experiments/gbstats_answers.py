"""
Answers with gbstats. Runs in its environment, not in ours: questions as JSON on stdin, answers on stdout.

    {"tests": {name: {"a": S, "b": S, "alpha": α, "relative": bool, "tuning": N*}}, "srm": [counts, weights]}

S: {"n": …, "y": [sum, sum of squares]} of a mean; with "d": the same of a denominator and "yd": sum of products, of a
ratio; with "x" and "yx", and "theta": true, of a mean adjusted by what was known before.
"""

import json
import sys
from typing import Any

from gbstats.frequentist.tests import (  # type: ignore[import-not-found]
    SequentialConfig,
    SequentialTwoSidedTTest,
)
from gbstats.models.statistics import (  # type: ignore[import-not-found]
    RatioStatistic,
    RegressionAdjustedStatistic,
    SampleMeanStatistic,
    compute_theta,
)
from gbstats.utils import check_srm  # type: ignore[import-not-found]


def statistic(of: dict[str, Any]) -> Any:
    """gbstats' object for S."""

    def mean(name: str) -> Any:
        return SampleMeanStatistic(n=of["n"], sum=of[name][0], sum_squares=of[name][1])

    if "d" in of:
        return RatioStatistic(n=of["n"], m_statistic=mean("y"), d_statistic=mean("d"), m_d_sum_of_products=of["yd"])
    if "x" in of:
        return RegressionAdjustedStatistic(
            n=of["n"], post_statistic=mean("y"), pre_statistic=mean("x"), post_pre_sum_of_products=of["yx"], theta=0
        )
    return mean("y")


def answer(test: dict[str, Any]) -> dict[str, Any]:
    """The difference and its sequential interval."""
    a, b = statistic(test["a"]), statistic(test["b"])
    if "x" in test["a"]:
        a.theta = b.theta = compute_theta(a, b)
    config = SequentialConfig(
        alpha=test["alpha"],
        difference_type="relative" if test["relative"] else "absolute",
        sequential_tuning_parameter=test["tuning"],
    )
    found = SequentialTwoSidedTTest(a, b, config).compute_result()
    return {"expected": float(found.expected), "ci": [float(end) for end in found.ci]}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    answers = {name: answer(test) for name, test in asked["tests"].items()}
    json.dump({"tests": answers, "srm": float(check_srm(*asked["srm"]))}, sys.stdout)
