"""Writes, deletes and retracts: batches out, acknowledgements in, both at once.

Batches are sent without waiting for the acknowledgement of the one before; a thread reads the acknowledgements as
they come, so that neither side waits for the other. Each batch is atomic, the whole is not: an error says what had
been acknowledged before it (``error.written``).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import random
import threading
import time
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from .connection import Connection, descriptor
from .errors import FirnError, Invalid, Unavailable, from_arrow
from .frames import Data, Given, alike, batches_of, is_rows, one_batch, take
from .progress import Progress, progress
from .written import BadRow, Written

__all__ = ["Producer", "put"]

_ATTEMPTS = 4
_FIRST_WAIT_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class Producer:
    """Makes one batch exactly-once: applied only if ``previous`` is the last number stored for this producer and table.

    The first batch has ``previous=None``. Sending the same batch again is harmless.
    """

    name: str
    producer_seq: int
    previous: int | None = None


def put(
    connection: Connection,
    verb: str,
    body: Mapping[str, Any],
    data: Data,
    *,
    producer: Producer | None,
    batch_rows: int | None,
    show: bool | None,
) -> Written:
    """Sends ``data`` under the command ``{verb: body}`` and returns what was acknowledged."""
    schema = functools.cache(lambda: connection.schema({verb: body}))
    runs = list(alike(data)) if is_rows(data) else [data]
    if producer is None:
        written, rows = Written(), 0
        for run in runs:
            try:
                written = written.then(_put(connection, {verb: body}, take(run, schema), None, batch_rows, show), rows)
            except FirnError as error:
                error.written = written.then(error.written or Written(), rows)
                raise
            rows += len(run) if len(runs) > 1 else 0
        return written
    if len(runs) != 1:
        raise Invalid("with a producer the data is one batch, so all rows must mention the same columns, and there must be one")
    given = take(runs[0], schema)
    if batch_rows is not None:
        raise Invalid("with a producer the data is one batch; leave `batch_rows` out and number smaller batches yourself")
    table = given.table().combine_chunks()
    given = dataclasses.replace(given, data=table)
    command = {verb: {**body, "producer": producer.name}}
    wait = _FIRST_WAIT_SECONDS
    for attempt in range(_ATTEMPTS):
        try:
            return _put(connection, command, given, producer, table.num_rows, show)
        except Unavailable:
            # The number makes it safe to send the batch again: one that did arrive is answered as a duplicate.
            if attempt + 1 == _ATTEMPTS:
                raise
        # Not all at once, if many lost the same server.
        time.sleep(wait * random.uniform(0.5, 1))
        wait *= 2
    raise AssertionError("the last attempt returns or raises")


def _put(
    connection: Connection,
    command: Mapping[str, Any],
    given: Given,
    producer: Producer | None,
    batch_rows: int | None,
    show: bool | None,
) -> Written:
    rows = given.rows()
    bar = progress(show, next(iter(command)), rows, long=rows is None or rows > 65_536)
    try:
        writer, reader = connection.flight.do_put(descriptor(command), given.schema, connection.options(stream=True))
    except (pa.ArrowException, OSError) as error:
        raise from_arrow(error) from None
    acknowledged = _Acknowledgements(reader, bar)
    try:
        failure = _send(writer, given, producer, batch_rows, acknowledged)
        written = acknowledged.finish()
        refused = _close(writer)
    finally:
        bar.close()
    if refused is None and isinstance(failure, (pa.ArrowException, OSError)):
        refused = from_arrow(failure)
    error = refused or acknowledged.error
    if failure is not None and not isinstance(failure, (pa.ArrowException, OSError)):
        raise failure  # of the caller's own iterable, not of the stream
    if error is not None:
        raise acknowledged.explain(error, written)
    return written


def _send(
    writer: flight.FlightStreamWriter,
    given: Given,
    producer: Producer | None,
    batch_rows: int | None,
    acknowledged: _Acknowledgements,
) -> BaseException | None:
    """Sends every batch; returns what stopped it. The true reason of a refusal comes when the stream is closed."""
    try:
        batches = [one_batch(given.table())] if producer is not None else batches_of(given, batch_rows)
        for batch in batches:
            acknowledged.sent(batch.num_rows)
            if producer is None:
                writer.write_batch(batch)
            else:
                step = {"producer_seq": producer.producer_seq, "previous": producer.previous}
                writer.write_with_metadata(batch, json.dumps(step).encode())
        return None
    except BaseException as error:  # also of the caller's own iterable: the stream must be ended either way
        return error
    finally:
        try:
            writer.done_writing()
        except (pa.ArrowException, OSError):
            pass  # The stream has ended already; closing it says why.


def _close(writer: flight.FlightStreamWriter) -> FirnError | None:
    try:
        writer.close()
        return None
    except (pa.ArrowException, OSError) as error:
        return from_arrow(error)


class _Acknowledgements:
    """Reads the acknowledgements of one stream on a thread of its own."""

    def __init__(self, reader: flight.FlightMetadataReader, bar: Progress) -> None:
        self.error: FirnError | None = None
        self._reader = reader
        self._bar = bar
        self._starts: list[int] = []
        self._rows_sent = 0
        self._written = Written()
        self._thread = threading.Thread(target=self._read, name="firndb acknowledgements", daemon=True)
        self._thread.start()

    def sent(self, rows: int) -> None:
        """Notes that a batch goes out, so that bad rows can be counted over the whole data."""
        self._starts.append(self._rows_sent)
        self._rows_sent += rows

    def finish(self) -> Written:
        """Waits for the end of the stream."""
        self._thread.join()
        return self._written

    def explain(self, error: FirnError, written: Written) -> FirnError:
        """The error with what came before it: the batch after the last acknowledged one is the refused one."""
        error.written = written
        refused = written.batches
        if 0 < refused < len(self._starts):
            start = self._starts[refused]
            note = f"(rows are counted from row {start} of the data, where the refused batch begins)"
            error.message = f"{error.message} {note}"
            error.args = (error.message,)
        return error

    def _read(self) -> None:
        try:
            while (metadata := self._reader.read()) is not None:
                self._add(json.loads(metadata.to_pybytes()))
        except (pa.ArrowException, OSError) as error:
            self.error = from_arrow(error)
        except Exception as error:  # a server that answers something else must not leave the writer waiting
            self.error = FirnError(f"the server sent an acknowledgement that cannot be read: {error!r}")

    def _add(self, acknowledgement: dict[str, Any]) -> None:
        before = self._written
        bad = tuple(
            BadRow(self._starts[each["batch"]] + each["row"], each["column"], each["reason"])
            for each in acknowledgement["bad_rows"]
        )
        self._written = Written(
            batches=before.batches + acknowledgement["batches"],
            rows=before.rows + acknowledgement["rows"],
            read_position=acknowledgement["read_position"],
            duplicates=before.duplicates + acknowledgement["duplicates"],
            bad_rows=before.bad_rows + bad,
            bad_row_count=before.bad_row_count + acknowledgement.get("bad_row_count", len(bad)),
        )
        self._bar.add(acknowledgement["rows"])
