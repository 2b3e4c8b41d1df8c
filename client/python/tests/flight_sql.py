"""Flight SQL for tests: connections of ADBC, what a refusal says, and the protocol's messages as bytes.

The messages are written by hand, so that a test can send what no client would.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow as pa
import pyarrow.flight as flight
import pytest
import raw
from adbc_driver_manager import Error as AdbcError

COOKIES = "adbc.flight.sql.rpc.with_cookie_middleware"
# What ADBC says of values for a statement that it could not prepare.
UNPREPARED = "must set IngestTargetTable"
HEADER = "adbc.flight.sql.rpc.call_header."
# What a message of Flight SQL is called.
PREFIX = "type.googleapis.com/arrow.flight.protocol.sql."


def connect(server: Any, session: bool = False, **headers: str) -> Any:
    """A connection of ADBC; with a session if it keeps cookies. A header `as_of` is sent as `firn.as_of`."""
    options = {f"{HEADER}firn.{name}": value for name, value in headers.items()}
    if session:
        options[COOKIES] = "true"
    return flightsql.connect(server.url, db_kwargs=options, autocommit=True)


def answer(cursor: Any, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """All rows of a statement; none if it answers none."""
    cursor.execute(statement, parameters)
    return cursor.fetchall() if cursor.description else []


_ERROR = re.compile(r"[A-Z_]+: \[FlightSQL\] (?P<message>.*) \((?P<code>\w+); .*\)(?:\. Vendor code: \d+)?\Z", re.DOTALL)


def refusal_of(error: AdbcError) -> tuple[str, str]:
    """The code and the message that the server sent; ADBC has no code of its own for all of gRPC's."""
    found = _ERROR.fullmatch(str(error))
    assert found, str(error)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", found["code"]).upper(), found["message"]


def refusal(connection: Any, statement: str, parameters: Any = None) -> tuple[str, str]:
    """The code and the message of a statement that must be refused."""
    with connection.cursor() as cursor, pytest.raises(AdbcError) as caught:
        rows = answer(cursor, statement, parameters)
        pytest.fail(f"{statement} with {parameters} is not refused, but answers {rows}")
    if parameters is not None and UNPREPARED in str(caught.value):
        # ADBC goes on with a statement that the server does not implement, and then says only that it cannot bind to it.
        return refusal(connection, statement)
    return refusal_of(caught.value)


def field(number: int, value: bytes | str | int | bool) -> bytes:
    """A field of a message: a number, or bytes."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that are bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        size = varint()
        if key & 7 == 2:
            yield key >> 3, message[at : at + size]
            at += size


def message(name: str, *parts: bytes) -> bytes:
    """The message `name` with its fields, as commands, tickets and actions carry it."""
    return field(1, PREFIX + name) + field(2, b"".join(parts))


def query(text: str | bytes) -> bytes:
    """The command that runs a statement by its text."""
    return message("CommandStatementQuery", field(1, text))


def prepare(client: flight.FlightClient, text: str | bytes, options: Any = None) -> bytes:
    """The handle of a prepared statement."""
    body = message("ActionCreatePreparedStatementRequest", field(1, text))
    (result,) = client.do_action(flight.Action("CreatePreparedStatement", body), options)
    (_, inner) = [value for number, value in fields(result.body.to_pybytes()) if number in (1, 2)]
    return next(value for number, value in fields(inner) if number == 1)


def info(client: flight.FlightClient, command: bytes, options: Any = None) -> flight.FlightInfo:
    """What a command answers: its columns and its tickets."""
    return client.get_flight_info(flight.FlightDescriptor.for_command(command), options)


def get(client: flight.FlightClient, ticket: bytes, options: Any = None) -> pa.Table:
    """The rows behind a ticket."""
    return client.do_get(flight.Ticket(ticket), options).read_all()


def run(client: flight.FlightClient, command: bytes, options: Any = None) -> pa.Table | None:
    """The rows that a command answers; none if it answers none."""
    endpoints = info(client, command, options).endpoints
    parts = [get(client, endpoint.ticket.ticket, options) for endpoint in endpoints]
    return pa.concat_tables(parts) if parts else None


def put(client: flight.FlightClient, command: bytes, batches: Iterable[pa.RecordBatch], options: Any = None) -> bytes:
    """Sends rows with a command; what the server sends back."""
    batches = list(batches)
    schema = batches[0].schema if batches else pa.schema([])
    writer, reader = client.do_put(flight.FlightDescriptor.for_command(command), schema, options)
    with writer:
        for batch in batches:
            writer.write_batch(batch)
        writer.done_writing()
        back = reader.read()
    return back.to_pybytes() if back is not None else b""


def code_of(error: BaseException) -> tuple[str, str]:
    """The code and the message of what pyarrow raised."""
    known = raw.error_of(error)
    return known.code, known.message
