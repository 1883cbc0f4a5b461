"""What one replica is told all serve, each as far as it can."""

import shutil
from pathlib import Path

from fastapi.testclient import TestClient

from tests.service.conftest import Serve
from tests.service.lifecycle.conftest import Shelf
from tests.service.lifecycle.world import (
    MODELS,
    bundle,
    call,
    id_of,
    is_of,
    look,
    metric,
    models,
    point,
    recommended,
    truncated,
)


def serves(client: TestClient, path: Path) -> None:
    """Returns once it does."""
    while recommended(client)["bundle_id"] != id_of(path):
        pass


def heard(client: TestClient) -> None:
    """Returns once the replica has come to what was said last."""
    call(client, models(client).catch_up)


def test_what_one_is_told_all_serve(serve: Serve, shelf: Shelf) -> None:
    """By itself, within a moment; going back too."""
    one, other = serve(bundle=shelf.link), serve(bundle=shelf.link)

    one.post(f"{MODELS}/{shelf.ids[1]}/activate")
    serves(other, shelf.other)
    answer = recommended(other)
    other.post(f"{MODELS}/rollback")
    serves(one, shelf.one)

    assert is_of(answer, shelf.other, "ann")
    assert one.get(MODELS).json()["wanted"] == shelf.ids[0]


def test_all_try_out_the_same_bundle_on_the_same_users(serve: Serve, shelf: Shelf) -> None:
    """And all end it."""
    one, other = serve(bundle=shelf.link), serve(bundle=shelf.link)
    users = [f"user-{number:02d}" for number in range(30)]

    one.post(f"{MODELS}/{shelf.ids[1]}/canary", json={"share": 0.5})
    heard(other)
    both = [[recommended(client, user)["bundle_id"] for user in users] for client in (one, other)]
    other.post(f"{MODELS}/{shelf.ids[1]}/canary", json={"share": 0})
    heard(one)

    assert both[0] == both[1]
    assert set(both[0]) == set(shelf.ids)
    assert one.get(MODELS).json()["canary"] is None


def test_who_has_no_such_bundle_says_so_and_goes_on(serve: Serve, shelf: Shelf, tmp_path: Path) -> None:
    """Until it is there."""
    own = shutil.copytree(shelf.one, tmp_path / "elsewhere" / shelf.one.name)
    one, other = serve(bundle=shelf.link), serve(bundle=own)

    one.post(f"{MODELS}/{shelf.ids[1]}/activate")
    heard(other)
    before = recommended(other)
    lagging = (other.get(MODELS).json()["behind"], metric(other, "causalrec_model_behind"))
    shutil.copytree(shelf.other, own.parent / shelf.other.name)
    look(other)

    assert is_of(before, shelf.one, "ann")
    assert lagging == (True, 1)
    assert is_of(recommended(other), shelf.other, "ann")
    assert metric(other, "causalrec_model_behind") == 0


def test_whose_copy_is_damaged_refuses_it_once_and_goes_on(serve: Serve, shelf: Shelf, tmp_path: Path) -> None:
    """However often it looks; the others serve it."""
    own = shutil.copytree(shelf.one, tmp_path / "elsewhere" / shelf.one.name)
    copy = shutil.copytree(shelf.other, own.parent / shelf.other.name)
    (copy / "golden.json").write_bytes(b"[]")
    one, other = serve(bundle=shelf.link), serve(bundle=own)

    one.post(f"{MODELS}/{shelf.ids[1]}/activate")
    heard(other)
    for _ in range(3):
        look(other)

    assert is_of(recommended(one), shelf.other, "ann")
    assert is_of(recommended(other), shelf.one, "ann")
    assert metric(other, 'causalrec_model_load_failures_total{reason="corrupt"}') == 1
    assert metric(other, "causalrec_model_behind") == 1


def test_a_bad_bundle_is_wanted_of_nobody(serve: Serve, shelf: Shelf) -> None:
    """Who is asked tries it first, and says nothing to the others."""
    one, other = serve(bundle=shelf.link), serve(bundle=shelf.link)
    bad = truncated(shelf.folder)

    assert one.post(f"{MODELS}/{id_of(bad)}/activate").status_code == 422
    heard(other)

    assert other.get(MODELS).json()["wanted"] is None
    assert metric(other, 'causalrec_model_load_failures_total{reason="corrupt"}') == 0


def test_a_replica_set_up_with_another_path_goes_by_its_own(serve: Serve, shelf: Shelf) -> None:
    """What was wanted before is not wanted of it; what is said from then on is."""
    one = serve(bundle=shelf.one)
    one.post(f"{MODELS}/{shelf.ids[1]}/activate")
    third = bundle(shelf.folder, 3)

    later = serve(bundle=third)
    at_first = recommended(later)["bundle_id"]
    one.post(f"{MODELS}/rollback")
    serves(later, shelf.one)

    assert at_first == id_of(third)


def test_a_link_that_was_moved_is_newer_than_what_was_said(serve: Serve, shelf: Shelf) -> None:
    """Also when it leads back to where it led then."""
    third = bundle(shelf.folder, 3)
    point(shelf.link, shelf.one)
    one = serve(bundle=shelf.link)
    one.post(f"{MODELS}/{shelf.ids[1]}/activate")
    for path in (third, shelf.one):
        point(shelf.link, path)
        look(one)

    later = serve(bundle=shelf.link)

    assert [recommended(each)["bundle_id"] for each in (one, later)] == [shelf.ids[0]] * 2
