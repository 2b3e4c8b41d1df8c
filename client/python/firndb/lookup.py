"""Lookups: entities in, features out. One call, or a session that keeps one stream open for many requests."""

from __future__ import annotations

import collections
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from ._native import Exchange, Table
from .answers import answer_of
from .calls import Steps, run
from .connection import Connection
from .errors import Invalid
from .frames import Data, Given, Stream, take
from .targets import check_kind, default_kind, give

__all__ = ["Lookups", "Session", "entities_of", "lookup"]


def entities_of(entities: Data) -> tuple[Given, Table]:
    """The request of a lookup, whole."""
    given = take(entities)
    if isinstance(given, Stream):
        tables = [batch.table() for batch in given]
        table = Table.chained(tables).combined()
        given = Given("reader", None, table.column_names, table.num_rows)
        return given, table
    return given, given.table()


def answered(table: Table, metadata: str, given: Given, to: str | None, details: bool) -> Any:
    """The answer to ``given`` as it was asked for."""
    kind = to or (default_kind() if given.kind == "reader" else given.kind)
    data = give(table, kind, given)
    return answer_of(data, metadata) if details else data


def lookup(
    connection: Connection, command: Mapping[str, Any], entities: Data, to: str | None, details: bool, timeout: float | None
) -> Steps[Any]:
    """One lookup over a stream of its own."""
    to = check_kind(to)
    deadline = connection.deadline(timeout)
    given, request = entities_of(entities)
    table, metadata = yield connection.native.lookup(json.dumps({"lookup": command}), request, deadline.left())
    return answered(table, metadata, given, to, details)


class Session:
    """One open stream of lookups, opened when it is needed.

    A request is of the types that it has: where they are others than those of the stream, another one is opened. Its
    columns are those of the first request that was answered, as long as it has them; what is missing, the server says.
    """

    def __init__(self, connection: Connection, command: Mapping[str, Any], to: str | None) -> None:
        self.to = check_kind(to)
        self._connection = connection
        self._command = json.dumps({"lookup": {**command, "errors": "in_band"}})
        self._names: list[str] | None = None
        self._exchange: Exchange | None = None
        self._like: Table | None = None
        self._closed = False

    def get(self, entities: Data, to: str | None, details: bool, timeout: float | None) -> Steps[Any]:
        """The features of ``entities``."""
        to = check_kind(to)
        deadline = self._connection.deadline(timeout)
        given, request = self._request(entities)
        exchange = yield from self._stream(request, deadline.left)
        try:
            table, metadata = yield exchange.ask(request, deadline.left())
        except BaseException:
            self._let_go(exchange)
            raise
        self._names = self._names or request.column_names
        return answered(table, metadata, given, to or self.to, details)

    def send(self, entities: Data, timeout: float | None) -> Steps[Given]:
        """Sends a request whose answer :meth:`receive` reads."""
        deadline = self._connection.deadline(timeout)
        given, request = self._request(entities)
        exchange = yield from self._stream(request, deadline.left)
        try:
            yield exchange.send(request, deadline.left())
        except BaseException:
            self._let_go(exchange)
            raise
        return given

    def fits(self, entities: Data) -> bool:
        """Whether a request goes over the stream that is open."""
        return self._exchange is None or self._like is None or self._like.same_columns(self._request(entities)[1])

    def receive(self, given: Given, details: bool, timeout: float | None) -> Steps[Any]:
        """The answer to the oldest request that was sent."""
        exchange = self._exchange
        assert exchange is not None, "a request was sent"
        try:
            table, metadata = yield exchange.answer(self._connection.deadline(timeout).left())
        except BaseException:
            self._let_go(exchange)
            raise
        self._names = self._names or (self._like.column_names if self._like is not None else None)
        return answered(table, metadata, given, self.to, details)

    def close(self, timeout: float | None) -> Steps[None]:
        """Ends the session and raises what went wrong with its stream, if anything did."""
        exchange, self._exchange, self._closed = self._exchange, None, True
        if exchange is not None:
            yield exchange.finish(self._connection.deadline(timeout).left())

    def abandon(self) -> None:
        """Ends the stream without waiting for answers; the next request opens another one."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()

    def end(self) -> None:
        """Ends the session without waiting."""
        self.abandon()
        self._closed = True

    def _request(self, entities: Data) -> tuple[Given, Table]:
        given, table = entities_of(entities)
        names = self._names
        if names is not None and table.column_names != names and set(names).issubset(table.column_names):
            table = table.select([table.column_names.index(name) for name in names])
        return given, table

    def _stream(self, request: Table, left: Any) -> Steps[Exchange]:
        if self._closed:
            raise Invalid("this session of lookups is closed; open another one with client.lookups(…)")
        exchange = self._exchange
        # In a process that was forked from the one that opened it, a stream is not open.
        if exchange is None or not exchange.open or self._like is None or not self._like.same_columns(request):
            self.abandon()
            exchange = yield self._connection.native.exchange(self._command, request, left())
            self._exchange, self._like = exchange, request.slice(0, 0)
        assert exchange is not None, "it is open"
        return exchange

    def _let_go(self, exchange: Exchange) -> None:
        """Forgets a stream that has ended; a request that was refused in band leaves it open."""
        if not exchange.open:
            self.abandon()


class Lookups:
    """One open stream of lookups: the same features and bounds, request after request.

    A request that is refused raises its error and leaves the session usable. Threads may share a session; their requests
    take turns. In a child that was forked from its process it opens a stream of its own.
    """

    def __init__(self, connection: Connection, command: Mapping[str, Any], to: str | None) -> None:
        self._session = Session(connection, command, to)
        self._pipelining = False
        self._lock = threading.Lock()

    def get(self, entities: Data, *, to: str | None = None, details: bool = False, timeout: float | None = None) -> Any:
        """The features of ``entities``, one row for each of theirs, in their order.

        ``details=True`` returns an :class:`Answer` with read position, clock and schema version.
        """
        with self._turn():
            return run(self._session.get(entities, to, details, timeout))

    def pipeline(
        self, requests: Iterable[Data], *, window: int = 32, details: bool = False, timeout: float | None = None
    ) -> Iterator[Any]:
        """The answers of many requests, in order, with up to ``window`` of them under way at once.

        A refused request raises its error and ends the iteration; those after it are given up. ``timeout`` bounds the
        wait for each answer.
        """
        if window < 1:
            raise Invalid("`window` must be at least 1")
        with self._turn():
            self._pipelining = True
            sent: collections.deque[Given] = collections.deque()
            finished = False
            try:
                for request in requests:
                    while sent and (len(sent) >= window or not self._session.fits(request)):
                        yield run(self._session.receive(sent.popleft(), details, timeout))
                    sent.append(run(self._session.send(request, timeout)))
                while sent:
                    yield run(self._session.receive(sent.popleft(), details, timeout))
                finished = True
            finally:
                self._pipelining = False
                if not finished:  # Answers may still be under way: the stream is of no use for other requests.
                    self._session.abandon()

    def close(self) -> None:
        """Ends the session and raises what went wrong with its stream, if anything did."""
        run(self._session.close(None))

    def __enter__(self) -> Lookups:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._session.end()

    def _turn(self) -> threading.Lock:
        if self._pipelining:
            raise Invalid("a pipeline of this session is under way; read it to its end, or open another session")
        return self._lock
