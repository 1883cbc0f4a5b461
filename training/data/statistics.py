"""Statistics of a data set, as in the paper's Table 1."""

from dataclasses import asdict, dataclass

from training.data.dataset import Dataset
from training.data.split import Split


@dataclass(frozen=True)
class Statistics:
    """Sizes of a data set after its k-core, and of the parts of its split."""

    users: int
    items: int
    interactions: int
    train: int
    valid: int
    test: int

    @property
    def sparsity(self) -> float:
        """Percentage of the user-item pairs without an interaction, in [0, 100]."""
        return 100.0 * (1.0 - self.interactions / (self.users * self.items))

    def as_dict(self) -> dict[str, float]:
        """All sizes by name, and the sparsity: what the manifest keeps."""
        return asdict(self) | {"sparsity": self.sparsity}

    def __str__(self) -> str:
        """Two lines: the whole set, and its parts with their shares."""
        shares = ", ".join(
            f"{name} {count:,} ({100.0 * count / self.interactions:.1f} %)"
            for name, count in (("train", self.train), ("valid", self.valid), ("test", self.test))
        )
        return (
            f"{self.users:,} users, {self.items:,} items, {self.interactions:,} interactions, "
            f"sparsity {self.sparsity:.2f} %\n{shares}"
        )


def statistics(dataset: Dataset, split: Split) -> Statistics:
    """The sizes of `dataset` and of the parts of its `split`."""
    return Statistics(
        users=len(dataset.users),
        items=len(dataset.items),
        interactions=len(dataset.interactions),
        train=len(split.train),
        valid=len(split.valid),
        test=len(split.test),
    )
