"""What is claimed, what was found, and whether it holds."""

from collections.abc import Callable

Claim = Callable[[], object]


class Broken(Exception):
    """A claim does not hold; says what was found instead."""


class Claims:
    """The rows of the table: each claim with its verdict and what was found."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.failed = 0

    def check(self, claim: str, found: Claim) -> bool:
        """
        One claim and whether it holds: where `found` returns, and what it returns is shown beside it.

        Whatever goes wrong is a failure of this claim, so that the others are still looked at.
        """
        try:
            verdict, text = "PASS", str(found())
        except Exception as error:  # noqa: BLE001 - a broken stack fails in ways that nobody lists
            verdict, text = "FAIL", f"{type(error).__name__}: {error}".replace("\n", " | ")
            self.failed += 1
        self._tell(f"{verdict}  {claim}: {text}")
        return verdict == "PASS"

    def left_out(self, claim: str, why: str) -> None:
        """One claim that cannot be looked at here."""
        self._tell(f"----  {claim}: not looked at, {why}")


def demand(holds: object, found: str) -> None:
    """Raises: Broken, saying what was found, unless it holds."""
    if not holds:
        raise Broken(found)
