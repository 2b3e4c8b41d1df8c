"""Point-in-time joins: the rows of a spine in, the same rows extended by features out, each as of its own bounds.

The spine goes out in batches while answers come in, all under one snapshot, so that neither side holds more than a
few batches unless the caller wants the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from .connection import Connection
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
    kind = to or given.kind
    exchange = Exchange(connection, {"join": command}, given.schema)
    metadata: dict[str, Any] = {}
    batches = _batches(exchange, given, show, metadata)
    first = next(batches)  # The schema of the answer, and any error of the command, before anything is returned.
    if kind == "reader":
        data = pa.RecordBatchReader.from_batches(first.schema, _chained(first, batches))
    else:
        data = give(pa.Table.from_batches([first, *batches]), kind, given, join=True)
    return answer_of(data, metadata) if details else data


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
