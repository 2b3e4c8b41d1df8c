"""FirnDB through pyarrow.flight alone, as a client in any language would speak it."""

from __future__ import annotations

import json
from typing import Any

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
