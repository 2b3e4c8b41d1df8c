"""Scans: a table's entities at a bound, or its whole history, read in parallel parts of one position."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ._native import Reader
from .answers import answer_of
from .calls import Steps
from .connection import Connection
from .errors import Invalid
from .targets import NO_READER, check_kind, default_kind, give, needs

__all__ = ["scan"]


def scan(
    connection: Connection,
    command: Mapping[str, Any],
    to: str | None,
    details: bool,
    timeout: float | None,
    run: Callable[[Steps[Any]], Any] | None,
) -> Steps[Any]:
    """Reads what ``command`` asks for; the order of rows is not defined. ``run`` reads the batches of a reader."""
    kind = check_kind(to) or default_kind()
    asked, deadline = json.dumps({"scan": command}), connection.deadline(timeout)
    if kind == "reader":
        if run is None:
            raise Invalid(NO_READER)
        if details:
            raise Invalid("a reader says its details only at its end; ask for another kind with details=True")
        reader = yield connection.native.scan_reader(asked, deadline.left())
        arrow = needs("pyarrow")
        schema = arrow.table(reader.empty()).schema
        return arrow.RecordBatchReader.from_batches(schema, _batches(connection, reader, timeout, run, arrow))
    table, metadata = yield connection.native.scan(asked, deadline.left())
    data = give(table, kind)
    return answer_of(data, metadata) if details else data


def _batches(
    connection: Connection, reader: Reader, timeout: float | None, run: Callable[[Steps[Any]], Any], arrow: Any
) -> Iterator[Any]:
    def next_batch() -> Steps[Any]:
        batch = yield reader.batch(connection.deadline(timeout).left())
        return batch

    while (batch := run(next_batch())) is not None:
        yield from arrow.table(batch).to_batches()
