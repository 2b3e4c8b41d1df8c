"""What a write came to: the rows that were applied, and those that were not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

__all__ = ["BadRow", "Written", "written_of"]


@dataclasses.dataclass(frozen=True)
class BadRow:
    """A row that was not applied: its place in the given data (from 0), the column at fault, and why."""

    row: int
    column: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Written:
    """What was acknowledged: it is durable and readable.

    ``rows`` counts the rows that were applied, ``duplicates`` the batches that had been applied before,
    ``read_position`` sees all of it. ``bad_rows`` holds the first bad rows, ``bad_row_count`` how many there were.
    Of a server with a bucket ``acknowledged`` says what it has survived (``"local"`` or ``"object"``), and
    ``durable_position`` how far the bucket was.
    """

    batches: int = 0
    rows: int = 0
    read_position: str | None = None
    duplicates: int = 0
    bad_rows: tuple[BadRow, ...] = ()
    bad_row_count: int = 0
    acknowledged: str | None = None
    durable_position: str | None = None

    def then(self, later: Written, rows_before: int) -> Written:
        """This and what was written after it, whose rows come after ``rows_before`` others in the given data."""
        moved = tuple(dataclasses.replace(bad, row=bad.row + rows_before) for bad in later.bad_rows)
        return Written(
            batches=self.batches + later.batches,
            rows=self.rows + later.rows,
            read_position=later.read_position or self.read_position,
            duplicates=self.duplicates + later.duplicates,
            bad_rows=self.bad_rows + moved,
            bad_row_count=self.bad_row_count + later.bad_row_count,
            acknowledged=later.acknowledged or self.acknowledged,
            durable_position=later.durable_position or self.durable_position,
        )


def written_of(acknowledged: str, starts: Sequence[int]) -> Written:
    """What was acknowledged of batches that begin at the rows ``starts`` of the given data."""
    said = json.loads(acknowledged)
    bad = tuple(
        BadRow(starts[each["batch"]] + each["row"], each["column"], each["reason"]) for each in said.pop("bad_rows")
    )
    return Written(**said, bad_rows=bad)
