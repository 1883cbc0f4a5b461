"""Table: one input file, from which bad rows are taken out check by check and reported together."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from causalrec.errors import DataError
from causalrec.ids import problem_with
from training.data.formats import PLACE, read_rows

EXAMPLES = 5
SKIP = "--skip-bad drops and counts them"


@dataclass(frozen=True)
class Skipped:
    """What was dropped for one reason."""

    count: int
    examples: tuple[str, ...]
    """The first of them, at most five, in words."""


class Table:
    """
    The rows of one input file that have passed the checks so far.

    Each check takes out the rows it refuses, so that a row is reported once, for the first thing wrong with it.
    `settle` ends the checks.

    Args:
        path: a Parquet or CSV file.
        skip_bad: whether `settle` counts bad rows instead of raising.
    Raises: DataError as `read_rows` does.
    """

    def __init__(self, path: Path, *, skip_bad: bool) -> None:
        self.path = path
        self.frame, unreadable = read_rows(path)
        self.records = len(self.frame) + len(unreadable)
        """Rows in the file, bad ones included."""
        self._skip_bad = skip_bad
        self._place = "line" if path.suffix == ".csv" else "row"
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[tuple[int, str]]] = {}
        for place, what in unreadable:
            self._note("line cannot be read", place, what)

    def columns(self) -> list[str]:
        """The names of the file's columns."""
        return [column for column in self.frame.columns if not column.startswith("\0")]

    def expect(self, required: tuple[str, ...], known: tuple[str, ...] | None, ignored: tuple[str, ...] = ()) -> None:
        """
        Drops the `ignored` columns and looks whether the others are as they should be.

        Raises: DataError naming the first of `required` that the file lacks, or the columns that are not `known`
            (None: any column may be there).
        """
        self.frame = self.frame.drop(ignored, strict=False)
        there = self.columns()
        for column in required:
            if column not in there:
                raise DataError(f"{self.path}: has no column {column!r}; its columns are {', '.join(there)}")
        if unknown := [column for column in there if known is not None and column not in known]:
            raise DataError(
                f"{self.path}: unknown column {', '.join(map(repr, unknown))}; known are {', '.join(known or ())}. "
                "Rename it, or pass over it with data.ignore_columns"
            )

    def refuse(self, bad: pl.Expr, column: str, what: str | Callable[[dict[str, Any]], str]) -> None:
        """
        Takes out the rows where `bad` is true.

        Args:
            bad: a boolean expression over the frame, without nulls.
            column: the column to blame; its value is shown.
            what: what is wrong with the value, in words that follow it; or that, made from the row.
        """
        refused = self.frame.filter(bad)
        if refused.is_empty():
            return
        self.frame = self.frame.filter(~bad)
        reason = f"{column} {what}" if isinstance(what, str) else f"{column} repeated"
        for row in refused.head(EXAMPLES).iter_rows(named=True):
            words = what if isinstance(what, str) else what(row)
            value = "" if row[column] is None else f" {_short(row[column])}"
            self._note(reason, row[PLACE], f"{column}{value} {words}")
        self._counts[reason] += max(0, len(refused) - EXAMPLES)

    def ids(self, *columns: str) -> None:
        """Makes `columns` strings that are ids, whole numbers included; refuses missing and odd ones."""
        for column in columns:
            kind = self.frame.schema[column]
            if not (kind.is_integer() or kind in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
                raise DataError(f"{self.path}: column {column!r} is {kind}; ids are text or whole numbers, write it so")
            self.frame = self.frame.with_columns(pl.col(column).cast(pl.String))
            self.refuse(pl.col(column).is_null(), column, "is missing")
            odd: dict[str, list[str]] = {}
            for outside_id in self.frame[column].unique():
                if problem := problem_with(outside_id):
                    odd.setdefault(problem, []).append(outside_id)
            for problem, outside_ids in sorted(odd.items()):
                self.refuse(pl.col(column).is_in(outside_ids), column, problem)

    def numbers(self, column: str) -> None:
        """Makes `column` Float64, null where empty; moments become seconds since 1970. Refuses all but finite ones."""
        kind = self.frame.schema[column]
        if kind == pl.String:
            number = pl.col(column).str.strip_chars().cast(pl.Float64, strict=False)
        elif kind in (pl.Datetime, pl.Date):
            number = pl.col(column).cast(pl.Datetime("us")).dt.epoch("us") / 1e6
        elif kind.is_numeric() or kind == pl.Null:
            number = pl.col(column).cast(pl.Float64)
        else:
            raise DataError(f"{self.path}: column {column!r} is {kind}; it should hold numbers")
        finite = number.is_finite().fill_null(value=False)
        self.refuse(pl.col(column).is_not_null() & ~finite, column, "is not a finite number")
        self.frame = self.frame.with_columns(number)

    def one_of(self, column: str, allowed: tuple[str, ...]) -> None:
        """Refuses rows whose `column` is none of the two or more words `allowed`."""
        self.frame = self.frame.with_columns(pl.col(column).cast(pl.String))
        known = pl.col(column).is_in(allowed).fill_null(value=False)
        self.refuse(~known, column, f"is neither {' nor '.join(allowed)}")

    def distinct(self, *columns: str) -> None:
        """Refuses rows whose `columns` together repeat an earlier row's, naming both."""
        repeats = ~pl.struct(columns).is_first_distinct()
        if not self.frame.select(repeats.any()).item():
            return
        first = "\0first"
        self.frame = self.frame.with_columns(pl.col(PLACE).first().over(columns).alias(first))

        def what(row: dict[str, Any]) -> str:
            whole = ", ".join(f"{column} {_short(row[column])}" for column in columns[:-1])
            with_ = f"with {whole} " if whole else ""
            return f"{with_}is there already, in {self._place} {row[first]}"

        self.refuse(pl.col(PLACE) != pl.col(first), columns[-1], what)
        self.frame = self.frame.drop(first)

    def settle(self) -> Mapping[str, Skipped]:
        """
        Ends the checks.

        Returns: what was refused, by reason; not empty only with skip_bad.
        Raises: DataError naming the first five bad rows and their number; or where no row is left.
        """
        total = sum(self._counts.values())
        if total and not self._skip_bad:
            noted = sorted(example for examples in self._examples.values() for example in examples)
            named = [f"  {self._place} {place}: {what}" for place, what in noted[:EXAMPLES]]
            more = [f"  and {total - EXAMPLES} more"] if total > EXAMPLES else []
            bad = "1 row is bad" if total == 1 else f"{total} rows are bad"
            lines = [f"{self.path}: {bad} (mend them, or {SKIP}):", *named, *more]
            raise DataError("\n".join(lines))
        if self.frame.is_empty():
            raise DataError(f"{self.path}: none of its {self.records} rows can be used")
        return {
            f"{self.path.name}: {reason}": Skipped(
                count, tuple(f"{self._place} {place}: {what}" for place, what in self._examples[reason])
            )
            for reason, count in self._counts.items()
        }

    def _note(self, reason: str, place: int, what: str) -> None:
        self._counts[reason] += 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append((place, what))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
