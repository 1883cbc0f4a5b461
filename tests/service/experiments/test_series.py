"""Which units are analysed together, and for how long what they do counts."""

from service.experiments.model import Config, Experiment, Tuning
from service.experiments.series import first_series, open_until, pooled
from tests.service.served import HALVES, START, config

TUNED = config(kind="tuned", tuning=Tuning(0.1, 60.0))


def of(*versions: Config, state: str = "running", running: int | None = 1) -> Experiment:
    """An experiment of these versions."""
    return Experiment("dial", state, versions, running, START)  # type: ignore[arg-type]


def moved(version: int, weight: float = 0.25) -> Config:
    """A version of TUNED with other weights."""
    variants = (HALVES[0]._replace(weight=weight), HALVES[1]._replace(weight=1 - weight))
    return TUNED._replace(version=version, series=version, variants=variants)


def test_a_split_is_reported_by_the_series_in_force() -> None:
    """Units that were split otherwise are not compared with these."""
    versions = (config(), config(version=2), config(version=3, series=3))

    assert [pooled(of(*versions, running=running)) for running in (1, 2, 3)] == [(1,), (1,), (3,)]


def test_a_tuned_experiment_is_reported_by_all_versions_between_the_same_variants() -> None:
    """Up to the one in force, whatever their weights; its timeline goes on."""
    other = TUNED._replace(version=1, variants=(HALVES[0], HALVES[1]._replace(lambda2=1.5)))
    experiment = of(other, moved(2), moved(3, 0.1), moved(4), running=3)

    assert pooled(experiment) == (2, 3)
    assert first_series(experiment) == 2


def test_outcomes_count_until_the_last_window_closes() -> None:
    """A week where there is none; for good while it is not stopped; not before the first start."""
    short, long = config(window=60.0), config(window=None)

    assert open_until(of(short, state="draft", running=None)) == 0.0
    assert open_until(of(short)) is None
    assert open_until(of(short, state="paused")) is None
    assert open_until(of(short, state="stopped")) == START + 60
    assert open_until(of(long, state="stopped")) == START + 7 * 86_400
