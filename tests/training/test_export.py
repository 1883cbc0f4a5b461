"""How an exported bundle is searched: what is asked for, what auto means, and what is measured of it."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from causalrec.bundle import read_bundle
from causalrec.errors import ConfigError
from causalrec.index import FAISS_KINDS, Index, Kind
from causalrec.search import Searcher
from causalrec.vectors import vector_width
from tests.bundles import make_bundle
from tests.training.test_run import small_config
from tests.worlds import write_data
from training import export
from training.config import ExportConfig, read_config
from training.export import PROBED_LAMBDA2, exact_lists, probe_retrieval, retrieval_kind, served_index
from training.report import describe
from training.run import run

LAMBDA2 = ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0", "1.2", "2.0"]


def test_auto_is_the_scan_up_to_200_000_items_and_the_codes_above() -> None:
    """And whatever else is asked for is what it is."""
    assert retrieval_kind("auto", 1, "paper") == retrieval_kind("auto", 200_000, "paper") == "scan"
    assert retrieval_kind("auto", 200_001, "paper") == "int8"
    assert all(retrieval_kind(kind, 5, "paper") == kind for kind in get_args(Kind))
    assert ExportConfig().retrieval == "auto"


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_is_measured_at_every_lambda2(kind: Kind) -> None:
    """Exact kinds find everything and prove it (flat and sq8 by certificate); approximate ones prove nothing."""
    bundle = make_bundle("paper", items=3000)
    probes = exact_lists(bundle.weights, bundle.seen)
    index = served_index(bundle.weights, kind, probes)

    probed = probe_retrieval(Searcher(bundle.weights, kind, index), probes, quiet=True)

    assert (index is not None) == (kind in FAISS_KINDS)
    assert list(probed.recall) == list(probed.exact_share) == LAMBDA2 == [str(at) for at in PROBED_LAMBDA2]
    sure = [at for at, share in probed.exact_share.items() if share == 1.0]
    assert all(probed.recall[at] == 1.0 for at in sure)
    if kind in ("scan", "int8"):
        assert sure == LAMBDA2
    elif kind in ("flat", "sq8"):
        assert min(probed.exact_share[at] for at in LAMBDA2[:5]) > 0.8
    else:
        assert set(probed.exact_share.values()) == {1 / 40}  # sated has three items left: all are scored
        assert min(probed.recall.values()) >= 0.9


def test_the_truth_is_the_float64_ranking_without_seen_items() -> None:
    """What recall is measured against."""
    bundle = make_bundle("authors")
    searcher = Searcher(bundle.weights, "scan")
    probes = exact_lists(bundle.weights, bundle.seen)

    for row, probe in enumerate(probes):
        rest = np.setdiff1d(np.arange(300), bundle.seen.items(row))
        for lambda2, best in zip(PROBED_LAMBDA2, probe.truth, strict=True):
            assert best.rows.tolist() == searcher.rank(bundle.weights.user(row), lambda2, 50, rest).rows.tolist()


def test_ivf_visits_as_few_cells_as_find_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recall asked for decides how many; asking for the impossible ends with all of them."""
    bundle = make_bundle("paper", items=3000)
    probes = exact_lists(bundle.weights, bundle.seen)

    def visited(recall: float) -> int:
        monkeypatch.setattr(export, "IVF_RECALL", recall)
        return Index(bundle.weights, "ivf", served_index(bundle.weights, "ivf", probes)).parameters["nprobe"]

    few, many, every = visited(0.5), visited(0.9), visited(1.1)

    assert few < many < every
    assert every == Index(bundle.weights, "ivf").parameters["nlist"]


@pytest.mark.parametrize(("asked", "kind"), [("auto", "scan"), ("ivf", "ivf"), ("sq8", "sq8")])
def test_the_bundle_is_searched_as_configured_and_says_so(tmp_path: Path, asked: str, kind: str) -> None:
    """Kind, index file, parameters and measurements of a run are in its bundle, and `inspect` shows them."""
    config = small_config(tmp_path, export={"out": tmp_path / "bundles", "retrieval": asked})

    bundle = read_bundle(run(config, write_data(tmp_path / "data"), quiet=True))

    retrieval = bundle.manifest.retrieval
    assert (retrieval.index, retrieval.width) == (kind, vector_width(bundle.weights))
    assert (bundle.index is None) == (kind == "scan")
    assert set(retrieval.parameters) == ({"nlist", "nprobe"} if kind == "ivf" else set())
    assert list(retrieval.recall) == list(retrieval.exact_share) == LAMBDA2
    shown = describe(bundle.manifest)
    assert f"retrieval   {kind}, 24 wide" in shown
    assert "recall@50   1.000 at λ2=0.0, " in shown


def test_the_sum_of_sigmoids_is_scanned(tmp_path: Path) -> None:
    """auto is a scan however many items there are; an index is refused before anything is trained, with the way out."""
    (tmp_path / "run.toml").write_text('[model]\nform = "sum"\n[export]\nretrieval = "ivf"\n')

    with pytest.raises(ConfigError, match=r"run.toml: .*\n.*'ivf' cannot serve the form 'sum'.*export.retrieval"):
        read_config(tmp_path / "run.toml")

    assert retrieval_kind("auto", 5_000_000, "sum") == "scan"


def test_a_model_that_cannot_be_debiased_is_exported_at_zero_alone(tmp_path: Path) -> None:
    """Range, default, sweep, golden answers, probes and diagnostics know no λ2 but 0, and the basis is the reason."""
    config = small_config(tmp_path, model={"name": "bpr", "dim": 8})

    bundle = read_bundle(run(config, write_data(tmp_path / "data", purchases=True), quiet=True))

    manifest, allowed = bundle.manifest, bundle.manifest.lambda2
    assert (allowed.default, allowed.minimum, allowed.maximum) == (0.0, 0.0, 0.0)
    assert allowed.basis == manifest.model.undebiasable
    assert [(row.ranking, row.lambda2) for row in manifest.sweep] == [("debiased", 0.0), ("popularity", None)]
    assert {golden.lambda2 for golden in bundle.golden} == {0.0}
    assert list(manifest.retrieval.recall) == list(manifest.diagnostics.overlap) == ["0.0"]
    assert not manifest.diagnostics.dead
    assert manifest.diagnostics.warnings() == []


@pytest.mark.parametrize("model", [{"name": "vbpr"}, {"name": "amr"}, {"form": "sum"}])
def test_models_that_can_be_are_exported_with_their_dial(tmp_path: Path, model: dict[str, str]) -> None:
    """The whole sweep, golden answers at 0, 1 and 2, and a range up to 3."""
    config = small_config(tmp_path, model={"dim": 8, **model})

    bundle = read_bundle(run(config, write_data(tmp_path / "data", purchases=True), quiet=True))

    swept = tuple(row.lambda2 for row in bundle.manifest.sweep if row.ranking == "debiased")
    assert swept == config.evaluate.lambda2
    assert "match_alone" in {row.ranking for row in bundle.manifest.sweep}
    assert {golden.lambda2 for golden in bundle.golden} == {0.0, 1.0, 2.0}
    assert (bundle.manifest.lambda2.maximum, bundle.manifest.diagnostics.null) == (3.0, None)
    assert bundle.manifest.diagnostics.overlap["1.0"] < 1.0


def test_the_notice_that_is_not_squashed_saturates_nothing(tmp_path: Path) -> None:
    """The additive form takes n as it is: large logits are no warning there, as they are in the sum of sigmoids."""
    data = write_data(tmp_path / "data")

    def saturated(model: dict[str, str]) -> float:
        config = small_config(tmp_path, model={"dim": 8, **model})
        loud = config.model_copy(
            update={"fit": config.fit.model_copy(update={"learning_rate": 0.5, "l2": 0.0, "epochs": 30})}
        )
        return read_bundle(run(loud, data, quiet=True)).manifest.diagnostics.notice_saturated

    assert saturated({"form": "additive"}) == 0.0
    assert saturated({"form": "sum"}) > 0.0
