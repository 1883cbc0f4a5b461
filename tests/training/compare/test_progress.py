"""The time a comparison takes: what is said of it before and while it goes on."""

from collections import Counter

import pytest

from causalrec.errors import ConfigError
from tests.training.compare.world import MML, VBPR, first_quest, small
from tests.worlds import write_data
from training.compare.config import CompareConfig
from training.compare.pace import Pace, check, measure
from training.compare.progress import Overview, in_words
from training.compare.work import News
from training.prepare import Prepared, prepare


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(small().base(0), write_data(tmp_path_factory.mktemp("data")))


PACES = {"VBPR": Pace(build=1.0, epoch=3.0, judge=5.0, epochs=10), "CausalRec MML": Pace(0.0, 1.0, 5.0, 10)}


def overview(config: CompareConfig, prepared: Prepared, jobs: int = 1) -> Overview:
    """Of a search for VBPR, and two cells of each model."""
    made = Overview(config, PACES, jobs, quiet=True)
    made.expect([first_quest(config, prepared)], Counter({"VBPR": 2, "CausalRec MML": 2}))
    return made


def test_the_time_said_at_first_is_that_of_full_trainings(prepared: Prepared) -> None:
    """Trials × epochs × an epoch, and for every cell the judging too; workers share it."""
    config = small(search={"trials": 4})

    assert overview(config, prepared).left == 4 * 31 + 2 * (31 + 5) + 2 * (10 + 5)
    assert overview(config, prepared, jobs=2).left == overview(config, prepared).left / 2


def test_a_search_takes_no_longer_than_it_may(prepared: Prepared) -> None:
    """The minutes allowed bound what is expected, less what is spent."""
    seen = overview(small(search={"trials": 4, "minutes": 1}), prepared)

    before = seen.left
    seen.hear(News("begun", "VBPR", None))
    seen.hear(News("trial", "VBPR", None, 31.0))

    assert before == 60 + 2 * (31 + 5) + 2 * (10 + 5)
    assert seen.left == 29 + 2 * (31 + 5) + 2 * (10 + 5)


def test_what_trainings_really_took_corrects_what_is_left(prepared: Prepared) -> None:
    """A mean of those seen, judging apart; a search that ends early expects no more trials."""
    seen = overview(small(search={"trials": 4}), prepared)

    seen.hear(News("begun", "VBPR", None))
    seen.hear(News("trial", "VBPR", None, 10.0))
    seen.hear(News("trial", "VBPR", None, 20.0))
    during = seen.left
    seen.hear(News("ended", "VBPR", None))
    seen.hear(News("ended", "CausalRec MML", 0, 9.0))

    assert during == 2 * 15 + 2 * (15 + 5) + 2 * (10 + 5)
    assert seen.left == 2 * (15 + 5) + (4 + 5)


def test_a_search_begun_again_tells_its_trials_again(prepared: Prepared) -> None:
    """After a worker's death nothing is counted twice."""
    seen = overview(small(search={"trials": 4}), prepared)
    for _ in range(2):
        seen.hear(News("begun", "VBPR", None))
        seen.hear(News("trial", "VBPR", None, 31.0))

    assert seen.left == 3 * 31 + 2 * (31 + 5) + 2 * (10 + 5)


def test_every_model_is_built_and_timed(prepared: Prepared) -> None:
    """On the comparison's own data, with its own epochs."""
    config = small(VBPR, {**MML, "fit": {"epochs": 7}})

    paces = measure(config, config.models, check(config, config.models, prepared), prepared, quiet=True)

    assert [pace.epochs for pace in paces.values()] == [3, 7]
    assert all(pace.epoch > 0 and pace.judge > 0 for pace in paces.values())


def test_a_model_that_the_data_cannot_feed_is_named(prepared: Prepared) -> None:
    """With what it lacks, before anything is trained."""
    config = small(VBPR, {"label": "Styles", "model": {"name": "deepstyle"}})

    with pytest.raises(ConfigError, match=r"Styles: .*categor"):
        check(config, config.models, prepared)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (95, "2 min"), (89 * 60, "89 min"), (3 * 3600 + 290, "3 h 5 min")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    """As people say them."""
    assert in_words(seconds) == words
