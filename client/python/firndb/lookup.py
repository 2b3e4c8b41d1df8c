"""Lookups: entities in, features out. One call, or a session that keeps one stream open for many requests."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

import pyarrow as pa

from .connection import Connection
from .errors import FirnError, Invalid, translated
from .exchange import Answer, Exchange
from .frames import Data, Given, check_kind, give, one_batch, take
from .requests import Requests

__all__ = ["Lookups", "lookup"]


def _given_as(answer: Answer, given: Given, to: str | None, details: bool) -> Any:
    kind = to or ("arrow" if given.kind == "reader" else given.kind)
    data = give(answer.data, kind, given)
    return dataclasses.replace(answer, data=data) if details else data


def lookup(connection: Connection, command: Mapping[str, Any], entities: Data, to: str | None, details: bool) -> Any:
    """One lookup over a stream of its own."""
    check_kind(to)
    given = take(entities)
    batch = one_batch(given.table())
    exchange = Exchange(connection, {"lookup": command}, batch.schema)
    try:
        exchange.send(batch)
        exchange.done()
        answer = exchange.answer()
        exchange.close()
    finally:
        if exchange.open:
            exchange.abandon()
    return _given_as(answer, given, to, details)


class Lookups:
    """One open stream of lookups: the same features and bounds, request after request.

    Every request must have the columns of the first one. A request that is refused raises its error and leaves the
    session usable. Threads may share a session; their requests take turns.
    """

    def __init__(self, connection: Connection, command: Mapping[str, Any], to: str | None) -> None:
        check_kind(to)
        self._connection = connection
        self._command = {"lookup": {**command, "errors": "in_band"}}
        self._to = to
        self._schema: pa.Schema | None = None
        self._exchange: Exchange | None = None
        self._closed = False
        self._pipelining = False
        self._lock = threading.Lock()

    def get(self, entities: Data, *, to: str | None = None, details: bool = False) -> Any:
        """The features of ``entities``, one row for each of theirs, in their order.

        ``details=True`` returns an :class:`Answer` with read position, clock and schema version.
        """
        check_kind(to)
        given = take(entities)
        with self._turn():
            batch = self._request(given)
            exchange = self._stream()
            finished = False
            try:
                exchange.send(batch)
                answer = exchange.answer()
                finished = True
            except FirnError:
                finished = exchange.open  # An error in band is an answer like any other.
                raise
            finally:
                if not finished:
                    self._abandon()
        return _given_as(answer, given, to or self._to, details)

    def pipeline(self, requests: Iterable[Data], *, window: int = 32, details: bool = False) -> Iterator[Any]:
        """The answers of many requests, in order, with up to ``window`` of them under way at once.

        A refused request raises its error and ends the iteration; those after it are given up.
        """
        if window < 1:
            raise Invalid("`window` must be at least 1")
        with self._turn():
            pairs = self._pairs(requests)
            first = next(pairs, None)  # Here, not on the sending thread: it settles the columns and opens the stream.
            if first is None:
                return
            exchange = self._stream()
            self._pipelining = True
            sender = Requests(exchange, itertools.chain([first], pairs), window)
            finished = False
            try:
                for given in sender:
                    yield _given_as(exchange.answer(), given, self._to, details)
                finished = True
            finally:
                self._pipelining = False
                if not finished:  # Answers may still be under way: the stream is of no use for other requests.
                    sender.stop()
                    self._abandon()

    def close(self) -> None:
        """Ends the session and raises what went wrong with its stream, if anything did."""
        exchange, self._exchange, self._closed = self._exchange, None, True
        if exchange is not None:
            exchange.close()

    def __enter__(self) -> Lookups:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()
            self._closed = True

    def _turn(self) -> threading.Lock:
        if self._pipelining:
            raise Invalid("a pipeline of this session is under way; read it to its end, or open another session")
        return self._lock

    def _pairs(self, requests: Iterable[Data]) -> Iterator[tuple[pa.RecordBatch, Given]]:
        for request in requests:
            given = take(request)
            yield self._request(given), given

    def _request(self, given: Given) -> pa.RecordBatch:
        """The request with the columns of the session."""
        table = given.table()
        if self._schema is None:
            self._schema = table.schema.remove_metadata()
        missing = [name for name in self._schema.names if name not in table.column_names]
        if missing:
            raise Invalid(f"the request lacks the column `{missing[0]}`, which the first request of the session had")
        with translated():
            return one_batch(table.select(self._schema.names).cast(self._schema))

    def _stream(self) -> Exchange:
        """The stream, opened at the first request and again after it has ended."""
        if self._closed:
            raise Invalid("this session of lookups is closed; open another one with client.lookups(…)")
        if self._exchange is None:
            assert self._schema is not None
            self._exchange = Exchange(self._connection, self._command, self._schema)
        return self._exchange

    def _abandon(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
