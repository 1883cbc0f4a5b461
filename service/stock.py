"""One snapshot of the catalogue, made ready to be searched, filtered and ranked for somebody unknown."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalrec.errors import BundleMismatch
from causalrec.joint import Joint, places
from causalrec.search import Searcher
from service.catalogue import Catalogue
from service.cold import ColdRanking
from service.filters import Filters


@dataclass(frozen=True)
class Stock:
    """
    What a request is planned and answered with, from its first to its last step.

    search: over all rows, cold items included. later: over the cold items alone, None without any.
    """

    catalogue: Catalogue
    search: Searcher | Joint
    filters: Filters
    later: Searcher | None
    cold: ColdRanking

    @classmethod
    def of(cls, catalogue: Catalogue, searcher: Searcher) -> "Stock":
        """The first stock of a bundle; `searcher` is over its items."""
        whole = cls(catalogue, searcher, Filters(catalogue.frame), None, ColdRanking(searcher))
        return whole if catalogue.cold is None else whole.after(catalogue, searcher)

    def after(self, catalogue: Catalogue, searcher: Searcher) -> "Stock":
        """
        The stock once `catalogue` holds; what did not change is shared.

        Raises: BundleMismatch when it is the catalogue of another bundle.
        """
        if catalogue.bundle is not self.catalogue.bundle:
            raise BundleMismatch("the catalogue was made for another bundle; make it anew for the one that is served")
        filters = self.filters if catalogue.frame is self.filters.frame else Filters(catalogue.frame)
        if catalogue.cold is None:
            return Stock(catalogue, searcher, filters, None, self.cold)
        if catalogue.cold is self.catalogue.cold and self.later is not None:
            return Stock(catalogue, self.search, filters, self.later, self.cold)
        ids, items = catalogue.bundle.items.ids, catalogue.bundle_items
        stands = np.array([bisect_left(ids, item_id) for item_id in catalogue.ids[items:]], dtype=np.int64)
        later = Searcher(catalogue.cold, "scan")
        return Stock(catalogue, Joint(searcher, later, places(stands, items)), filters, later, self.cold)

    def cold_scores(self, lambda2: float) -> NDArray[np.float64]:
        """What every row [R] scores for somebody unknown."""
        return self.cold.scores(lambda2, self.later)
