"""The bundles in memory, and which of them answers whom: swapped atomically between batches."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from causalrec.errors import NotReady
from causalrec.index import Kind
from causalrec.manifest import Manifest
from causalrec.search import Device
from service.candidate import Loader, Resident
from service.catalogue import Catalogue
from service.events import EventType
from service.experiments.assignment import place
from service.ranking import Ranker

Role = Literal["stable", "canary"]

NOTHING_LOADED = "no bundle has been loaded yet; try again when /health/ready says 200"


class Canary(NamedTuple):
    """A bundle that answers a share of the users."""

    resident: Resident
    share: float

    def has(self, user_id: str | None) -> bool:
        """
        Whether it answers the user: always the same ones, and more of them as the share grows. The salt is the
        bundle's own, so neither experiments nor the next canary split users alike. Who has no id is never among them.
        """
        return user_id is not None and place(f"canary:{self.resident.id}", user_id) < self.share


class Lineup(NamedTuple):
    """
    What is in memory, and what for. stable: answers everybody but the canary's users. previous: answered before it,
    and could again at once. shadow: answers nobody; its lists are compared with those that are served.
    """

    stable: Resident
    previous: Resident | None = None
    canary: Canary | None = None
    shadow: Resident | None = None

    def role(self, user_id: str | None) -> Role:
        """Which of them answers the user."""
        return "canary" if self.canary is not None and self.canary.has(user_id) else "stable"

    def ranker(self, user_id: str | None) -> Ranker:
        """What answers the user."""
        canary = self.canary
        return self.stable.ranker if canary is None or not canary.has(user_id) else canary.resident.ranker

    def residents(self) -> Iterator[Resident]:
        """Each once."""
        every = (self.stable, self.previous, self.canary and self.canary.resident, self.shadow)
        yield from {each.id: each for each in every if each is not None}.values()

    def roles(self) -> list[tuple[Role, Ranker]]:
        """Those that answer anybody."""
        stable: tuple[Role, Ranker] = ("stable", self.stable.ranker)
        return [stable] if self.canary is None else [stable, ("canary", self.canary.resident.ranker)]

    def find(self, content_id: str) -> Resident | None:
        """The one with this content id."""
        return next((each for each in self.residents() if each.id == content_id), None)


class Live:
    """
    What answers requests now. A batch reads `lineup` once and is answered by it whole.

    Args: as `Loader` takes them.
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
        self.loader = Loader(
            retrieval=retrieval, device=device, candidates=candidates, full_scan=full_scan, excluding=excluding
        )
        self._guard = threading.Lock()  # held while what is in memory, or what is said of items, changes
        self._lineup: Lineup | None = None
        self._complete = False
        self._retired = False

    def load(self, path: Path) -> Manifest:
        """Serves the bundle at `path`, the first one. Raises: BundleError (`Loader.load`)."""
        resident = self.loader.load(path)
        self._lineup = Lineup(resident)
        return resident.ranker.bundle.manifest

    def serve(self, resident: Resident, *, keep_previous: bool = True) -> None:
        """
        Every batch begun from now on is answered by `resident`; those under way end as they began.

        A canary of the same bundle has become what all get. Not for the event loop: it may wait for a change of items.
        """
        with self._guard:
            now = self._current(resident)
            previous = now.stable if now.stable.id != resident.id else now.previous
            canary = None if now.canary and now.canary.resident.id == resident.id else now.canary
            self._lineup = now._replace(stable=resident, previous=previous if keep_previous else None, canary=canary)

    def try_out(self, resident: Resident, share: float) -> None:
        """A share of the users is answered by `resident` from now on. Not for the event loop."""
        with self._guard:
            self._lineup = self._current(resident)._replace(canary=Canary(resident, share))

    def end_canary(self) -> None:
        """Everybody is answered by the stable bundle."""
        with self._guard:
            self._lineup = self.loaded_lineup._replace(canary=None)

    def compare_with(self, resident: Resident) -> None:
        """Lists are compared with those of `resident`, which answers nobody. Not for the event loop."""
        with self._guard:
            self._lineup = self._current(resident)._replace(shadow=resident)

    def use(self, catalogue: Catalogue) -> None:
        """
        What was said of items, for every bundle in memory, as each of them understands it: no answer holds what is
        hidden, whichever bundle makes it. Called by one worker thread at a time (`Items`).

        Args:
            catalogue: made from the stable bundle's; or from that of the one before, where they have just been swapped.
        """
        with self._guard:
            for ranker in (resident.ranker for resident in self.loaded_lineup.residents()):
                if ranker.bundle is catalogue.bundle:
                    ranker.use(catalogue)
                else:
                    ranker.use(ranker.catalogue.holding(catalogue.records.values(), catalogue.version))

    def beside(self) -> Ranker | None:
        """Of the bundle that lists are compared with."""
        return None if self._lineup is None or self._lineup.shadow is None else self._lineup.shadow.ranker

    def complete(self) -> None:
        """What is hidden is known: answers may be made."""
        self._complete = True

    @property
    def loaded_lineup(self) -> Lineup:
        """Whether or not answers may be made yet. Raises: NotReady before a bundle is loaded."""
        if self._lineup is None:
            raise NotReady(NOTHING_LOADED)
        return self._lineup

    @property
    def loaded(self) -> Ranker:
        """Of the stable bundle, whether or not answers may be made yet. Raises: NotReady before one is loaded."""
        return self.loaded_lineup.stable.ranker

    @property
    def lineup(self) -> Lineup:
        """What answers, also while stopping. Raises: NotReady before anything may be answered."""
        lineup = self.loaded_lineup
        if not self._complete:
            raise NotReady(
                "Redis has not said yet which items are hidden; try again when /health/ready says 200, or set "
                "start_without_state to be answered without"
            )
        return lineup

    @property
    def ranker(self) -> Ranker:
        """Of the stable bundle. Raises: NotReady before anything may be answered."""
        return self.lineup.stable.ranker

    def check_ready(self) -> Manifest:
        """The manifest of what is served. Raises: NotReady before a bundle is loaded and once stopping has begun."""
        if self._retired:
            raise NotReady("this process is stopping; send requests to another one")
        return self.ranker.bundle.manifest

    @property
    def ready(self) -> bool:
        """Whether `check_ready` raises nothing."""
        try:
            self.check_ready()
        except NotReady:
            return False
        return True

    def retire(self) -> None:
        """Not ready from now on; what still arrives is answered all the same."""
        self._retired = True

    def _current(self, resident: Resident) -> Lineup:
        """The lineup, with `resident` knowing what was said of items until now."""
        lineup = self.loaded_lineup
        if lineup.find(resident.id) is not resident:
            said = lineup.stable.ranker.catalogue
            resident.ranker.use(resident.ranker.catalogue.holding(said.records.values(), said.version))
        return lineup
