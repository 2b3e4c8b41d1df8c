"""The client: one short method for each thing that FirnDB does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from .bounds import Bound, bound_json, join_bound_json
from .connection import Connection
from .declarations import Feature, FeatureReference, NamedTypes, Type, feature_settings_json, features_json
from .declarations import named_types_json, references_json, type_text
from .frames import Data, take
from .join import join
from .lookup import Lookups, lookup
from .options import given, read_options, setting_json
from .scan import scan
from .times import Duration, Time, duration_text, time_json
from .values import value_json
from .write import Producer, put
from .written import Written

__all__ = ["Client", "connect"]

def connect(
    url: str = "grpc://localhost:3476",
    *,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    tls_root_certs: bytes | None = None,
    **options: Any,
) -> Client:
    """A client of the server at ``url`` (``grpc://host:port``, ``grpc+tls://host:port``).

    The connection is made by the first call. ``timeout`` (seconds) bounds calls that are not streams. Further options
    go to ``pyarrow.flight.FlightClient``.
    """
    return Client(
        Connection(url, token=token, headers=headers, timeout=timeout, tls_root_certs=tls_root_certs, **options)
    )

class Client:
    """A connection to FirnDB. Safe to use from several threads; use it as a context manager or :meth:`close` it.

    Data may be pyarrow, pandas, polars, a dict of columns or a list of dicts; an answer has the kind of what was
    given, or the one that ``to=`` names (``"arrow"``, ``"pandas"``, ``"polars"``, ``"dict"``, ``"reader"``).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Declarations

    def create_entity(
        self,
        entity: str,
        key: NamedTypes,
        *,
        bucket_by: Sequence[str] | None = None,
        buckets: int | None = None,
        if_not_exists: bool = False,
    ) -> dict[str, Any]:
        """Declares an entity by its key columns: ``create_entity("airport", {"origin": "utf8"})``.

        ``bucket_by`` are the leading key columns that decide where an entity is kept (all of them, if not given).
        """
        body = {"entity": entity, "key": named_types_json(key)}
        options = given(
            bucket_by=None if bucket_by is None else list(bucket_by), buckets=buckets, if_not_exists=if_not_exists
        )
        return self._action("create_entity", body | options)

    def create_table(
        self,
        table: str,
        *,
        entity: str,
        event_time: str,
        features: NamedTypes | Iterable[Feature],
        row_id: NamedTypes | None = None,
        max_age: Duration | None = None,
        max_future_skew: Duration | None = None,
        keep_events: Duration | None = None,
        keep_knowledge: Duration | None = None,
        event_time_rounding: str | None = None,
        float_rounding: str | None = None,
        owner: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        if_not_exists: bool = False,
    ) -> dict[str, Any]:
        """Declares a feature table of an entity and returns its full declaration.

        ``features`` are :class:`Feature` s or names and types. ``row_id`` names the columns that tell apart rows of
        one entity at one event time. ``keep_events`` and ``keep_knowledge`` are the table's retention. Durations are
        ``timedelta`` s or ``"6h"``; ``"none"`` means unlimited.
        """
        body: dict[str, Any] = {
            "table": table,
            "entity": entity,
            "event_time": event_time,
            "features": features_json(features),
        }
        durations = {"max_age": max_age, "max_future_skew": max_future_skew}
        body |= {name: duration_text(value) for name, value in durations.items() if value is not None}
        kept = {"keep_events": keep_events, "keep_knowledge": keep_knowledge}
        if retention := {name: duration_text(value) for name, value in kept.items() if value is not None}:
            body["retention"] = retention
        body |= given(
            row_id=None if row_id is None else named_types_json(row_id),
            event_time_rounding=event_time_rounding,
            float_rounding=float_rounding,
            owner=owner,
            description=description,
            tags=None if tags is None else list(tags),
            if_not_exists=if_not_exists,
        )
        return self._action("create_table", body)

    def alter_table(
        self,
        table: str,
        *,
        add: NamedTypes | Iterable[Feature] | None = None,
        widen: Mapping[str, Type] | None = None,
        rename: Mapping[str, str] | None = None,
        retire: Sequence[str] | None = None,
        purge: bool = False,
        set_features: Mapping[str, Mapping[str, Any]] | None = None,
        set: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Adds, widens, renames or retires features, or sets options (``set={"max_age": "8h"}``).

        ``set_features={"temp": {"max_age": "3h"}}`` sets ``max_age``, ``default``, ``description``, ``tags`` of features.
        ``purge=True`` also removes the bytes of the retired features.
        """
        changes = given(
            add=None if add is None else features_json(add),
            widen=None if widen is None else [{"name": name, "type": type_text(to)} for name, to in widen.items()],
            rename=None if rename is None else dict(rename),
            retire=None if retire is None else list(retire),
            purge=purge,
            set_features=None if set_features is None else feature_settings_json(set_features),
            set=None if set is None else {name: setting_json(value) for name, value in set.items()},
        )
        return self._action("alter_table", {"table": table} | changes)

    def drop_table(self, table: str) -> dict[str, Any]:
        """Removes a table and all its rows."""
        return self._action("drop_table", {"table": table})

    def drop_entity(self, entity: str) -> dict[str, Any]:
        """Removes an entity that has no tables."""
        return self._action("drop_entity", {"entity": entity})

    def seal_table(self, table: str) -> dict[str, Any]:
        """Ends the history load of a table: from now on the server gives the ingest times."""
        return self._action("seal_table", {"table": table})

    def list_entities(self) -> Any:
        """The declared entities."""
        return self._action("list_entities", {})

    def list_tables(self) -> Any:
        """The declared tables."""
        return self._action("list_tables", {})

    def describe_entity(self, entity: str) -> dict[str, Any]:
        """The full declaration of an entity, with ``schema_version``."""
        return self._action("describe_entity", {"entity": entity})

    def describe_table(self, table: str) -> dict[str, Any]:
        """The full declaration of a table, with ``schema_version`` and ``sealed``."""
        return self._action("describe_table", {"table": table})

    def producers(self, table: str) -> dict[str, int]:
        """The last number of each producer of a table whose batch is durable and readable: where each goes on."""
        return self._action("producers", {"table": table})["producers"]

    # Rows

    def write(
        self,
        table: str,
        data: Data,
        *,
        nulls: str = "value",
        ingest_time: str | None = None,
        bad_rows: str = "refuse_batch",
        producer: Producer | None = None,
        batch_rows: int | None = None,
        progress: bool | None = None,
    ) -> Written:
        """Writes rows: the entity's key columns, the event time, the row id, and features. A missing column is absent.

        ``nulls="absent"``: a null cell counts as not written, instead of as an explicit null.
        ``ingest_time``: the column with the rows' own ingest times (a history load, before the table is sealed).
        ``bad_rows="report"``: good rows are applied, and the result lists the bad ones.
        ``producer``: makes the data one exactly-once batch, which is sent again if the server goes away meanwhile.
        ``batch_rows``: rows of a batch; each batch is atomic, the whole is not.
        """
        body = {"table": table} | given(ingest_time=ingest_time)
        if nulls != "value":
            body["nulls"] = nulls
        return self._put("write", body, data, bad_rows, producer, batch_rows, progress)

    def delete(
        self,
        table: str,
        data: Data,
        *,
        ingest_time: str | None = None,
        bad_rows: str = "refuse_batch",
        producer: Producer | None = None,
        batch_rows: int | None = None,
        progress: bool | None = None,
    ) -> Written:
        """Ends entities from their event times on: the key columns and the event time of each row of ``data``."""
        body = {"table": table} | given(ingest_time=ingest_time)
        return self._put("delete", body, data, bad_rows, producer, batch_rows, progress)

    def retract(
        self,
        table: str,
        data: Data,
        *,
        features: Sequence[str] | None = None,
        ingest_time: str | None = None,
        bad_rows: str = "refuse_batch",
        producer: Producer | None = None,
        batch_rows: int | None = None,
        progress: bool | None = None,
    ) -> Written:
        """Takes back rows by identity (key columns, event time, row id), or only ``features`` of them."""
        body = {"table": table} | given(
            features=None if features is None else list(features), ingest_time=ingest_time
        )
        return self._put("retract", body, data, bad_rows, producer, batch_rows, progress)

    # Reads

    def lookup(
        self,
        features: FeatureReference | Iterable[FeatureReference],
        entities: Data,
        *,
        as_of: Bound = "latest",
        known_at: Bound = "latest",
        to: str | None = None,
        details: bool = False,
        **options: Any,
    ) -> Any:
        """The features of each entity: one row for each row of ``entities``, in their order.

        ``entities`` has the key columns (and the columns of per-row bounds). Options are those of :meth:`lookups`.
        ``details=True`` returns an :class:`Answer` with read position, clock and schema version.
        """
        command = self._read(features, bound_json(as_of), bound_json(known_at), options)
        return lookup(self._connection, command, entities, to, details)

    def lookups(
        self,
        features: FeatureReference | Iterable[FeatureReference],
        *,
        as_of: Bound = "latest",
        known_at: Bound = "latest",
        to: str | None = None,
        **options: Any,
    ) -> Lookups:
        """A session of lookups over one open stream, for callers that ask again and again.

        Options of every read: ``status=True`` adds ``x__status`` after each feature ``x``, ``event_times=True`` adds
        ``x__event_time``; ``position``, ``clock`` (µs) and ``schema_version`` fix the answer; ``at_least`` (a position)
        with ``wait`` (a duration) waits for it; ``max_age`` counts instead of the declared ones; ``null_keys="keep"``
        answers rows whose key is null as those of an unknown entity; ``digest=True``; ``max_message_bytes``.
        """
        command = self._read(features, bound_json(as_of), bound_json(known_at), options)
        return Lookups(self._connection, command, to)

    def join(
        self,
        spine: Data,
        features: FeatureReference | Iterable[FeatureReference],
        *,
        as_of: Bound | None = None,
        known_at: Bound = "latest",
        to: str | None = None,
        details: bool = False,
        progress: bool | None = None,
        **options: Any,
    ) -> Any:
        """A training set: the columns of ``spine``, then the features of each row as of its own bounds.

        ``as_of`` must be given; ``known_at`` also leaves out what was learned later. An iterable of record batches is
        answered by a ``pyarrow.RecordBatchReader``, batch by batch. Options are those of :meth:`lookups`, but a row whose
        key is null keeps its place, without features; ``null_keys="refuse"`` makes it an error.
        """
        command = self._read(features, join_bound_json(as_of), bound_json(known_at), {"null_keys": "keep"} | options)
        return join(self._connection, command, spine, to, details, progress)

    def scan(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        *,
        as_of: Bound = "latest",
        known_at: Bound = "latest",
        history: bool = False,
        from_time: Time | None = None,
        to_time: Time | None = None,
        to: str | None = None,
        details: bool = False,
        **options: Any,
    ) -> Any:
        """The entities of a table with their features, or with ``history=True`` every row and tombstone.

        ``from_time`` (inclusive) and ``to_time`` (exclusive) select by event time. The order of rows is not defined.
        The answer is a ``pyarrow.Table`` unless ``to`` says otherwise; ``to="reader"`` streams it.
        """
        command: dict[str, Any] = {"table": table} | given(
            columns=None if columns is None else list(columns),
            as_of=bound_json(as_of),
            known_at=bound_json(known_at),
            history=history,
        )
        if from_time is not None:
            command["from"] = time_json(from_time, up=True)
        if to_time is not None:
            command["to"] = time_json(to_time, up=True)
        return scan(self._connection, command | read_options(options), to, details)

    # Upkeep

    def erase(self, entity: str, entities: Data, *, block: bool = False) -> dict[str, Any]:
        """Removes every row of entities for good, from all tables, at all bounds; returns the receipt.

        ``entities`` has the key columns, or only leading ones for every entity that begins with them.
        ``block=True`` also refuses later rows of them.
        """
        table = take(entities).table()
        keys = {
            name: [value_json(value) for value in column.to_pylist()]
            for name, column in zip(table.column_names, table.columns)
        }
        return self._action("erase", {"entity": entity, "entities": keys, "block": block})

    def flush(self, table: str | None = None) -> Any:
        """Writes what is in memory into segments."""
        return self._action("flush", given(table=table))

    def compact(self, table: str | None = None) -> Any:
        """Merges segments."""
        return self._action("compact", given(table=table))

    def status(self) -> dict[str, Any]:
        """How the server is."""
        return self._action("status", {})

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _action(self, name: str, body: Mapping[str, Any]) -> Any:
        return self._connection.action(name, body)

    def _put(
        self,
        verb: str,
        body: dict[str, Any],
        data: Data,
        bad_rows: str,
        producer: Producer | None,
        batch_rows: int | None,
        progress: bool | None,
    ) -> Written:
        if bad_rows != "refuse_batch":
            body["bad_rows"] = bad_rows
        return put(self._connection, verb, body, data, producer=producer, batch_rows=batch_rows, show=progress)

    def _read(
        self, features: Any, as_of: Any, known_at: Any, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        command = {"features": references_json(features)} | given(as_of=as_of, known_at=known_at)
        return command | read_options(options)
