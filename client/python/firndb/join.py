"""Point-in-time joins: the rows of a spine in, the same rows extended by features out, each as of its own bounds.

Only keys and times travel. They go out in batches while answers come in, all under one snapshot, and the answers are put
beside the columns that were given, which come back untouched, of whatever type they are.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

from ._native import Exchange, Table
from .answers import answer_of
from .calls import Deadline, Steps
from .connection import Connection
from .errors import Invalid
from .frames import Data, Given, Stream, take
from .progress import Progress, progress
from .targets import NO_READER, beside, check_kind, default_kind, give, needs

__all__ = ["join"]

# Requests under way at once: enough to keep every core of the server busy.
_WINDOW = 8
# A request message may have 64 MiB; a quarter of that stays below whatever the framing adds.
_BATCH_BYTES = 16 << 20
_BATCH_ROWS = 65_536
_LONG_ROWS = 65_536


class _Spine:
    """What a join needs of its spine, as the server says."""

    def __init__(self, asked: Table, names: Iterable[str]) -> None:
        self.columns = asked.column_names[: int(asked.metadata["spine_columns"])]
        self.features = asked.column_names[len(self.columns) :]
        names = list(names)
        if not names:
            raise Invalid("the spine is empty: it has neither rows nor columns; give a frame with columns, or at least one row")
        taken = next((name for name in self.features if name in names), None)
        if taken is not None:
            raise Invalid(
                f"the spine already has a column `{taken}`; rename the feature with select(…, as_=…), or the table's features "
                "with select(…, prefix=…)",
                taken,
            )
        #: Of those, the ones that are there. What is missing, the server says, with all else that is wrong.
        self.sent = [name for name in self.columns if name in names]

    def request(self, given: Given) -> Table:
        """The columns that travel; what holds nothing has no type that could be wrong."""
        return given.table(self.sent) if given.rows else Table.nothing(self.sent)

    def features_of(self, answer: Table) -> Table:
        """The features of an answer, which begins with the columns that were sent."""
        return answer.select(list(range(len(self.sent), len(answer.column_names))))


def join(
    connection: Connection,
    command: Mapping[str, Any],
    data: Data,
    to: str | None,
    details: bool,
    show: bool | None,
    timeout: float | None,
    run: Callable[[Steps[Any]], Any] | None,
) -> Steps[Any]:
    """Joins a spine with the features of ``command``. ``run`` reads the batches of a reader."""
    to = check_kind(to)
    given = take(data)
    if to is None and isinstance(given, Stream):
        to = "reader" if run is not None else default_kind()
    if to == "reader" and run is None:
        raise Invalid(NO_READER)
    asked, deadline = json.dumps({"join": command}), connection.deadline(timeout)
    spine = _Spine((yield connection.native.schema(asked, deadline.left())), given.names)
    if isinstance(given, Stream) or to == "reader":
        batches = given if isinstance(given, Stream) else _slices(given)
        kind = to or "reader"
        return (yield from _streamed(connection, asked, spine, batches, kind, details, timeout, show, run))
    kind = to or (default_kind() if given.kind == "reader" else given.kind)
    requests = spine.request(given).pieces(_BATCH_ROWS, _BATCH_BYTES)
    bar = progress(show, "join", given.rows, long=given.rows > _LONG_ROWS)
    exchange = yield connection.native.exchange(asked, requests[0], deadline.left())
    try:
        tables, metadata = yield from _all(exchange, requests, deadline, bar)
    finally:
        bar.close()
        exchange.abandon()
    data = beside(given, spine.features_of(Table.chained(tables)), kind)
    return answer_of(data, metadata) if details else data


def _all(exchange: Exchange, requests: Iterable[Table], deadline: Deadline, bar: Progress) -> Steps[tuple[list[Table], str]]:
    """The answers to all requests, and what the last one says about itself."""
    tables: list[Table] = []
    metadata, waiting = "", 0
    for request in requests:
        if waiting == _WINDOW:
            table, metadata = yield exchange.answer(deadline.left())
            bar.add(table.num_rows)
            tables.append(table)
            waiting -= 1
        yield exchange.send(request, deadline.left())
        waiting += 1
    for _ in range(waiting):
        table, metadata = yield exchange.answer(deadline.left())
        bar.add(table.num_rows)
        tables.append(table)
    yield exchange.finish(deadline.left())
    return tables, metadata


def _slices(given: Given) -> Iterator[Given]:
    """Data in memory as batches."""
    yield from Stream(iter(given.table().pieces(_BATCH_ROWS, _BATCH_BYTES)))


def _streamed(
    connection: Connection,
    asked: str,
    spine: _Spine,
    batches: Iterable[Given],
    kind: str,
    details: bool,
    timeout: float | None,
    show: bool | None,
    run: Callable[[Steps[Any]], Any] | None,
) -> Steps[Any]:
    """A join of batches, answered by a reader, or whole in another kind."""
    reading = _Reading(connection, asked, spine, iter(batches), timeout, progress(show, "join", None, long=True))
    first = yield from reading.next()  # The columns of the answer, and any error of the command, before anything is returned.
    if first is None:
        raise Invalid("an empty iterable has no columns; give at least one record batch")
    if kind != "reader" or run is None:
        tables = [first]
        while (table := (yield from reading.next())) is not None:
            tables.append(table)
        data = give(Table.chained(tables), kind)
        return answer_of(data, reading.metadata) if details else data
    arrow = needs("pyarrow")
    begun = arrow.table(first)

    def rest() -> Generator[Any, None, None]:
        try:
            yield from begun.to_batches()
            while (table := run(reading.next())) is not None:
                yield from arrow.table(table).to_batches()
        finally:
            reading.abandon()

    reader = arrow.RecordBatchReader.from_batches(begun.schema, rest())
    return answer_of(reader, reading.metadata) if details else reader


class _Reading:
    """The answers to batches, each beside its batch, as they are asked for."""

    def __init__(
        self,
        connection: Connection,
        asked: str,
        spine: _Spine,
        batches: Iterator[Given],
        timeout: float | None,
        bar: Progress,
    ) -> None:
        self.metadata = ""
        self._connection, self._asked, self._spine, self._timeout = connection, asked, spine, timeout
        self._batches, self._bar = batches, bar
        self._sent: collections.deque[Table] = collections.deque()
        self._exchange: Exchange | None = None
        self._more = True

    def next(self) -> Steps[Table | None]:
        """The next answer, or ``None`` after the last."""
        try:
            yield from self._send()
            if not self._sent:
                yield from self._finish()
                return None
            assert self._exchange is not None, "something was sent"
            answer, self.metadata = yield self._exchange.answer(self._left())
        except BaseException:
            self.abandon()
            raise
        self._bar.add(answer.num_rows)
        return self._sent.popleft().beside(self._spine.features_of(answer))

    def _send(self) -> Steps[None]:
        while self._more and len(self._sent) < _WINDOW:
            batch = next(self._batches, None)
            if batch is None:
                self._more = False
                return
            places = [batch.names.index(name) for name in self._spine.sent]
            for piece in batch.table().pieces(_BATCH_ROWS, _BATCH_BYTES):
                request = piece.select(places)
                exchange = self._exchange
                if exchange is None:
                    exchange = yield self._connection.native.exchange(self._asked, request, self._left())
                    self._exchange = exchange
                yield exchange.send(request, self._left())
                self._sent.append(piece)

    def _finish(self) -> Steps[None]:
        exchange, self._exchange = self._exchange, None
        self._bar.close()
        if exchange is not None:
            yield exchange.finish(self._left())

    def _left(self) -> float | None:
        return self._connection.deadline(self._timeout).left()

    def abandon(self) -> None:
        """Ends the stream without waiting for answers."""
        exchange, self._exchange = self._exchange, None
        self._more = False
        self._sent.clear()
        self._bar.close()
        if exchange is not None:
            exchange.abandon()
