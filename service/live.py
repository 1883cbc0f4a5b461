"""The bundle being served: loaded, verified, proved by its golden answers, and only then ready."""

import logging
import time
from pathlib import Path

from pydantic import ValidationError

from causalrec.bundle import read_bundle
from causalrec.errors import BundleMismatch, NotReady, RequestError
from causalrec.golden import check_answer
from causalrec.manifest import Golden, Manifest
from service.ranking import Ranker
from service.schemas import RecommendationRequest

log = logging.getLogger(__name__)


class Live:
    """
    What answers requests now.

    Args:
        candidates, full_scan: how bundles are searched (`Ranker`).
    """

    def __init__(self, *, candidates: int, full_scan: bool) -> None:
        self._candidates = candidates
        self._full_scan = full_scan
        self._ranker: Ranker | None = None
        self._retired = False

    def load(self, path: Path) -> Manifest:
        """
        Serves the bundle at `path` from now on.

        Raises: BundleError when a file is missing, damaged or unfit, or a golden answer comes out otherwise.
        """
        started = time.perf_counter()
        bundle = read_bundle(path)
        ranker = Ranker(bundle, candidates=self._candidates, full_scan=self._full_scan)
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

    @property
    def ranker(self) -> Ranker:
        """Of the bundle being served, also while stopping. Raises: NotReady before one is loaded."""
        if self._ranker is None:
            raise NotReady("no bundle has been loaded yet; try again when /health/ready says 200")
        return self._ranker

    def check_ready(self) -> Manifest:
        """The manifest of what is served. Raises: NotReady before a bundle is loaded and once stopping has begun."""
        if self._retired:
            raise NotReady("this process is stopping; send requests to another one")
        return self.ranker.bundle.manifest

    def retire(self) -> None:
        """Not ready from now on; what still arrives is answered all the same."""
        self._retired = True


def _replay(ranker: Ranker, expected: Golden, path: Path) -> None:
    try:
        if expected.user_id is None:
            best = ranker.mean_user_ranking(expected.lambda2, expected.k)
        else:
            wanted = RecommendationRequest(user_id=expected.user_id, lambda2=expected.lambda2, k=expected.k)
            best = ranker.rank(wanted).best
        check_answer(expected, [ranker.bundle.items.ids[row] for row in best.rows], best.scores.tolist())
    except (BundleMismatch, RequestError, ValidationError) as error:
        raise BundleMismatch(f"{path / 'golden.json'}: {error}; export the bundle again with this version") from error
