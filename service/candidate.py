"""A bundle on its way to be served: loaded, verified, proved by its golden answers and by what was asked lately."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from causalrec.bundle import Bundle, read_bundle
from causalrec.errors import (
    BundleCorrupt,
    BundleError,
    BundleMismatch,
    BundleMissing,
    DeviceOutOfMemory,
    RequestError,
)
from causalrec.golden import check_answer
from causalrec.index import Kind
from causalrec.manifest import Golden
from causalrec.search import Device, Searcher
from service.events import EventType
from service.planning import Wanted
from service.ranking import Ranker
from service.rehearsal import Rehearsed, rehearse

log = logging.getLogger(__name__)

Reason = Literal["missing", "corrupt", "mismatch", "golden", "shrunk", "rehearsal", "memory", "other"]

SAMPLE: Final = 10_000  # ids looked up to see how much of a vocabulary is still there


class GoldenMismatch(BundleMismatch):
    """A golden answer came out otherwise."""


class Shrunk(BundleError):
    """Too few of the users or items served now are in the bundle."""


class RehearsalFailed(BundleError):
    """A request that was really asked made the bundle fail."""


REASONS: Final[tuple[tuple[type[Exception], Reason], ...]] = (
    (BundleMissing, "missing"),
    (BundleCorrupt, "corrupt"),
    (GoldenMismatch, "golden"),
    (BundleMismatch, "mismatch"),
    (Shrunk, "shrunk"),
    (RehearsalFailed, "rehearsal"),
    (DeviceOutOfMemory, "memory"),
    (MemoryError, "memory"),
)


class Resident(NamedTuple):
    """
    A bundle in memory, ready to answer.

    loaded_at: seconds since 1970. rehearsed: None where there was nothing to rehearse beside.
    """

    ranker: Ranker
    path: Path
    loaded_at: float
    rehearsed: Rehearsed | None = None

    @property
    def id(self) -> str:
        """The bundle's content id."""
        return self.ranker.bundle.manifest.content_id


class Loader:
    """
    Makes bundles ready.

    Args:
        retrieval: how catalogues are searched (`Searcher`'s kind); None is what each bundle says of itself.
        device: where they are scanned.
        candidates, full_scan, excluding: as `Planner` takes them.
    """

    def __init__(
        self,
        *,
        retrieval: Kind | None,
        device: Device,
        candidates: int,
        full_scan: bool,
        excluding: frozenset[EventType],
    ) -> None:
        self._retrieval = retrieval
        self._device = device
        self._candidates = candidates
        self._full_scan = full_scan
        self._excluding = excluding

    def load(self, path: Path) -> Resident:
        """
        The bundle at `path`, verified, its golden answers replayed.

        Raises: BundleError when a file is missing, damaged or unfit, or a golden answer comes out otherwise.
        """
        started = time.perf_counter()
        bundle = read_bundle(path)
        ranker = Ranker(
            bundle,
            self._searcher(bundle),
            candidates=self._candidates,
            full_scan=self._full_scan,
            excluding=self._excluding,
        )
        for expected in bundle.golden:
            _replay(ranker, expected, path)
        _tell(bundle, path, time.perf_counter() - started)
        return Resident(ranker, path, time.time())

    def beside(self, path: Path, serving: Ranker, asked: Sequence[Wanted], *, least_known: float) -> Resident:
        """
        The same, to take the place of `serving` while that answers: with what was said of items, and warm.

        Args:
            asked: requests to rehearse.
            least_known: the share of the users and items served now that it must know.
        Raises: BundleError; whatever loading raises.
        """
        resident = self.load(path)
        ranker = resident.ranker
        _check_known(ranker.bundle, serving.bundle, path, least_known)
        said = serving.catalogue
        ranker.use(ranker.catalogue.holding(said.records.values(), said.version))
        try:
            rehearsed = rehearse(ranker, serving, asked)
        except Exception as error:
            detail = f"{path}: a request that was asked lately made it fail: {type(error).__name__}: {error}"
            raise RehearsalFailed(detail) from error
        return resident._replace(rehearsed=rehearsed)

    def _searcher(self, bundle: Bundle) -> Searcher:
        own = bundle.manifest.retrieval.index
        if self._retrieval is None or self._retrieval == own:
            return Searcher(bundle.weights, own, bundle.index, device=self._device)
        begun = time.perf_counter()
        searcher = Searcher(bundle.weights, self._retrieval, device=self._device)
        seconds = time.perf_counter() - begun
        log.info("retrieval is set to %s, the bundle's is %s: prepared in %.2f s", self._retrieval, own, seconds)
        return searcher


def reason(error: Exception) -> Reason:
    """Why a bundle cannot be served, as one word of a fixed set."""
    return next((word for sort, word in REASONS if isinstance(error, sort)), "other")


def _replay(ranker: Ranker, expected: Golden, path: Path) -> None:
    try:
        if expected.user_id is None:
            best = ranker.mean_user_ranking(expected.lambda2, expected.k)
        else:
            best = ranker.rank(Wanted(expected.user_id, expected.k, (expected.lambda2,)))[0].best
        check_answer(expected, [ranker.bundle.items.ids[row] for row in best.rows], best.scores.tolist())
    except (BundleMismatch, RequestError) as error:
        raise GoldenMismatch(f"{path / 'golden.json'}: {error}; export the bundle again with this version") from error


def _check_known(new: Bundle, old: Bundle, path: Path, least: float) -> None:
    """Raises: Shrunk where most of what is served now would be gone: of another shop, or of half a table."""
    for what, known, ids in (("users", new.users, old.users.ids), ("items", new.items, old.items.ids)):
        looked_up = ids[:: max(1, len(ids) // SAMPLE)]
        share = sum(each in known for each in looked_up) / max(1, len(looked_up))
        if share < least:
            raise Shrunk(
                f"{path}: knows {share:.0%} of the {len(ids)} {what} that are served now, and {least:.0%} are wanted "
                "(least_known); POST /v1/models/{id}/activate serves it all the same"
            )


def _tell(bundle: Bundle, path: Path, seconds: float) -> None:
    manifest = bundle.manifest
    log.info(
        "bundle %s (%s, %s, %s form, %d users, %d items) loaded from %s and %d golden answers replayed in %.2f s",
        manifest.content_id[:12],
        manifest.name,
        manifest.model.name,
        manifest.form,
        manifest.users,
        manifest.items,
        path,
        len(bundle.golden),
        seconds,
    )
    if manifest.model.undebiasable is not None:
        log.info("this bundle answers at λ2 = 0 only: %s", manifest.model.undebiasable)
    if manifest.diagnostics.dead:
        log.warning(
            "THE DIAL IS DEAD: this bundle's lists do not change with lambda2 (its manifest's diagnostics say so); "
            "answers are right but nothing is debiased. Train again, with the null treatment or features changed"
        )
