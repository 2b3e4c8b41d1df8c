"""Writes, deletes and retracts: batches out, acknowledgements in, both at once.

Batches are sent without waiting for the acknowledgement of the one before. Each batch is atomic, the whole is not: an error
says what had been acknowledged before it (``error.written``).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from ._native import Table, Writer
from .calls import Deadline, Steps
from .connection import Connection
from .errors import FirnError, Invalid
from .frames import Data, Given, Stream, alike, is_rows, take
from .progress import Progress, progress
from .written import Written, written_of

__all__ = ["Acknowledge", "Producer", "put"]

#: What a write must have survived before it is acknowledged: the end of the server's process, or the loss of its disk.
Acknowledge = Literal["local", "object"]

# A request message may have 64 MiB; a quarter of that stays below whatever the framing adds.
_BATCH_BYTES = 16 << 20
_BATCH_ROWS = 65_536
_LONG_ROWS = 65_536


@dataclasses.dataclass(frozen=True)
class Producer:
    """Makes one batch exactly-once: applied only if ``previous`` is the last number stored for this producer and table.

    The first batch has ``previous=None``. Sending the same batch again is harmless.
    """

    name: str
    producer_seq: int
    previous: int | None = None


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns of the data are written, and under what names."""

    names: tuple[str, ...] | None = None
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def chosen(cls, names: Sequence[str] | None, rename: Mapping[str, str] | None) -> Columns:
        """What a user asks for."""
        return cls(None if names is None else tuple(names), dict(rename or {}))

    def of(self, given: Given | Stream) -> tuple[list[str], list[str]]:
        """The names of the columns in the data, and those that they are written under."""
        chosen = list(given.names if self.names is None else self.names)
        for name in [*chosen, *self.rename]:
            if name not in given.names:
                raise Invalid(f"the data has no column `{name}`; it has {', '.join(f'`{name}`' for name in given.names)}", name)
        return chosen, [self.rename.get(name, name) for name in chosen]


def put(
    connection: Connection,
    verb: str,
    body: Mapping[str, Any],
    data: Data,
    columns: Columns,
    producer: Producer | None,
    batch_rows: int | None,
    show: bool | None,
    timeout: float | None,
) -> Steps[Written]:
    """Sends ``data`` under the command ``{verb: body}`` and returns what was acknowledged."""
    deadline = connection.deadline(timeout)
    runs = list(alike(data)) if is_rows(data) else [data]
    if producer is not None:
        return (yield from _step(connection, verb, body, runs, columns, producer, batch_rows, deadline))
    written, rows = Written(), 0
    for one in runs:
        given = take(one)
        try:
            applied = yield from _put(connection, {verb: body}, given, columns, batch_rows, show, deadline, timeout)
        except FirnError as error:
            error.written = written.then(error.written or Written(), rows)
            raise
        written = written.then(applied, rows)
        rows += len(one) if len(runs) > 1 else 0
    return written


def _step(
    connection: Connection,
    verb: str,
    body: Mapping[str, Any],
    runs: list[Any],
    columns: Columns,
    producer: Producer,
    batch_rows: int | None,
    deadline: Deadline,
) -> Steps[Written]:
    """One batch that is applied exactly once."""
    if len(runs) != 1:
        raise Invalid("with a producer the data is one batch, so all rows must mention the same columns, and there must be one")
    if batch_rows is not None:
        raise Invalid("with a producer the data is one batch; leave `batch_rows` out and number smaller batches yourself")
    given = take(runs[0])
    if isinstance(given, Stream):
        table = Table.chained([_named(batch.table(columns.of(batch)[0]), columns.of(batch)[1]) for batch in given])
    else:
        table = yield from _table(connection, {verb: body}, given, columns, deadline)
    command = json.dumps({verb: {**body, "producer": producer.name}})
    written = yield connection.native.write_step(
        command, table, producer.producer_seq, producer.previous, deadline.left()
    )
    return written_of(written, [0])


def _table(
    connection: Connection, command: Mapping[str, Any], given: Given, columns: Columns, deadline: Deadline
) -> Steps[Table]:
    """The columns that are written; where a value could be several things, the declared type decides."""
    names, written = columns.of(given)
    declared = None
    if given.ambiguous():
        found = yield from connection.schema(command, set(written), deadline)
        declared = found.renamed({new: old for old, new in zip(names, written)})
    return _named(given.table(names, declared), written)


def _named(table: Table, names: list[str]) -> Table:
    return table if table.column_names == names else table.renamed(dict(zip(table.column_names, names)))


def _put(
    connection: Connection,
    command: Mapping[str, Any],
    given: Given | Stream,
    columns: Columns,
    batch_rows: int | None,
    show: bool | None,
    deadline: Deadline,
    timeout: float | None,
) -> Steps[Written]:
    rows = None if isinstance(given, Stream) else given.rows
    bar = progress(show, next(iter(command)), rows, long=rows is None or rows > _LONG_ROWS)
    batches: Iterator[Table]
    if isinstance(given, Stream):
        names, written = columns.of(given)
        batches = (_named(batch.table(names), written) for batch in given)
    elif given.ambiguous():
        batches = iter([(yield from _table(connection, command, given, columns, deadline))])
    else:
        names, written = columns.of(given)
        batches = (_named(batch, written) for batch in given.batches(names, batch_rows or _BATCH_ROWS))
    first = next(batches)
    writer = yield connection.native.writer(json.dumps(command), first, deadline.left())
    sending = _Sending(connection, writer, bar, deadline, None if rows is not None else timeout)
    try:
        return (yield from sending.all(first, batches, batch_rows or _BATCH_ROWS))
    finally:
        bar.close()
        writer.abandon()


class _Sending:
    """One stream of batches, and where each of them begins in the whole data."""

    def __init__(
        self, connection: Connection, writer: Writer, bar: Progress, deadline: Deadline, waits: float | None
    ) -> None:
        self._connection, self._writer, self._bar = connection, writer, bar
        self._deadline = deadline
        #: Of data that comes bit by bit each wait has its own time.
        self._waits = waits
        self._starts: list[int] = []
        self._rows = 0

    def all(self, first: Table, more: Iterator[Table], rows: int) -> Steps[Written]:
        """Sends everything and waits for the last acknowledgement."""
        try:
            going = yield from self._send(first, rows)
            while going and (batch := next(more, None)) is not None:
                going = yield from self._send(batch, rows)
            acknowledged, error = yield self._writer.finish(self._left())
        except FirnError as failed:
            raise self._explained(failed, self._writer.written()) from None
        if error is not None:
            raise self._explained(error, acknowledged)
        return written_of(acknowledged, self._starts)

    def _send(self, batch: Table, rows: int) -> Steps[bool]:
        for piece in batch.pieces(rows, _BATCH_BYTES):
            self._starts.append(self._rows)
            self._rows += piece.num_rows
            if not (yield self._writer.send(piece, self._left())):
                return False  # Finishing says why.
            self._bar.add(piece.num_rows)
        return True

    def _left(self) -> float | None:
        return self._deadline.left() if self._waits is None else self._connection.deadline(self._waits).left()

    def _explained(self, error: FirnError, acknowledged: str) -> FirnError:
        """The error with what came before it: the batch after the last acknowledged one is the refused one."""
        error.written = written_of(acknowledged, self._starts)
        refused = error.written.batches
        if 0 < refused < len(self._starts):
            start = self._starts[refused]
            note = f"(rows are counted from row {start} of the data, where the refused batch begins)"
            error.message = f"{error.message} {note}"
            error.args = (error.message,)
        return error
