"""The use cases of models: which bundle is served, tried out, gone back to; found by watching, or asked for."""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

from causalrec.errors import CausalRecError, StateUnavailable
from causalrec.manifest import Manifest
from service.aside import aside
from service.candidate import Resident, reason
from service.changeover import SHORT, Changeover, ModelRefused, Refusal
from service.live import Live
from service.registry import Entry, Registry
from service.state.models import ModelStore, Said, Wish

log = logging.getLogger(__name__)

ATTEMPTS: Final = 5  # where another replica says something at the same moment

ModelState = Literal["serving", "previous", "canary", "shadow", "available", "refused"]


class NoSuchModel(CausalRecError):
    """This replica has no such bundle."""

    def __init__(self, model_id: str) -> None:
        super().__init__(
            f"there is no bundle {model_id[:80]!r} here; GET /v1/models lists those there are, and {SHORT} or more "
            "characters of an id name one"
        )


class ModelConflict(CausalRecError):
    """What is asked does not go with what is served: the message says what would."""


class Model(NamedTuple):
    """One bundle of this replica. manifest: None where it cannot be read. resident: while it is in memory."""

    path: Path
    manifest: Manifest | None
    state: ModelState
    resident: Resident | None = None
    refusal: Refusal | None = None

    @property
    def id(self) -> str | None:
        """The content id that it says it has."""
        return None if self.manifest is None else self.manifest.content_id


class Models:
    """
    Changes which bundle this replica serves, one change at a time, and says so to the others.

    Args:
        pointed: what the registry's path named when the first bundle was loaded.
        least_known: the share of the users and items served now that a bundle found by watching must know.

    behind: the bundle that all replicas are to serve and this one cannot.
    """

    def __init__(
        self,
        live: Live,
        registry: Registry,
        pointed: Entry,
        store: ModelStore,
        changeover: Changeover,
        *,
        least_known: float = 0.0,
    ) -> None:
        self._live = live
        self._registry = registry
        self._pointed = pointed
        self._store = store
        self._changeover = changeover
        self._least_known = least_known
        self._moving = asyncio.Lock()
        self._said: Said | None = None
        self.behind: str | None = None

    def gauges(self) -> dict[str, Callable[[], float]]:
        """For service.model_telemetry."""
        live, refusals = self._live, self._changeover.refusals
        return {
            "model_loaded_timestamp_seconds": lambda: live.loaded_lineup.stable.loaded_at,
            "model_resident": lambda: len(list(live.loaded_lineup.residents())),
            "model_refused": lambda: _as_it_was(self._pointed, refusals.get(self._pointed.path)),
            "model_behind": lambda: self.behind is not None,
            "model_canary_share": lambda: 0.0 if (now := live.loaded_lineup.canary) is None else now.share,
            "model_rehearsal_slower": lambda: _slower(live.loaded_lineup.stable),
        }

    @property
    def wanted(self) -> Wish:
        """What is wanted of all replicas, as far as this one has heard."""
        return Wish() if self._said is None else self._said.wish

    async def follow(self) -> None:
        """Serves what any replica says, as long as the process lives; never returns."""
        await self._store.follow(self.catch_up)

    async def watch(self, every: float) -> None:
        """Looks at the path every so many seconds; never returns."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.look()
            except Exception:
                log.exception("the bundles beside %s could not be looked at", self._pointed.path)

    async def look(self) -> None:
        """Serves what the path names, if that is something else than when it was looked at last."""
        async with self._moving:
            found = await aside(self._registry.pointed)
            before, self._pointed = self._pointed, found
            if (found.path, found.signature) != (before.path, before.signature):
                with suppress(ModelRefused):  # it is remembered, and counted
                    await self._changeover.serve(found, self._least_known)
                    if found.id != before.id:
                        await self._say(lambda wish: _without_serving(wish, found.id), "watch")
            elif self.behind is not None:
                await self._come_to(self.wanted)  # what was missing may be there by now

    async def catch_up(self) -> None:
        """Serves what was said last, if this replica has not heard it. Raises: StateUnavailable."""
        async with self._moving:
            said = await self._store.newest()
            if self._said is not None and self._said.at == said.at:
                return
            first, self._said = self._said is None, said
            if not first or said.wish.pointer == self._pointed.id:  # else it is of replicas set up with another path
                await self._come_to(said.wish)

    async def every(self) -> list[Model]:
        """The bundles that there are here, served or not."""
        entries = {entry.path: entry for entry in await aside(self._registry.entries)}
        lineup, refusals = self._live.loaded_lineup, self._changeover.refusals
        for path in [each for each in refusals if each not in entries]:
            del refusals[path]
        gone = [each for each in lineup.residents() if not any(_is(each, entry) for entry in entries.values())]
        return [
            *(self._model(entry) for entry in entries.values()),
            *(Model(each.path, each.ranker.bundle.manifest, _role(self._live, each), each) for each in gone),
        ]

    async def get(self, model_id: str) -> Model:
        """The one of this id, or of the only id that begins so. Raises: NoSuchModel."""
        every = [each for each in await self.every() if each.id is not None and each.id.startswith(model_id)]
        if len(model_id) < SHORT or len({each.id for each in every}) != 1:
            raise NoSuchModel(model_id)
        return min(every, key=lambda each: (each.resident is None, each.refusal is not None))

    async def activate(self, model_id: str, actor: str) -> bool:
        """
        Serves the bundle to everybody, here before this returns, then on every replica that has it.

        Returns: whether the other replicas will hear of it; not while Redis is away.
        Raises: NoSuchModel; ModelRefused, after which what was served goes on.
        """
        async with self._moving:
            await self._changeover.serve(await self._target(model_id))
            return await self._tell(actor)

    async def roll_back(self, actor: str) -> bool:
        """As `activate`, of the bundle served before. Raises: ModelConflict where there is none; ModelRefused."""
        async with self._moving:
            previous, before = self._live.loaded_lineup.previous, self._changeover.before
            if previous is None and before is None:
                raise ModelConflict(
                    "this process has served no other bundle since it began; POST /v1/models/{id}/activate names one"
                )
            await self._changeover.serve(previous or await _at(before or Path()))
            return await self._tell(actor)

    async def try_out(self, model_id: str, share: float, actor: str) -> bool:
        """
        A share of the users is answered by this bundle; by the stable one again when the share is 0.

        Returns: as `activate`. Raises: NoSuchModel, ModelRefused; ModelConflict where it is what everybody gets, or
            where another bundle is being tried out.
        """
        async with self._moving:
            target, lineup = await self._target(model_id), self._live.loaded_lineup
            now = None if lineup.canary is None else lineup.canary.resident.id
            if now not in (None, target.id):
                raise ModelConflict(f"{(now or '')[:SHORT]} is being tried out; end that first, with a share of 0")
            if share > 0 and target.id == lineup.stable.id:
                raise ModelConflict("everybody is answered by this bundle; try out another one")
            await self._changeover.try_out(target, share)
            return await self._tell(actor)

    async def compare_with(self, name: str) -> None:
        """Lists are compared with those of the bundle at this path, or of this id; what is wrong with it is logged."""
        async with self._moving:
            path = Path(name)
            try:
                await self._changeover.compare_with(await (_at(path) if path.is_dir() else self._target(name)))
            except NoSuchModel as error:
                log.error("nothing is compared: shadow_model=%s: %s", name, error)  # noqa: TRY400
            except ModelRefused:
                log.error("nothing is compared: shadow_model=%s was refused", name)  # noqa: TRY400

    async def _come_to(self, wish: Wish) -> None:
        """Serves what is wanted, as far as it can."""
        self.behind = None
        if wish.serving is not None:
            await self._attempt(wish.serving, self._changeover.serve)
        if wish.canary is None:
            await self._changeover.try_out(None, 0)
        else:
            await self._attempt(wish.canary, lambda target: self._changeover.try_out(target, wish.share))

    async def _attempt(self, content_id: str, act: Callable[[Entry | Resident], Coroutine[None, None, None]]) -> None:
        try:
            target = await self._target(content_id)
            refusal = self._changeover.refusals.get(target.path)
            if isinstance(target, Entry) and _as_it_was(target, refusal):
                self.behind = content_id  # said and counted when it was
                return
            await act(target)
        except (NoSuchModel, ModelRefused) as error:
            if self.behind is None:
                log.warning("bundle %s is wanted and not served here: %s", content_id[:SHORT], error)
            self.behind = content_id

    async def _tell(self, actor: str) -> bool:
        """Says what is served here to the others; whether they will hear it."""
        lineup, canary = self._live.loaded_lineup, self._live.loaded_lineup.canary
        share = 0.0 if canary is None else canary.share
        wish = Wish(lineup.stable.id, self._pointed.id, canary and canary.resident.id, share)
        self.behind = None
        return await self._say(lambda _: wish, actor)

    async def _say(self, change: Callable[[Wish], Wish], actor: str) -> bool:
        with suppress(StateUnavailable):
            for _ in range(ATTEMPTS):
                before = await self._store.newest()
                wish = change(before.wish)
                said = before if wish == before.wish else await self._store.commit(before, wish, actor)
                if said is not None:
                    self._said = said
                    return True
        log.warning("the other replicas are not told which bundle is served here")
        return False

    async def _target(self, model_id: str) -> Entry | Resident:
        """Raises: NoSuchModel."""
        model = await self.get(model_id)
        return model.resident or await _at(model.path)

    def _model(self, entry: Entry) -> Model:
        refusal = self._changeover.refusals.get(entry.path)
        refusal = refusal if _as_it_was(entry, refusal) else None
        if refusal is None and entry.problem is not None:
            refusal = Refusal(reason(entry.problem), str(entry.problem), None, entry.signature)
        resident = next((each for each in self._live.loaded_lineup.residents() if _is(each, entry)), None)
        if resident is not None:
            manifest = resident.ranker.bundle.manifest
            return Model(entry.path, manifest, _role(self._live, resident), resident, refusal)
        return Model(entry.path, entry.manifest, "refused" if refusal else "available", refusal=refusal)


def _is(resident: Resident, entry: Entry) -> bool:
    """Whether it was loaded from there; also where that cannot be read any more."""
    return resident.id == entry.id or (entry.id is None and resident.path == entry.path)


async def _at(path: Path) -> Entry:
    return await aside(Registry(path).pointed)


def _without_serving(wish: Wish, pointer: str | None) -> Wish:
    """What was said before the path named another bundle holds no more, for whoever starts from now on."""
    stale = wish.serving is not None and wish.pointer != pointer
    return Wish(None, pointer, wish.canary, wish.share) if stale else wish


def _as_it_was(entry: Entry, refusal: Refusal | None) -> bool:
    """Whether it was refused and is still the same."""
    return refusal is not None and refusal.signature == entry.signature


def _slower(resident: Resident) -> float:
    rehearsed = resident.rehearsed
    return math.nan if rehearsed is None or rehearsed.slower is None else rehearsed.slower


def _role(live: Live, resident: Resident) -> ModelState:
    lineup = live.loaded_lineup
    if resident is lineup.stable:
        return "serving"
    if lineup.canary is not None and resident is lineup.canary.resident:
        return "canary"
    return "previous" if resident is lineup.previous else "shadow"
