"""Every key in Redis: prefix and tenant first, and in braces what shares a slot of a cluster."""

from typing import NamedTuple


class Keys(NamedTuple):
    """
    The keys of one tenant. Nothing outside them is read, written or removed.

    A user's keys share one slot, those of the event log another, those of the catalogue a third.
    """

    prefix: str
    tenant: str

    def user_acts(self, user_id: str) -> str:
        """Sorted set: one member per (type, item), scored by the time of the last such act."""
        return f"{self.prefix}:{{{self.tenant}:user:{user_id}}}:acts"

    @property
    def events(self) -> str:
        """Stream: every accepted event that was not exported yet."""
        return f"{self.prefix}:{{{self.tenant}:events}}:log"

    def event_ids(self, day: int) -> str:
        """Set: ids of the events accepted on a day (days since 1970)."""
        return f"{self.prefix}:{{{self.tenant}:events}}:ids:{day}"

    @property
    def items(self) -> str:
        """Hash: item id → what the catalogue says of it beyond the bundle."""
        return f"{self.prefix}:{{{self.tenant}:catalogue}}:items"

    @property
    def item_version(self) -> str:
        """Counter: goes up by one with every change of `items`."""
        return f"{self.prefix}:{{{self.tenant}:catalogue}}:version"

    @property
    def item_changes(self) -> str:
        """Stream: the last changes of `items`, in order, each with its version."""
        return f"{self.prefix}:{{{self.tenant}:catalogue}}:changes"
