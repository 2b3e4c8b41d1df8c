"""One DoExchange stream: requests out, answers in, in order and pipelined."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from .connection import Connection, descriptor
from .errors import FirnError, from_arrow, from_code, translated

__all__ = ["Answer", "Exchange"]


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer with what it says about itself.

    ``read_position``, ``clock`` (µs) and ``schema_version`` fix it: the same request with all three gives the same
    answer for ever. ``erased_since`` is set if an erase after the position touched what was asked. ``digest``, if it
    was asked for, is a hash of names, types, validity and value bits.
    """

    data: Any
    read_position: str | None = None
    clock: int | None = None
    schema_version: int | None = None
    erased_since: str | None = None
    digest: str | None = None

    def fixed(self) -> dict[str, Any]:
        """The options that ask for this very answer again: ``client.join(…, **answer.fixed())``."""
        return {"position": self.read_position, "clock": self.clock, "schema_version": self.schema_version}


def answer_of(data: Any, metadata: Mapping[str, Any]) -> Answer:
    """An answer from the metadata of its last message."""
    names = ("read_position", "clock", "schema_version", "erased_since", "digest")
    return Answer(data, **{name: metadata.get(name) for name in names})


class Exchange:
    """An open stream. One thread may send while another receives; the one that receives also ends the stream.

    Ending it from the sending thread would abort the process: when the answers end, Arrow ends the requests by itself
    inside of the read, and gRPC bears two ends at once as badly as two writes
    (https://github.com/apache/arrow/issues/49818).

    ``open`` turns false when the server has ended the stream; an error in band leaves it open.
    """

    def __init__(self, connection: Connection, command: Mapping[str, Any], schema: pa.Schema) -> None:
        self.open = True
        # Whoever holds it may use the writer; the garbage collector may end a stream on a thread that holds it already.
        self._writing = threading.RLock()
        with translated():
            self._writer, self._reader = connection.flight.do_exchange(
                descriptor(command), connection.options(stream=True)
            )
        try:
            self._writer.begin(schema)
        except (pa.ArrowException, OSError) as error:
            raise self._ended(from_arrow(error)) from None

    def send(self, batch: pa.RecordBatch) -> bool:
        """Sends one request; false if the stream has ended, which reading the answer explains."""
        with self._writing:
            if not self.open:
                return False
            try:
                self._writer.write_batch(batch)
                return True
            except (pa.ArrowException, OSError):
                return False

    def done(self) -> None:
        """Says that no more requests follow. Only for who sends and receives on one thread."""
        try:
            self._writer.done_writing()
        except (pa.ArrowException, OSError):
            pass  # The stream has ended already; reading or closing it says why.

    def messages(self) -> Iterator[tuple[pa.RecordBatch, dict[str, Any]]]:
        """The messages of one answer, each with its metadata; raises the answer's error if it has one."""
        while True:
            try:
                chunk = self._reader.read_chunk()
            except StopIteration:
                early = FirnError("the server ended the stream before the answer was complete")
                raise self._ended(early) from None
            except (pa.ArrowException, OSError) as error:
                raise self._ended(from_arrow(error)) from None
            if chunk.app_metadata is None:
                raise FirnError("the server sent a message without metadata")
            metadata = json.loads(chunk.app_metadata.to_pybytes())
            if error := metadata.get("error"):
                raise from_code(error["code"], error["message"])
            yield chunk.data, metadata
            if metadata["last"]:
                return

    def answer(self) -> Answer:
        """The next answer, whole."""
        batches, metadata = [], {}
        for batch, metadata in self.messages():
            batches.append(batch)
        return answer_of(pa.Table.from_batches(batches), metadata)

    def close(self) -> None:
        """Ends the stream and raises what went wrong with it, if anything did."""
        with translated():
            self._close()

    def abandon(self) -> None:
        """Ends the stream without waiting for answers."""
        self._reader.cancel()  # First, so that a request that waits for room lets go of the writer.
        try:
            self._close()
        except (pa.ArrowException, OSError):
            pass  # It was cancelled on purpose.

    def _ended(self, otherwise: FirnError) -> FirnError:
        """The status with which the server ended the stream."""
        try:
            self._close()
        except (pa.ArrowException, OSError) as error:
            return from_arrow(error)
        return otherwise

    def _close(self) -> None:
        with self._writing:
            self.open = False
            self._writer.close()
