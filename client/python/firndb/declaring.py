"""What a client declares: entities and tables, how they change, and what there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .calls import run
from .connection import Connection
from .declarations import Feature, NamedTypes, Type, entity_json, table_changes_json, table_json
from .options import given
from .times import Duration

__all__ = ["Declaring"]


class Declaring:
    """The calls of a client that declare and describe. ``timeout`` (seconds) bounds each, else that of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def action(self, name: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> dict[str, Any]:
        """Runs any action of the server, such as one that this client is too old to know."""
        return run(self._connection.action(name, body or {}, timeout))

    def create_entity(
        self,
        entity: str,
        key: NamedTypes,
        *,
        bucket_by: Sequence[str] | None = None,
        buckets: int | None = None,
        if_not_exists: bool = False,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Declares an entity by its key columns: ``create_entity("airport", {"origin": "utf8"})``.

        ``bucket_by`` are the leading key columns that decide where an entity is kept (all of them, if not given).
        """
        body = entity_json(entity, key, bucket_by=bucket_by, buckets=buckets, if_not_exists=if_not_exists)
        return run(self._connection.action("create_entity", body, timeout))

    def create_table(
        self,
        table: str,
        *,
        entity: str,
        event_time: str,
        features: NamedTypes | Iterable[Feature],
        aggregates: Iterable[Mapping[str, Any]] | None = None,
        row_id: NamedTypes | None = None,
        max_age: Duration | None = None,
        max_future_skew: Duration | None = None,
        keep_events: Duration | None = None,
        keep_knowledge: Duration | None = None,
        hot_window: Duration | None = None,
        event_time_rounding: str | None = None,
        float_rounding: str | None = None,
        owner: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        if_not_exists: bool = False,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Declares a feature table of an entity and returns its full declaration.

        ``features`` are :class:`Feature` s or names and types, ``aggregates`` what is counted and added up over windows, such as
        ``{"name": "plays", "function": "count", "windows": ["1h", "7d"]}``. ``row_id`` names the columns that tell apart rows of
        one entity at one event time. ``keep_events`` and ``keep_knowledge`` are the table's retention. What is
        frozen and older than ``hot_window`` leaves the disk of a server with a bucket. Durations are ``timedelta`` s or
        ``"6h"``; ``"none"`` means unlimited.
        """
        body = table_json(
            table,
            entity,
            event_time,
            features,
            aggregates=None if aggregates is None else [dict(aggregate) for aggregate in aggregates],
            row_id=row_id,
            durations={"max_age": max_age, "max_future_skew": max_future_skew, "hot_window": hot_window},
            retention={"keep_events": keep_events, "keep_knowledge": keep_knowledge},
            event_time_rounding=event_time_rounding,
            float_rounding=float_rounding,
            owner=owner,
            description=description,
            tags=None if tags is None else list(tags),
            if_not_exists=if_not_exists,
        )
        return run(self._connection.action("create_table", body, timeout))

    def alter_table(
        self,
        table: str,
        *,
        add: NamedTypes | Iterable[Feature] | None = None,
        widen: Mapping[str, Type] | None = None,
        rename: Mapping[str, str] | None = None,
        retire: Sequence[str] | None = None,
        purge: bool = False,
        add_aggregates: Iterable[Mapping[str, Any]] | None = None,
        retire_aggregates: Sequence[str] | None = None,
        set_features: Mapping[str, Mapping[str, Any]] | None = None,
        set: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Adds, widens, renames or retires features, adds or retires aggregates, or sets options (``set={"max_age": "8h"}``).

        ``set_features={"temp": {"max_age": "3h"}}`` sets ``max_age``, ``default``, ``description``, ``tags`` of features.
        ``purge=True`` also removes the bytes of the retired features.
        """
        changes = table_changes_json(
            add=add,
            widen=widen,
            rename=rename,
            retire=retire,
            purge=purge,
            add_aggregates=add_aggregates,
            retire_aggregates=retire_aggregates,
            set_features=set_features,
            set=set,
        )
        return run(self._connection.action("alter_table", {"table": table} | changes, timeout))

    def drop_table(self, table: str, *, timeout: float | None = None) -> dict[str, Any]:
        """Removes a table and all its rows."""
        return run(self._connection.action("drop_table", {"table": table}, timeout))

    def drop_entity(self, entity: str, *, timeout: float | None = None) -> dict[str, Any]:
        """Removes an entity that has no tables."""
        return run(self._connection.action("drop_entity", {"entity": entity}, timeout))

    def seal_table(self, table: str, *, timeout: float | None = None) -> dict[str, Any]:
        """Ends the history load of a table: from now on the server gives the ingest times."""
        return run(self._connection.action("seal_table", {"table": table}, timeout))

    def list_entities(self, *, timeout: float | None = None) -> Any:
        """The declared entities."""
        return run(self._connection.action("list_entities", {}, timeout))

    def list_tables(self, *, timeout: float | None = None) -> Any:
        """The declared tables."""
        return run(self._connection.action("list_tables", {}, timeout))

    def describe_entity(self, entity: str, *, timeout: float | None = None) -> dict[str, Any]:
        """The full declaration of an entity, with ``schema_version``."""
        return run(self._connection.action("describe_entity", {"entity": entity}, timeout))

    def describe_table(self, table: str, *, timeout: float | None = None) -> dict[str, Any]:
        """The full declaration of a table, with ``schema_version`` and ``sealed``."""
        return run(self._connection.action("describe_table", {"table": table}, timeout))

    def producers(self, table: str, *, timeout: float | None = None) -> dict[str, int]:
        """The last number of each producer of a table whose batch is durable and readable: where each goes on."""
        numbers: dict[str, int] = run(self._connection.action("producers", {"table": table}, timeout))["producers"]
        return numbers

    def flush(self, table: str | None = None, *, timeout: float | None = None) -> Any:
        """Writes what is in memory into segments."""
        return run(self._connection.action("flush", given(table=table), timeout))

    def compact(self, table: str | None = None, *, timeout: float | None = None) -> Any:
        """Merges segments."""
        return run(self._connection.action("compact", given(table=table), timeout))

    def freeze(self, table: str | None = None, *, timeout: float | None = None) -> Any:
        """Puts segments into the bucket as Parquet."""
        return run(self._connection.action("freeze", given(table=table), timeout))

    def create_checkpoint(self, checkpoint: str, *, timeout: float | None = None) -> dict[str, Any]:
        """Keeps the database as it is now in its bucket, by this name, until it is dropped."""
        return run(self._connection.action("create_checkpoint", {"checkpoint": checkpoint}, timeout))

    def list_checkpoints(self, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """The checkpoints, the oldest first: ``checkpoint``, ``created_at`` (µs), ``read_position``."""
        answer = run(self._connection.action("list_checkpoints", {}, timeout))
        checkpoints: list[dict[str, Any]] = answer["checkpoints"]
        return checkpoints

    def drop_checkpoint(self, checkpoint: str, *, timeout: float | None = None) -> None:
        """Lets a checkpoint go."""
        run(self._connection.action("drop_checkpoint", {"checkpoint": checkpoint}, timeout))

    def status(self, *, timeout: float | None = None) -> dict[str, Any]:
        """How the server is."""
        return run(self._connection.action("status", {}, timeout))
