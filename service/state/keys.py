"""Every key in Redis: prefix and tenant first, and in braces what shares a slot of a cluster."""

from typing import NamedTuple


class Keys(NamedTuple):
    """
    The keys of one tenant. Nothing outside them is read, written or removed.

    A user's keys share one slot, those of the event log another, those of the catalogue a third, those of experiments'
    configurations a fourth, that of models a fifth.
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

    def units(self, experiment: str, series: int) -> str:
        """Hash: unit → what it was shown and did in one series of an experiment, packed."""
        return f"{self.prefix}:{{{self.tenant}:events}}:units:{experiment}:{series}"

    def shown(self, experiment: str, series: int, variant: str) -> str:
        """HyperLogLog: the distinct items in the lists of one variant of a series."""
        return f"{self.prefix}:{{{self.tenant}:events}}:shown:{experiment}:{series}:{variant}"

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

    @property
    def experiments(self) -> str:
        """Hash: what every experiment is, each version of it, the holdout, and the revision of all that."""
        return f"{self.prefix}:{{{self.tenant}:experiments}}:book"

    @property
    def experiment_changes(self) -> str:
        """Stream: the last revisions of `experiments`, for those who wait for the next."""
        return f"{self.prefix}:{{{self.tenant}:experiments}}:changes"

    @property
    def experiment_audit(self) -> str:
        """Stream: who changed what, and when."""
        return f"{self.prefix}:{{{self.tenant}:experiments}}:audit"

    @property
    def experiment_reports(self) -> str:
        """Hash: key of a stopped experiment → its last report."""
        return f"{self.prefix}:{{{self.tenant}:experiments}}:reports"

    def experiment_looks(self, key: str, series: int) -> str:
        """List: the looks of a timeline, oldest first."""
        return f"{self.prefix}:{{{self.tenant}:experiments}}:looks:{key}:{series}"

    @property
    def experiment_lead(self) -> str:
        """Which replica looks after the experiments, for a while."""
        return f"{self.prefix}:{{{self.tenant}:experiments}}:lead"

    @property
    def models(self) -> str:
        """Stream: which bundle was wanted, by whom; the newest entry holds."""
        return f"{self.prefix}:{{{self.tenant}:models}}:wanted"
