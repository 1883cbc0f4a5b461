"""The bundle being served: loaded, verified, proved by its golden answers, and only then ready."""

import logging
import time
from pathlib import Path

from causalrec.bundle import Bundle, read_bundle
from causalrec.errors import BundleMismatch, NotReady, RequestError
from causalrec.golden import check_answer
from causalrec.index import Kind
from causalrec.manifest import Golden, Manifest
from causalrec.search import Device, Searcher
from service.events import EventType
from service.planning import Wanted
from service.ranking import Ranker

log = logging.getLogger(__name__)


class Live:
    """
    What answers requests now.

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
        self._complete = False
        self._ranker: Ranker | None = None
        self._retired = False

    def load(self, path: Path) -> Manifest:
        """
        Serves the bundle at `path` from now on.

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
        self._ranker = ranker
        manifest = bundle.manifest
        log.info(
            "bundle %s (%s, %s form, %d users, %d items) loaded from %s and %d golden answers replayed in %.2f s",
            manifest.content_id[:12],
            manifest.name,
            manifest.form,
            manifest.users,
            manifest.items,
            path,
            len(bundle.golden),
            time.perf_counter() - started,
        )
        if manifest.diagnostics.dead:
            log.warning(
                "THE DIAL IS DEAD: this bundle's lists do not change with lambda2 (its manifest's diagnostics say so); "
                "answers are right but nothing is debiased. Train again, with the null treatment or features changed"
            )
        return manifest

    def complete(self) -> None:
        """What is hidden is known: answers may be made."""
        self._complete = True

    @property
    def loaded(self) -> Ranker:
        """Of the bundle, whether or not answers may be made yet. Raises: NotReady before one is loaded."""
        if self._ranker is None:
            raise NotReady("no bundle has been loaded yet; try again when /health/ready says 200")
        return self._ranker

    @property
    def ranker(self) -> Ranker:
        """Of the bundle being served, also while stopping. Raises: NotReady before anything may be answered."""
        ranker = self.loaded
        if not self._complete:
            raise NotReady(
                "Redis has not said yet which items are hidden; try again when /health/ready says 200, or set "
                "start_without_state to be answered without"
            )
        return ranker

    def check_ready(self) -> Manifest:
        """The manifest of what is served. Raises: NotReady before a bundle is loaded and once stopping has begun."""
        if self._retired:
            raise NotReady("this process is stopping; send requests to another one")
        return self.ranker.bundle.manifest

    def retire(self) -> None:
        """Not ready from now on; what still arrives is answered all the same."""
        self._retired = True

    def _searcher(self, bundle: Bundle) -> Searcher:
        own = bundle.manifest.retrieval.index
        if self._retrieval is None or self._retrieval == own:
            return Searcher(bundle.weights, own, bundle.index, device=self._device)
        begun = time.perf_counter()
        searcher = Searcher(bundle.weights, self._retrieval, device=self._device)
        seconds = time.perf_counter() - begun
        log.info("retrieval is set to %s, the bundle's is %s: prepared in %.2f s", self._retrieval, own, seconds)
        return searcher


def _replay(ranker: Ranker, expected: Golden, path: Path) -> None:
    try:
        if expected.user_id is None:
            best = ranker.mean_user_ranking(expected.lambda2, expected.k)
        else:
            best = ranker.rank(Wanted(expected.user_id, expected.k, (expected.lambda2,)))[0].best
        check_answer(expected, [ranker.bundle.items.ids[row] for row in best.rows], best.scores.tolist())
    except (BundleMismatch, RequestError) as error:
        raise BundleMismatch(f"{path / 'golden.json'}: {error}; export the bundle again with this version") from error
