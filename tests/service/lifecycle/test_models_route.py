"""Models by hand: listed, served, gone back to; what is wrong said in problems."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from causalrec.errors import StateUnavailable
from service.candidate import Reason
from service.model_schemas import ChangedAnswer, ModelsAnswer
from service.state.models import ModelStore
from tests.service.conftest import Serve
from tests.service.lifecycle.conftest import Shelf
from tests.service.lifecycle.world import (
    BAD,
    MODELS,
    edited,
    id_of,
    is_of,
    look,
    metric,
    of_another_schema,
    of_few_items,
    of_other_answers,
    point,
    problem,
    recommended,
    told,
    true_list,
    truncated,
    with_nan,
)


def test_every_bundle_beside_the_one_served_is_listed(serve: Serve, shelf: Shelf) -> None:
    """With what it says of itself, once each, whatever links lead to it."""
    (shelf.folder / "also").symlink_to(shelf.one.name)
    client = serve(bundle=shelf.link)

    answer = ModelsAnswer.model_validate(client.get(MODELS).json())

    assert (answer.serving, answer.behind, answer.canary) == (shelf.ids[0], False, None)
    by_path = {each.path: each for each in answer.models}
    one, other = by_path.pop(str(shelf.one)), by_path.pop(str(shelf.other))
    assert not by_path
    assert (one.id, one.state, one.name, one.form, one.users, one.items) == (
        *(shelf.ids[0], "serving", "random", "paper", 40, 300),
    )
    assert (one.golden, other.golden, other.state) == (6, None, "available")
    assert one.loaded_at is not None


def test_activating_serves_before_it_is_answered(serve: Serve, shelf: Shelf) -> None:
    """Here at once; that it is served already is no error. The id may be as long as a folder's name has it."""
    client = serve(bundle=shelf.link)

    answers = [client.post(f"{MODELS}/{shelf.ids[1][:length]}/activate") for length in (12, 64)]

    for answer in answers:
        changed = ChangedAnswer.model_validate(answer.json())
        assert (changed.serving, changed.wanted, changed.all_replicas) == (shelf.ids[1], shelf.ids[1], True)
    assert is_of(recommended(client), shelf.other, "ann")
    assert metric(client, "causalrec_model_swaps_total") == 1


def test_what_was_activated_stays_until_the_link_is_moved(serve: Serve, shelf: Shelf) -> None:
    """That it leads to another bundle all along is no reason to go back."""
    client = serve(bundle=shelf.link)
    third = edited(shelf.folder)  # moves the link, to a bundle that is refused
    client.post(f"{MODELS}/{shelf.ids[1]}/activate")

    look(client)
    look(client)
    kept = recommended(client)["bundle_id"]
    point(shelf.link, shelf.one)
    look(client)

    assert kept == shelf.ids[1]
    assert recommended(client)["bundle_id"] == shelf.ids[0]
    assert told(client, third)["state"] == "refused"


def test_rolling_back_is_instant_and_there_and_back(serve: Serve, shelf: Shelf) -> None:
    """From memory: nothing is read, so the files may even be gone; it is listed all the same."""
    client, ids = serve(bundle=shelf.link), shelf.ids
    client.post(f"{MODELS}/{ids[1]}/activate")
    truth = true_list(shelf.one, "ann", 0.6)
    shutil.rmtree(shelf.one)

    back = client.post(f"{MODELS}/rollback").json()
    listed = recommended(client)
    forth = client.post(f"{MODELS}/rollback").json()

    assert (back["serving"], forth["serving"]) == ids
    assert (listed["bundle_id"], [(each["item_id"], each["score"]) for each in listed["items"]]) == (
        ids[0],
        truth,
    )
    assert told(client, shelf.one)["state"] == "previous"


def test_rolling_back_without_the_previous_one_in_memory_loads_it(serve: Serve, shelf: Shelf) -> None:
    """Slower, and the same."""
    client = serve(bundle=shelf.link, keep_previous=False)
    client.post(f"{MODELS}/{shelf.ids[1]}/activate")

    assert client.post(f"{MODELS}/rollback").json()["serving"] == shelf.ids[0]
    assert is_of(recommended(client), shelf.one, "ann")


def test_there_may_be_nothing_to_go_back_to(serve: Serve, shelf: Shelf) -> None:
    """409, and the way out."""
    client = serve(bundle=shelf.link)

    refused = problem(client.post(f"{MODELS}/rollback"), 409, "model-conflict")

    assert "activate" in refused.detail


@pytest.mark.parametrize("model_id", ["f" * 64, "f" * 12, "nothing", ""])
def test_a_bundle_that_is_not_there_is_not_found(serve: Serve, shelf: Shelf, model_id: str) -> None:
    """404 for an id that is nobody's."""
    client = serve(bundle=shelf.link)

    problem(client.post(f"{MODELS}/{model_id or shelf.ids[1][:11]}/activate"), 404, "unknown-model")


@pytest.mark.parametrize(("made", "reason"), [(made, BAD[made]) for made in (truncated, with_nan, of_other_answers)])
def test_a_bad_bundle_is_a_422_and_changes_nothing(
    serve: Serve, shelf: Shelf, made: Callable[[Path], Path], reason: Reason
) -> None:
    """The problem says why; whoever asks again is answered anew."""
    client = serve(bundle=shelf.link)
    bad = made(shelf.folder)

    for _ in range(2):
        refused = problem(client.post(f"{MODELS}/{id_of(bad)}/activate"), 422, "model-refused")
        assert refused.detail.startswith(f"{reason}: {bad}")

    assert is_of(recommended(client), shelf.one, "ann")
    assert metric(client, f'causalrec_model_load_failures_total{{reason="{reason}"}}') == 2
    assert client.get(MODELS).json()["wanted"] is None


def test_who_asks_by_name_may_have_a_smaller_bundle(serve: Serve, shelf: Shelf) -> None:
    """What watching refuses as shrunk: a person knows why."""
    client = serve(bundle=shelf.link)
    small = of_few_items(shelf.folder)
    look(client)
    assert told(client, small)["reason"] == "shrunk"

    answer = client.post(f"{MODELS}/{id_of(small)}/activate")

    assert answer.json()["serving"] == id_of(small)
    assert told(client, small)["state"] == "serving"


def test_a_manifest_that_cannot_be_read_is_listed_as_refused(serve: Serve, shelf: Shelf) -> None:
    """Without an id; nobody has to have offered it."""
    client = serve(bundle=shelf.one)
    bad = of_another_schema(shelf.folder)

    found = told(client, bad)

    assert (found["id"], found["name"], found["state"], found["reason"]) == (None, bad.name, "refused", "mismatch")


def test_without_redis_it_is_of_this_replica_alone(serve: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the answer says so."""
    client = serve(bundle=shelf.link)

    async def away(*_: object) -> None:
        raise StateUnavailable("Redis does not answer")

    monkeypatch.setattr(ModelStore, "newest", away)

    changed = client.post(f"{MODELS}/{shelf.ids[1]}/activate").json()

    assert (changed["serving"], changed["all_replicas"]) == (shelf.ids[1], False)
    assert is_of(recommended(client), shelf.other, "ann")


def test_a_restarted_process_serves_what_was_activated(serve: Serve, shelf: Shelf) -> None:
    """It is remembered with the state; but a link that leads elsewhere by then is newer."""
    serve(bundle=shelf.link).post(f"{MODELS}/{shelf.ids[1]}/activate")

    again = recommended(serve(bundle=shelf.link))["bundle_id"]
    third = of_few_items(shelf.folder)
    pointed = recommended(serve(bundle=shelf.link))["bundle_id"]

    assert again == shelf.ids[1]
    assert pointed == id_of(third)


def test_a_process_whose_path_was_broken_serves_what_it_served_last(serve: Serve, shelf: Shelf) -> None:
    """Killed for whatever reason, it comes back; it says what is wrong with what the path names."""
    first = serve(bundle=shelf.link)
    point(shelf.link, shelf.other)
    look(first)
    bad = truncated(shelf.folder)

    client = serve(bundle=shelf.link)

    assert is_of(recommended(client), shelf.other, "ann")
    assert told(client, bad)["reason"] == "corrupt"
    assert metric(client, 'causalrec_model_load_failures_total{reason="corrupt"}') == 1
    assert metric(client, "causalrec_model_refused") == 1
