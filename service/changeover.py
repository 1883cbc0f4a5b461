"""From one bundle to another on this replica: beside the running one, then at once; or refused, and remembered."""

import contextlib
import ctypes
import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from causalrec.errors import CausalRecError
from causalrec.files import write_atomically
from causalrec.manifest import Manifest
from service.aside import aside
from service.candidate import Reason, Resident, reason
from service.live import Live
from service.registry import Entry, Registry, Signature
from service.rehearsal import Recent

log = logging.getLogger(__name__)

SHORT: Final = 12  # characters of a content id that name a bundle, as its folder's name does


class ModelRefused(CausalRecError):
    """The bundle cannot be served; what was served goes on."""

    def __init__(self, why: Reason, error: Exception) -> None:
        super().__init__(f"{why}: {error}" if isinstance(error, CausalRecError) else f"{why}: {error!r}")
        self.reason = why


class Refusal(NamedTuple):
    """
    Why a bundle was refused, and what it was like then: until it is another it is not tried again unless somebody asks.

    at: seconds since 1970; None where it was only looked at.
    """

    reason: Reason
    detail: str
    at: float | None
    signature: Signature


class Told(Protocol):
    """What is counted (service.model_telemetry)."""

    def refused(self, reason: Reason) -> None: ...
    def swapped(self) -> None: ...


class Changeover:
    """
    Brings bundles into service, one at a time: who calls sees to that.

    Args:
        recent: requests to rehearse new bundles with.
        serving: told of the manifest of what is served, now and after every change.
        last: a file that remembers what was served (`first`).
        keep_previous: the bundle served before stays in memory, so that going back takes no time.

    before: where the bundle lies that was served before. refusals: by the bundle's folder.
    """

    def __init__(
        self,
        live: Live,
        recent: Recent,
        telemetry: Told,
        serving: Callable[[Manifest], None],
        *,
        last: Path,
        keep_previous: bool = True,
    ) -> None:
        self._live = live
        self._recent = recent
        self._telemetry = telemetry
        self._serving = serving
        self._last = last
        self._keep_previous = keep_previous
        self.before: Path | None = None
        self.refusals: dict[Path, Refusal] = {}
        self._took_over()

    async def serve(self, target: Entry | Resident, least_known: float = 0.0) -> None:
        """
        Everybody is answered by it before this returns.

        Args:
            least_known: the share of the users and items served now that it must know.
        Raises: ModelRefused; what was served goes on.
        """
        stable = self._live.loaded_lineup.stable
        if target.id == stable.id:
            return
        resident = await self.ready(target, least_known)
        await aside(lambda: self._live.serve(resident, keep_previous=self._keep_previous))
        self.before = stable.path
        self._telemetry.swapped()
        self._took_over()
        log.info("bundle %s takes the place of %s", resident.id[:SHORT], stable.id[:SHORT])
        await aside(settle)

    async def try_out(self, target: Entry | Resident | None, share: float) -> None:
        """A share of the users is answered by it; none by None, or by what everybody gets. Raises: ModelRefused."""
        lineup = self._live.loaded_lineup
        if target is not None and share > 0 and target.id != lineup.stable.id:
            resident = await self.ready(target)
            await aside(lambda: self._live.try_out(resident, share))
        elif lineup.canary is not None:
            await aside(self._live.end_canary)

    async def compare_with(self, target: Entry | Resident) -> None:
        """Lists that are served are compared with those of this one. Raises: ModelRefused."""
        resident = await self.ready(target)
        await aside(lambda: self._live.compare_with(resident))

    async def ready(self, target: Entry | Resident, least_known: float = 0.0) -> Resident:
        """It in memory, proved. Raises: ModelRefused; it is then remembered as refused."""
        if isinstance(target, Resident):
            return target
        lineup = self._live.loaded_lineup
        if target.id is not None and (known := lineup.find(target.id)) is not None:
            return known
        loader, serving, asked = self._live.loader, lineup.stable.ranker, self._recent.asked()

        def load() -> Resident | ModelRefused:
            try:
                return loader.beside(target.path, serving, asked, least_known=least_known)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a bundle, what is served goes on
                return ModelRefused(reason(error), error)  # without the traceback, which has what was loaded of it

        loaded = await aside(load)
        if isinstance(loaded, Resident):
            self.refusals.pop(target.path, None)
            await aside(settle)
            return loaded
        self.refuse(target, loaded)
        await aside(settle)
        try:
            raise loaded
        finally:
            del loaded  # else it and this frame keep each other in memory, and the bundles that the frame knows

    def refuse(self, entry: Entry, refused: ModelRefused) -> None:
        """Remembers that a bundle was to be served and could not be."""
        self.refusals[entry.path] = Refusal(refused.reason, str(refused), time.time(), entry.signature)
        self._telemetry.refused(refused.reason)
        log.error("bundle %s is refused, and what was served goes on: %s", entry.path, refused)

    def _took_over(self) -> None:
        stable = self._live.loaded_lineup.stable
        self._serving(stable.ranker.bundle.manifest)
        try:
            write_atomically(self._last, f"{stable.path}\n".encode())
        except OSError as error:
            log.warning("what is served cannot be remembered in %s (%s)", self._last, error)


class First(NamedTuple):
    """What the path named at the start, and why that is not what is served; None where it is."""

    pointed: Entry
    refused: ModelRefused | None


def first(live: Live, registry: Registry, last: Path) -> First:
    """
    Loads the bundle that the path names; where that must not be served, the one that was served last, as `last` says:
    a process that ends for whatever reason comes back while somebody has pointed the path at something broken.

    Raises: BundleError when nothing was served before, or that cannot be served either.
    """
    pointed = registry.pointed()
    try:
        live.load(pointed.path)
    except Exception as error:
        try:
            before = Path(last.read_text("utf-8").strip())
        except (OSError, UnicodeDecodeError):
            raise error from None
        if before == pointed.path or not before.is_dir():
            raise
        log.exception("bundle %s cannot be served; the one that was served last is", pointed.path)
        live.load(before)
        return First(pointed, ModelRefused(reason(error), error))
    return First(pointed, None)


def settle() -> None:
    """
    What is loaded stays: no collection walks through it again. A bundle that was given up is gone by then without one;
    its memory goes back to the system, where the C library can be asked to give it back (glibc).
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
