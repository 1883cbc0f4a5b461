"""What a study claims, and the limits of a share that was counted."""

from typing import NamedTuple

from scipy.stats import beta


class Claim(NamedTuple):
    """One row of a report. holds None: measured for the reader, nothing is claimed."""

    holds: bool | None
    claim: str
    measured: str
    allowed: str

    @property
    def failed(self) -> bool:
        """Something was claimed, and it does not hold."""
        return self.holds is not None and not self.holds  # numpy's False is not False


def limits(hits: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a share of which `hits` of `of` were seen (Clopper & Pearson 1934), each end at `level`."""
    low = float(beta.ppf(1 - level, hits, of - hits + 1)) if hits else 0.0
    high = float(beta.ppf(level, hits + 1, of - hits)) if hits < of else 1.0
    return low, high


def at_most(alpha: float, claim: str, hits: int, of: int) -> Claim:
    """That something happens with probability `alpha` or less: the lower 95 % limit of the measured share allows it."""
    low, _ = limits(hits, of)
    return Claim(low <= alpha, claim, f"{hits / of:.1%} of {of:,}, lower limit {low:.1%}", f"{alpha:.0%}")
