"""Scans: a table's entities at a bound, or its whole history, read in parallel parts of one position."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from .connection import Connection, descriptor
from .errors import Invalid, translated
from .exchange import answer_of
from .frames import check_kind, give

__all__ = ["scan"]

_PARTS_AT_ONCE = 8


def scan(connection: Connection, command: Mapping[str, Any], to: str | None, details: bool) -> Any:
    """Reads what ``command`` asks for; the order of rows is not defined."""
    check_kind(to)
    with translated():
        info = connection.flight.get_flight_info(descriptor({"scan": command}), connection.options())
    metadata: dict[str, Any] = {}
    if to == "reader":
        if details:
            raise Invalid("a reader says its details only at its end; ask for another kind with details=True")
        return pa.RecordBatchReader.from_batches(info.schema, _in_turn(connection, info))
    with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
        parts = list(pool.map(lambda endpoint: list(_part(connection, endpoint, metadata)), info.endpoints))
    batches = [batch for part in parts for batch in part]
    data = give(pa.Table.from_batches(batches, schema=info.schema), to or "arrow")
    return answer_of(data, metadata) if details else data


def _in_turn(connection: Connection, info: flight.FlightInfo) -> Iterator[pa.RecordBatch]:
    for endpoint in info.endpoints:
        yield from _part(connection, endpoint, {})


def _part(
    connection: Connection, endpoint: flight.FlightEndpoint, metadata: dict[str, Any]
) -> Iterator[pa.RecordBatch]:
    with translated():
        reader = connection.flight.do_get(endpoint.ticket, connection.options(stream=True))
        finished = False
        try:
            while True:
                try:
                    chunk = reader.read_chunk()
                except StopIteration:
                    finished = True
                    return
                if chunk.app_metadata is not None:
                    metadata.update(json.loads(chunk.app_metadata.to_pybytes()))
                yield chunk.data
        finally:
            if not finished:
                reader.cancel()
