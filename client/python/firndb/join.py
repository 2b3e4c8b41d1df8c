"""Point-in-time joins: the rows of a spine in, the same rows extended by features out, each as of its own bounds.

The spine goes out in batches while answers come in, all under one snapshot, so that neither side holds more than a
few batches unless the caller wants the whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from .connection import Connection
from .errors import Invalid
from .exchange import Exchange, answer_of
from .frames import Data, Given, batches_of, check_kind, give, take
from .progress import progress
from .requests import Requests

__all__ = ["join"]

# Requests under way at once: enough to keep every core of the server busy.
_WINDOW = 8


def join(
    connection: Connection,
    command: Mapping[str, Any],
    spine: Data,
    to: str | None,
    details: bool,
    show: bool | None,
) -> Any:
    """Joins ``spine`` with the features of ``command``."""
    check_kind(to)
    given = take(spine)
    if not given.schema.names:
        raise Invalid("the spine is empty: it has neither rows nor columns; give a frame with columns, or at least one row")
    kind = to or given.kind
    if given.rows() == 0:
        return _of_nothing(connection, command, given, kind, details)
    exchange = Exchange(connection, {"join": command}, given.schema)
    metadata: dict[str, Any] = {}
    batches = _batches(exchange, given, show, metadata)
    first = next(batches)  # The schema of the answer, and any error of the command, before anything is returned.
    if kind == "reader":
        data = pa.RecordBatchReader.from_batches(first.schema, _chained(first, batches))
    else:
        data = give(pa.Table.from_batches([first, *batches]), kind, given, join=True)
    return answer_of(data, metadata) if details else data


def _of_nothing(connection: Connection, command: Mapping[str, Any], given: Given, kind: str, details: bool) -> Any:
    """The join of a spine without rows: what its columns hold is not known, so they have no type that could be wrong."""
    spine = given.table()
    names = spine.column_names
    exchange = Exchange(connection, {"join": command}, pa.schema([pa.field(name, pa.null()) for name in names]))
    try:
        exchange.send(pa.record_batch([pa.nulls(0)] * len(names), names=names))
        exchange.done()
        answer = exchange.answer()
        exchange.close()
    finally:
        if exchange.open:
            exchange.abandon()
    columns = [*spine.columns, *answer.data.columns[len(names) :]]
    table = pa.table(columns, names=answer.data.column_names)
    data = table.to_reader() if kind == "reader" else give(table, kind, given, join=True)
    return dataclasses.replace(answer, data=data) if details else data


def _chained(first: pa.RecordBatch, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from batches


def _batches(
    exchange: Exchange, given: Given, show: bool | None, metadata: dict[str, Any]
) -> Iterator[pa.RecordBatch]:
    """The batches of all answers; ``metadata`` becomes that of the last message read."""
    rows = given.rows()
    bar = progress(show, "join", rows, long=rows is None or rows > 65_536)
    sender = Requests(exchange, ((batch, None) for batch in batches_of(given)), _WINDOW)
    try:
        for _ in sender:
            for batch, said in exchange.messages():
                metadata.update(said)
                bar.add(batch.num_rows)
                yield batch
        exchange.close()
    finally:
        bar.close()
        if exchange.open:
            sender.stop()
            exchange.abandon()
