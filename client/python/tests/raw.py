"""FirnDB through pyarrow.flight alone, as a client in any language would speak it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import firndb
import pyarrow as pa
import pyarrow.flight as flight


def connect(url: str, **options: Any) -> flight.FlightClient:
    return flight.FlightClient(url, **options)


def action(client: flight.FlightClient, name: str, body: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    (result,) = client.do_action(flight.Action(name, data))
    return json.loads(result.body.to_pybytes())


def descriptor(command: Any) -> flight.FlightDescriptor:
    data = command if isinstance(command, bytes) else json.dumps(command).encode()
    return flight.FlightDescriptor.for_command(data)


def put(client: flight.FlightClient, command: Any, batches: list[pa.RecordBatch], metadata: list[Any] | None = None,
        schema: pa.Schema | None = None) -> list[Any]:  # fmt: skip
    """Sends all batches, then reads every acknowledgement."""
    writer, reader = client.do_put(descriptor(command), schema or batches[0].schema)
    failure = None
    try:
        for number, batch in enumerate(batches):
            if metadata is None:
                writer.write_batch(batch)
            else:
                writer.write_with_metadata(batch, json.dumps(metadata[number]).encode())
        writer.done_writing()
    except pa.ArrowException as error:
        failure = error
    acknowledgements = []
    try:
        while (one := reader.read()) is not None:
            acknowledgements.append(json.loads(one.to_pybytes()))
    except pa.ArrowException as error:
        failure = failure or error
    writer.close()
    if failure is not None:
        raise failure
    return acknowledgements


def messages(reader: Any) -> list[tuple[pa.RecordBatch, Any]]:
    """Every message of a stream, with its metadata."""
    read = []
    while True:
        try:
            chunk = reader.read_chunk()
        except StopIteration:
            return read
        read.append((chunk.data, json.loads(chunk.app_metadata.to_pybytes())))


def exchange(client: flight.FlightClient, command: Any, batches: list[pa.RecordBatch],
             schema: pa.Schema | None = None) -> list[tuple[pa.RecordBatch, Any]]:  # fmt: skip
    """Sends a few small requests, then reads all messages of all answers."""
    writer, reader = client.do_exchange(descriptor(command))
    with writer:
        try:
            writer.begin(schema or batches[0].schema)
            for batch in batches:
                writer.write_batch(batch)
            writer.done_writing()
        except pa.ArrowException:
            pass  # Reading says why.
        return messages(reader)


def get(client: flight.FlightClient, ticket: Any) -> list[tuple[pa.RecordBatch, Any]]:
    data = ticket if isinstance(ticket, bytes) else json.dumps(ticket).encode()
    return messages(client.do_get(flight.Ticket(data)))


def table(answer: list[tuple[pa.RecordBatch, Any]]) -> pa.Table:
    return pa.Table.from_batches([batch for batch, _ in answer])


# pyarrow keeps no gRPC code, but says which it was in the words that it puts before the server's message.
_BY_PHRASE: dict[str, type[firndb.FirnError]] = {
    "invalid argument": firndb.Invalid,
    "not found": firndb.NotFound,
    "already exists": firndb.AlreadyExists,
    "precondition failed": firndb.Precondition,
    "out-of-range": firndb.OutOfRange,
    "resource exhausted": firndb.Exhausted,
    "unavailable": firndb.Unavailable,
    "data loss": firndb.DataLoss,
    "unauthenticated": firndb.Unauthenticated,
    "unauthorized": firndb.PermissionDenied,
    "unimplemented": firndb.Unimplemented,
    "timeout": firndb.DeadlineExceeded,
    "internal": firndb.Internal,
    "aborted": firndb.Internal,
}
_RETURNED = re.compile(r"(?:Flight|gRPC) returned ([a-z -]+?) error, with message: ", re.DOTALL)
_CANCELLED = re.compile(r"(?:Flight|gRPC) cancelled call, with message: ")
_FAILED = re.compile(r"Flight RPC failed with message: ")
_CONTEXT = re.compile(r"\.? ?(?:gRPC client debug context|Client context): .*\Z", re.DOTALL)


def error_of(error: BaseException) -> firndb.FirnError:
    """The error that a pyarrow exception stands for, with the server's message and nothing around it."""
    text = str(error)
    kind: type[firndb.FirnError] = firndb.FirnError
    if found := _RETURNED.search(text):
        kind = _BY_PHRASE[found[1]]
    elif found := _CANCELLED.search(text):
        kind = firndb.Cancelled
    else:
        found = _FAILED.search(text)
    return kind(_CONTEXT.sub("", text[found.end() :] if found else text))


@contextmanager
def translated() -> Iterator[None]:
    """Turns what pyarrow raises inside the block into errors of the client."""
    try:
        yield
    except (pa.ArrowException, flight.FlightError, OSError) as error:
        raise error_of(error) from None
