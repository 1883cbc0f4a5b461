"""What the audit log says of a change, in words."""

from service.experiments import auditing
from service.experiments.model import Experiment, Guardrail, Holdout, Variant
from tests.service.served import START, config

FIRST = config()


def of(*versions: object, state: str = "draft", running: int | None = None) -> Experiment:
    """An experiment of these versions."""
    return Experiment("dial", state, versions, running, START)  # type: ignore[arg-type]


def test_a_new_experiment_is_told_as_a_whole() -> None:
    """Who gets what, of whom, and what ends it."""
    guarded = FIRST._replace(guardrails=(Guardrail("latency", 0.2),), allocation=0.125)

    assert auditing.newest(None, of(guarded)) == (
        "split of low (λ2 0, weight 0.5), high (λ2 1, weight 0.5); 12.5 % of segment [0, 1) of layer default; "
        "primary purchases_per_user; guardrails latency (at most 20 % worse)"
    )


def test_a_drawn_lambda2_is_told_by_its_range() -> None:
    """It has no variants."""
    drawn = FIRST._replace(kind="random", variants=(), between=(0.0, 1.5))

    assert auditing.version(drawn).startswith("λ2 [0, 1.5); 100 % of segment")


def test_of_a_version_only_what_is_other_is_told() -> None:
    """Not what every version has of its own; a window that is none is called so."""
    second = FIRST._replace(
        version=2, created=START + 9, actor="bob", allocation=0.5, window=None, overrides={"ann": "low"}
    )

    said = auditing.newest(of(FIRST), of(FIRST, second))

    assert said == "allocation 1 → 0.5; overrides of 0 users → of 1 users; window 100 → none"


def test_a_split_that_is_another_one_is_said_to_be() -> None:
    """Its units are not analysed with those before it."""
    salted = FIRST._replace(version=2, series=2, salt="grain", variants=(*FIRST.variants[:1], Variant("all", 1.5, 0.5)))

    said = auditing.changes(FIRST, salted)

    assert said == (
        "salt dial → grain; variants low (λ2 0, weight 0.5), high (λ2 1, weight 0.5) → low (λ2 0, weight 0.5), "
        "all (λ2 1.5, weight 0.5); units are analysed anew: they split otherwise"
    )


def test_a_start_says_what_it_changes() -> None:
    """The first one everything, one after a pause that it goes on, one of another version what is other in that."""
    second = FIRST._replace(version=2, allocation=0.5)
    running, paused = of(FIRST, second, state="running", running=1), of(FIRST, second, state="paused", running=1)

    first = auditing.start(of(FIRST), of(FIRST, state="running", running=1))
    again = auditing.start(paused, running)
    other = auditing.start(running, running._replace(running=2))

    assert first == f"version 1 in force: {auditing.version(FIRST)}"
    assert again == "version 1 in force again"
    assert other == "version 2 in force instead of 1: allocation 1 → 0.5"


def test_a_version_like_the_last_one_says_so() -> None:
    """Rather than nothing."""
    assert auditing.changes(FIRST, FIRST._replace(version=2)) == "nothing is other than before"


def test_a_holdout_is_told_by_its_share() -> None:
    """And by its salt where that is another one."""
    assert auditing.holdout(Holdout(), Holdout(0.05)) == "share 0 → 0.05"
    assert auditing.holdout(Holdout(), Holdout(0.05, "new")) == "share 0 → 0.05; salt holdout → new"
