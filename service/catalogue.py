"""The items as answers know them at one moment: the bundle's, and what was said of items since."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import NamedTuple, Self

import numpy as np
import polars as pl
import torch
from torch import Tensor

from causalrec.bundle import Bundle
from causalrec.equations import ItemArrays
from causalrec.errors import CausalRecError, ShapeError
from causalrec.placing import Placer
from causalrec.topk import Rows
from causalrec.weights import Weights
from service import attributes

log = logging.getLogger(__name__)


class NoSuchItem(CausalRecError):
    """There is no such item, or it was deleted."""

    def __init__(self, item_id: str) -> None:
        super().__init__(f"there is no item {item_id[:100]!r}; PUT makes one")


class CatalogueFull(CausalRecError):
    """As many items are new, changed or deleted as may be."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most} items are new, changed or deleted since the bundle, and no more may be; serve a bundle that was "
            "trained with what is in the shop now"
        )


class ItemRecord(NamedTuple):
    """
    What was said of one item while serving.

    attributes: by column; empty leaves a trained item's as the bundle has them. feature: the picture's, raw, float32
    little-endian; None where none was given. backbone: identity of the network that made it. deleted: kept, so that
    no bundle brings the item back.
    """

    item_id: str
    attributes: Mapping[str, object]
    feature: bytes | None
    backbone: str | None
    hidden: bool
    deleted: bool


@dataclass(frozen=True)
class Catalogue:
    """
    An immutable snapshot. Rows below `bundle_items` are the bundle's; cold items follow in the order of their ids.

    A trained item keeps its trained vectors, whatever picture was sent for it since: what its γᵢ learnt belongs to
    the picture it was trained with. Its attributes are those last sent. A new item is placed by its picture alone
    (`causalrec.placing`), one at a time: where it stands does not depend on what arrived with it, so that replicas
    agree to the bit. A new item without a usable feature (none, of another backbone, or of another width than the
    bundle's) is passed over and counted in `skipped`; a later bundle may know or place it.
    """

    bundle: Bundle
    version: int
    """Of the live changes; 0 is the bundle alone."""
    records: Mapping[str, ItemRecord]
    """Everything said of items, by id; also what this bundle cannot use."""
    ids: Sequence[str]
    """Of all rows."""
    frame: pl.DataFrame
    """Attributes of all rows, row-aligned; the columns and types of the bundle's catalogue."""
    hidden: Rows
    """Sorted rows that no answer may hold: hidden or deleted."""
    cold: Weights | None
    """The bundle's users with the cold items as items: row j is row bundle_items + j. None without any."""
    skipped: int
    placer: Placer
    _trained: pl.DataFrame
    _replaced: Mapping[int, Mapping[str, object]]
    _cold_rows: Mapping[str, int]

    @classmethod
    def of(cls, bundle: Bundle, records: Iterable[ItemRecord] = (), version: int = 0) -> Self:
        """The snapshot in which exactly `records` have been said of the bundle's items and of new ones."""
        nothing: Rows = np.empty(0, dtype=np.int64)
        own, placer = bundle.catalogue, Placer(bundle.weights, bundle.visual)
        empty = cls(bundle, version, {}, bundle.items.ids, own, nothing, None, 0, placer, own, {}, {})
        return empty.holding(records, version)

    def changed(self, records: Iterable[ItemRecord], version: int, gone: Iterable[str] = ()) -> Self:
        """
        The snapshot after `records` were said too, and what was said of the items `gone` was forgotten.

        Shares with this one what did not change; when items were only hidden or shown, all but `hidden`.
        """
        said = {record.item_id: record for record in records}
        after = {**self.records, **said}
        for item_id in gone:
            after.pop(item_id, None)
        touched = {*said, *gone}
        if any(self._content(each, self.records.get(each)) != self._content(each, after.get(each)) for each in touched):
            return self._rebuilt(after, version)
        out = [each for each in touched if (record := after.get(each)) and (record.hidden or record.deleted)]
        hidden = np.union1d(np.setdiff1d(self.hidden, self.rows(touched)), self.rows(out))
        return replace(self, version=version, records=after, hidden=hidden)

    def holding(self, records: Iterable[ItemRecord], version: int) -> Self:
        """The snapshot in which exactly `records` are said; shares with this one what is the same."""
        return self._rebuilt({record.item_id: record for record in records}, version)

    @property
    def bundle_items(self) -> int:
        """I, how many items the bundle holds: the rows below it are theirs."""
        return len(self.bundle.items)

    def row(self, item_id: str) -> int | None:
        """The row of `item_id`, hidden or not; None where there is no such item."""
        row = self.bundle.items.row(item_id)
        return self._cold_rows.get(item_id) if row is None else row

    def rows(self, item_ids: Iterable[str]) -> Rows:
        """The rows of the known ones among `item_ids`, in the order given; unknown ids are passed over."""
        known = (self.row(item_id) for item_id in item_ids)
        return np.fromiter((row for row in known if row is not None), dtype=np.int64)

    def superfluous(self) -> list[ItemRecord]:
        """
        What need not be said any more: attributes that the bundle was trained with, a picture of a trained item, that
        an item was deleted which the bundle does not know.
        """
        found = []
        for record in self.records.values():
            row = self.bundle.items.row(record.item_id)
            if row is None:
                if record.deleted:
                    found.append(record)
            elif not record.hidden and not record.deleted and self._says_nothing_new(row, record):
                found.append(record)
        return found

    def _says_nothing_new(self, row: int, record: ItemRecord) -> bool:
        if not record.attributes:
            return True
        own = self.bundle.catalogue
        return self.frame.row(row) == own.row(row)

    def _content(self, item_id: str, record: ItemRecord | None) -> object:
        """What of a record reaches frame and vectors; equal contents make equal rows."""
        there = record is not None and not record.deleted
        if self.bundle.items.row(item_id) is not None:
            return record.attributes if record is not None and there else {}
        return (record.attributes, record.feature, record.backbone) if record is not None and there else None

    def _rebuilt(self, records: Mapping[str, ItemRecord], version: int) -> Self:
        items = self.bundle.items
        replaced: dict[int, Mapping[str, object]] = {}
        new: list[ItemRecord] = []
        for item_id, record in records.items():
            row = items.row(item_id)
            if row is not None and record.attributes and not record.deleted:
                replaced[row] = record.attributes
            elif row is None and not record.deleted:
                new.append(record)
        trained = self._trained if replaced == self._replaced else self._with_replaced(replaced)
        cold_ids, tail, cold = self._placed(sorted(new, key=itemgetter(0)))
        if skipped := len(new) - len(cold_ids):
            log.warning("%d new items have no feature that this bundle can use and are passed over", skipped)
        same = cold is self.cold
        after = replace(
            self,
            version=version,
            records=records,
            ids=self.ids if same else (*items.ids, *cold_ids) if cold_ids else items.ids,
            frame=self.frame if same and trained is self._trained else pl.concat([trained, tail]),
            cold=cold,
            skipped=skipped,
            _trained=trained,
            _replaced=replaced,
            _cold_rows={item_id: row for row, item_id in enumerate(cold_ids, len(items))},
        )
        out = [record.item_id for record in records.values() if record.hidden or record.deleted]
        return replace(after, hidden=np.sort(after.rows(out)))

    def _with_replaced(self, replaced: Mapping[int, Mapping[str, object]]) -> pl.DataFrame:
        """The bundle's catalogue with the attributes of the rows `replaced`."""
        own = self.bundle.catalogue
        if not replaced:
            return own
        ids = [self.bundle.items.ids[row] for row in replaced]
        said = attributes.frame(ids, list(replaced.values()), own.schema)
        source = np.arange(len(own))
        source[list(replaced)] = len(own) + np.arange(len(replaced))
        return pl.concat([own, said])[source]

    def _placed(self, records: Iterable[ItemRecord]) -> tuple[list[str], pl.DataFrame, Weights | None]:
        """Of the new items those that can be placed: ids, attributes, and the bundle's users with them as items."""
        before, first = len(self._cold_rows), self.bundle_items
        fresh: list[tuple[ItemRecord, ItemArrays]] = []
        sources: dict[str, int] = {}  # of each item among those placed before, and behind them the fresh ones
        for record in records:
            row = self._cold_rows.get(record.item_id)
            if row is not None and self._is_as_before(record):
                sources[record.item_id] = row - first
            elif (arrays := self._place(record)) is not None:
                sources[record.item_id] = before + len(fresh)
                fresh.append((record, arrays))
        tail = self.frame[self.bundle_items :]
        if not fresh and list(sources.values()) == list(range(before)):
            return list(sources), tail, self.cold
        ids, said = [record.item_id for record, _ in fresh], [record.attributes for record, _ in fresh]
        rows = attributes.frame(ids, said, self.bundle.catalogue.schema)
        tail = pl.concat([tail, rows])[list(sources.values())]
        parts = [*([self.cold.items] if self.cold else []), *(each for _, each in fresh)]
        return list(sources), tail, self._weights(parts, list(sources.values())) if sources else None

    def _is_as_before(self, record: ItemRecord) -> bool:
        before = self.records[record.item_id]
        return before is record or before._replace(hidden=record.hidden) == record

    def _place(self, record: ItemRecord) -> ItemArrays | None:
        """The item, placed; None where it has no feature of the bundle's backbone and width, or an unusable one."""
        visual = self.bundle.visual
        if record.backbone != visual.backbone or record.feature is None:
            return None
        if len(record.feature) != 4 * len(visual.scaling.mean):
            return None
        feature = np.frombuffer(record.feature, dtype="<f4").astype(np.float32)
        try:
            return self.placer.place(torch.from_numpy(feature)[None])
        except ShapeError:  # it holds NaN, or is too large to embed
            return None

    def _weights(self, parts: Sequence[ItemArrays], rows: Sequence[int]) -> Weights:
        """The bundle's users with the items in `rows` of `parts`, one after the other."""
        own = self.bundle.weights

        def column(name: str) -> Tensor:
            return torch.cat([getattr(part, name) for part in parts])[list(rows)]

        return replace(
            own,
            gamma_i=column("gamma"),
            e=column("e"),
            e_match=None if own.e_match is None else column("e_match"),
            beta=None if own.beta is None else column("beta"),
            visual_bias=None if own.visual_bias is None else column("visual_bias"),
            popularity=torch.zeros(len(rows)),
        )
