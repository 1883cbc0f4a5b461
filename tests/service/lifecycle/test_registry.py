"""Where bundles lie."""

import os
import shutil
from pathlib import Path

from service.registry import Registry
from tests.service.lifecycle.conftest import Shelf
from tests.service.lifecycle.world import bundle, point, truncated


def test_a_path_names_a_bundle_or_what_a_link_leads_to(shelf: Shelf) -> None:
    """Links are followed."""
    assert Registry(shelf.one).pointed().path == shelf.one
    assert Registry(shelf.link).pointed().path == shelf.one

    point(shelf.link, shelf.other)

    assert Registry(shelf.link).pointed().path == shelf.other


def test_of_a_folder_the_newest_link_counts_and_without_links_the_newest_bundle(shelf: Shelf) -> None:
    """The trainer makes the link anew for every bundle, also for one that was there before."""
    third = bundle(shelf.folder, 3)
    point(shelf.link, shelf.one)
    by_link = Registry(shelf.folder).pointed().path
    shelf.link.unlink()
    for age, path in enumerate((shelf.other, third, shelf.one)):
        os.utime(path / "manifest.json", ns=(0, -age))

    assert by_link == shelf.one
    assert Registry(shelf.folder).pointed().path == shelf.other


def test_what_is_being_written_is_no_bundle_yet(shelf: Shelf) -> None:
    """Neither a temporary folder nor one without a manifest."""
    shutil.copytree(shelf.one, shelf.folder / ".random-0123.17.tmp")
    (shelf.folder / "empty").mkdir()
    (shelf.folder / "dangling").symlink_to("nowhere")

    assert {entry.path for entry in Registry(shelf.folder).entries()} == {shelf.one, shelf.other}


def test_a_path_that_leads_nowhere_is_an_entry_with_its_problem(tmp_path: Path) -> None:
    """The loader says what is wrong; looking raises nothing."""
    (tmp_path / "link").symlink_to("nowhere")

    for name in ("link", "absent"):
        entry = Registry(tmp_path / name).pointed()

        assert (entry.id, entry.signature) == (None, ())
        assert "there is no bundle here" in str(entry.problem)


def test_a_bundle_that_is_written_anew_is_another(shelf: Shelf) -> None:
    """By any of its files; by none it is the same."""
    registry = Registry(shelf.link)
    before = registry.pointed()
    assert registry.pointed() == before

    (shelf.one / "golden.json").write_bytes((shelf.one / "golden.json").read_bytes()[:-1])

    assert registry.pointed().signature != before.signature
    assert registry.pointed().id == before.id


def test_the_one_named_is_among_the_entries_wherever_it_lies(shelf: Shelf, tmp_path: Path) -> None:
    """A link that leads out of its folder."""
    elsewhere = truncated(tmp_path / "elsewhere")
    shelf.link.unlink()
    shelf.link.symlink_to(elsewhere)

    assert {entry.path for entry in Registry(shelf.link).entries()} == {shelf.one, shelf.other, elsewhere}
