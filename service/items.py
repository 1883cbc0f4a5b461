"""The use cases of the live catalogue: said once, known to every replica."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch

from causalrec.errors import RequestError, ShapeError
from service import attributes
from service.catalogue import Catalogue, CatalogueFull, ItemRecord, NoSuchItem
from service.pictures import Pictures
from service.state.catalogue import CatalogueStore, Changes, Written

Kind = Literal["trained", "cold", "unplaced"]


class Item(NamedTuple):
    """
    What is known of one item. kind: trained (the bundle's), cold (placed by its feature), unplaced (said, but the
    bundle served here neither knows it nor can use its feature). version: of the live catalogue it was read from.
    """

    item_id: str
    attributes: Mapping[str, object]
    hidden: bool
    kind: Kind
    version: int


class Items:
    """
    Changes the catalogue and says what is in it. A change is answered when the next answer of this process has it;
    other replicas follow within a moment.

    Args:
        catalogue: the snapshot that answers are made from now.
        swap: makes a snapshot that one. Called by one worker thread at a time, so that what it takes keeps nobody
            waiting but who changed the catalogue.
    """

    def __init__(
        self,
        store: CatalogueStore,
        pictures: Pictures,
        catalogue: Callable[[], Catalogue],
        swap: Callable[[Catalogue], None],
    ) -> None:
        self._store = store
        self._pictures = pictures
        self._catalogue = catalogue
        self._swap = swap

    async def follow(self) -> None:
        """Takes over what any replica says, as long as the process lives; never returns."""
        await self._store.follow(self._apply)

    async def loaded(self, within: float) -> None:
        """Until all that was said before is known here. Raises: StateUnavailable after `within` seconds."""
        await self._store.applied(0, within=within)

    def get(self, item_id: str) -> Item:
        """What this process knows, also while Redis is away. Raises: NoSuchItem, also for a deleted one."""
        catalogue = self._catalogue()
        row, record = catalogue.row(item_id), catalogue.records.get(item_id)
        if (row is None and record is None) or (record is not None and record.deleted):
            raise NoSuchItem(item_id)
        said = dict(record.attributes) if record is not None else {}
        if row is not None:
            said = catalogue.frame.row(row, named=True)
            said.pop(attributes.ID)
        kind: Kind = "unplaced" if row is None else "cold" if row >= catalogue.bundle_items else "trained"
        return Item(item_id, said, record is not None and record.hidden, kind, catalogue.version)

    async def put(
        self,
        item_id: str,
        said: Mapping[str, object],
        *,
        picture: bytes | None = None,
        feature: Sequence[float] | None = None,
    ) -> tuple[Item, bool]:
        """
        Makes an item, or replaces what was said of it; one that is hidden stays hidden.

        Args:
            said: its attributes; those left out are null, none at all leaves a trained item's as they were trained.
            picture: encoded; or feature: [F], raw, of the bundle's backbone. One of them for an item that the bundle
                was not trained with; a trained one keeps its vectors.
        Returns: the item, and whether there was none before.
        Raises: RequestError naming the field; CatalogueFull, StateUnavailable, Overloaded.
        """
        catalogue = self._catalogue()
        attributes.check(said, catalogue.bundle.catalogue.schema)
        trained = catalogue.bundle.items.row(item_id) is not None
        backbone = catalogue.bundle.visual.backbone
        if picture is not None:
            feature = (await self._pictures.feature(picture, backbone)).tolist()
        elif feature is None and not trained:
            detail = "is needed for an item that the bundle was not trained with; send a picture, or a feature"
            raise RequestError("picture", None, detail)
        content = None if feature is None else _checked(catalogue, feature, "feature" if picture is None else "picture")
        record = ItemRecord(item_id, said, content, None if content is None else backbone, hidden=False, deleted=False)
        written = await self._put(record)
        await self._store.applied(written.version)
        return self.get(item_id), written.before == "deleted" or (written.before == "absent" and not trained)

    async def patch(self, item_id: str, *, hidden: bool) -> Item:
        """Hides an item or shows it again. Raises: NoSuchItem, StateUnavailable."""
        await self._known(item_id)
        await self._done(item_id, await self._store.patch(item_id, hidden=hidden))
        return self.get(item_id)

    async def delete(self, item_id: str) -> None:
        """No answer holds the item from now on, whatever bundle is served, until it is PUT. Raises: as `patch`."""
        await self._known(item_id)
        await self._done(item_id, await self._store.delete(item_id))

    async def _known(self, item_id: str) -> None:
        """Raises: NoSuchItem where there is none, also none that another replica made just now."""
        try:
            self.get(item_id)
        except NoSuchItem:
            await self._store.catch_up()
            self.get(item_id)

    async def _done(self, item_id: str, written: Written) -> None:
        if written.before == "deleted":  # by another replica, just now
            raise NoSuchItem(item_id)
        await self._store.applied(written.version)

    async def _put(self, record: ItemRecord) -> Written:
        try:
            return await self._store.put(record)
        except CatalogueFull:
            for superfluous in self._catalogue().superfluous():
                await self._store.forget(superfluous)
            return await self._store.put(record)

    async def _apply(self, changes: Changes) -> None:
        await asyncio.to_thread(self._take, changes)

    def _take(self, changes: Changes) -> None:
        now = self._catalogue()
        if changes.whole:
            self._swap(now.holding(changes.records, changes.version))
        else:
            self._swap(now.changed(changes.records, changes.version, changes.gone))


def _checked(catalogue: Catalogue, feature: Sequence[float], field: str) -> bytes:
    """The feature's bytes. Raises: RequestError where the bundle cannot place an item by it."""
    visual = catalogue.bundle.visual
    width = len(visual.scaling.mean)
    if len(feature) != width:
        detail = f"has {len(feature)} numbers; {visual.backbone!r}, the backbone of this bundle, makes {width}"
        raise RequestError(field, len(feature), detail)
    with np.errstate(over="ignore"):
        values = np.asarray(feature, dtype="<f4")
    try:
        catalogue.placer.place(torch.from_numpy(values.astype(np.float32))[None])
    except ShapeError as error:
        raise RequestError(field, "the feature", f"{error}; send a raw feature of {visual.backbone!r}") from error
    return values.tobytes()
