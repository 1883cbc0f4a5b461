"""What the benchmarks compute by themselves: the oracle's order, quantiles of histograms, tables, synthetic models."""

import importlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks import histograms, oracle, report
from benchmarks.catalogue import synthetic
from benchmarks.models import Model, random_questions
from benchmarks.oracle import Truth
from benchmarks.paths import joined, points, verdict
from causalrec.equations import Form
from causalrec.path import Lambda2Path, Piece
from causalrec.search import Searcher

FORMS: tuple[Form, ...] = ("paper", "authors", "additive", "sum")
NOTHING = np.empty(0, dtype=np.int64)
COMMANDS = (
    "agreement",
    "catalogue",
    "epoch",
    "exactness",
    "kernels",
    "load",
    "paths",
    "peer_cornac",
    "peer_quality",
    "recall",
    "soak",
    "startup",
    "trainer",
)
SCRAPE = """
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.1",route="/a"} 10.0
wait_seconds_bucket{le="0.2",route="/a"} 90.0
wait_seconds_bucket{le="+Inf",route="/a"} 100.0
wait_seconds_bucket{le="0.1",route="/{id}"} 30.0
wait_seconds_bucket{le="0.2",route="/{id}"} 30.0
wait_seconds_bucket{le="+Inf",route="/{id}"} 30.0
wait_seconds_sum{route="/a"} 12.5
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_benchmark_explains_itself(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--help says what is measured, and how to run it."""
    module = importlib.import_module(f"benchmarks.{command}")
    monkeypatch.setattr("sys.argv", [command, "--help"])

    with pytest.raises(SystemExit) as stopped:
        module.main()

    assert stopped.value.code == 0
    assert f"python -m benchmarks.{command}" in capsys.readouterr().out


def test_the_oracle_breaks_ties_by_row_and_leaves_the_excluded_out() -> None:
    """Best first; equal scores in the order of rows; what is excluded never comes back, however good."""
    scores = np.array([1.0, 3.0, 2.0, 3.0, 3.0, 0.0])

    found = oracle.best(scores, 3, np.array([1]))

    assert found.tolist() == [3, 4, 2]


@pytest.mark.parametrize(("k", "expected"), [(0, []), (2, [1, 0]), (9, [1, 0, 2])])
def test_the_oracle_gives_at_most_what_there_is(k: int, expected: list[int]) -> None:
    """No k is too small or too large."""
    assert oracle.best(np.array([2.0, 5.0, 1.0]), k, NOTHING).tolist() == expected


def test_sigmoid_stands_any_logit() -> None:
    """No overflow warning (warnings are errors), and the limits are met."""
    assert oracle.sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_buckets_are_summed_over_the_labels_not_given() -> None:
    """Labels may hold braces; a label that is given selects."""
    assert histograms.buckets(SCRAPE, "wait_seconds") == {0.1: 40.0, 0.2: 120.0, float("inf"): 130.0}
    assert histograms.buckets(SCRAPE, "wait_seconds", route="/{id}")[0.1] == 30.0
    assert histograms.total(SCRAPE, "wait_seconds_sum", route="/a") == 12.5


@pytest.mark.parametrize(("share", "expected"), [(0.1, 0.1), (0.5, 0.15), (0.9, 0.2), (0.99, 0.2)])
def test_quantiles_are_even_within_a_bucket(share: float, expected: float) -> None:
    """As Prometheus' histogram_quantile; beyond the last finite limit it is that limit."""
    observed = histograms.buckets(SCRAPE, "wait_seconds", route="/a")

    assert histograms.quantile(observed, share) == pytest.approx(expected)


def test_nothing_observed_has_no_quantile() -> None:
    """The difference of equal scrapes is empty, and says so."""
    observed = histograms.buckets(SCRAPE, "wait_seconds")

    assert np.isnan(histograms.quantile(histograms.difference(observed, observed), 0.99))


def test_a_report_is_on_disk_as_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Row by row, so that a run that is stopped leaves what it measured."""
    table = report.Report("Title", "python -m x", ("a", "b"), tmp_path / "out.md")

    table.add(1, None)

    assert (tmp_path / "out.md").read_text() == capsys.readouterr().out
    assert (tmp_path / "out.md").read_text().endswith("| a | b |\n|---|---|\n| 1 |  |\n")


@pytest.mark.parametrize("form", FORMS)
def test_a_synthetic_model_is_as_trained_ones_are(form: Form) -> None:
    """Its logits spread as SPREAD says and correlate within users; the same call gives the same model."""
    truth, again = Truth.of(synthetic(3000, form, users=50)), Truth.of(synthetic(3000, form, users=50))

    logits = np.stack([truth.logits(row) for row in range(50)])
    within = logits.std(axis=2).mean(axis=0)
    correlation = np.median([np.corrcoef(one) for one in logits], axis=0)

    assert within == pytest.approx([1.1, 0.8, 1.6], rel=0.1)
    assert correlation[0, 1] > 0.6
    assert correlation[0, 2] > 0.3
    assert correlation[1, 2] > 0.3
    assert all(np.array_equal(truth.w[name], again.w[name]) for name in truth.w)


def test_random_questions_can_be_answered() -> None:
    """Every question is within what the service accepts, and some exclude nothing, some very much."""
    model = Model.synthetic(300, "paper")

    asked = [one.query for one in random_questions(model, 100)]

    assert all(0 <= at <= 3 for query in asked for at in query.lambda2)
    assert all(len(np.unique(query.excluded)) == len(query.excluded) for query in asked)
    assert min(len(query.excluded) for query in asked) == 0
    assert max(len(query.excluded) for query in asked) >= 100


@pytest.mark.parametrize("form", FORMS)
def test_the_oracle_and_the_search_agree(form: Form) -> None:
    """Two implementations that share no code rank alike."""
    model = Model.synthetic(400, form)
    truth, searcher = Truth.of(model.weights), Searcher(model.weights, "scan")

    for one in random_questions(model, 30):
        for at, answer in zip(one.query.lambda2, searcher.batch([one.query])[0], strict=True):
            assert answer.rows.tolist() == truth.top(one.row, at, one.query.k, one.query.excluded).tolist()


def test_a_path_is_checked_at_both_ends_and_in_the_middle_of_every_piece() -> None:
    """Just inside the ends, however short the piece; gaps, repeated lists and a short end are seen."""
    one, other = np.array([1, 2]), np.array([2, 1])
    path = Lambda2Path((Piece(0.0, 0.5, one), Piece(0.5, 3.0, other)), truncated=False)

    checked = points(path)

    assert [round(at, 6) for at, _ in checked] == [0.0, 0.25, 0.5, 0.5, 1.75, 3.0]
    assert all(before < after for (before, _), (after, _) in pairwise(checked))
    assert joined(path, 3.0)
    assert not joined(path, 4.0)
    assert not joined(Lambda2Path((Piece(0.0, 0.5, one), Piece(0.6, 3.0, other)), truncated=False), 3.0)
    assert not joined(Lambda2Path((Piece(0.0, 0.5, one), Piece(0.5, 3.0, one)), truncated=False), 3.0)


def test_a_wrong_list_is_called_wrong() -> None:
    """Two items out of order whose scores differ are no tie."""
    truth = Truth.of(synthetic(300, "paper", users=5))
    logits = truth.logits(0)
    right = truth.top(0, 0.8, 10, NOTHING, logits)

    swapped = right[[1, 0, *range(2, 10)]]

    assert verdict(truth, 0, 0.8, right, NOTHING, logits) == "right"
    assert verdict(truth, 0, 0.8, swapped, NOTHING, logits) == "wrong"
