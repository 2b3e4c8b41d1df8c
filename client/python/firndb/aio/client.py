"""The client: one short method for each thing that FirnDB does.

Made by `tools/make_aio.py`; change the module of the same name in `firndb` instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from ..bounds import Bound
from ..calls import arun
from ..connection import Connection, Pem
from ..declarations import FeatureReference
from .declaring import Declaring
from ..erase import erase, of_blocked, receipts
from ..frames import Data
from ..join import join
from ..lookup import lookup
from .lookups import Lookups
from ..options import join_command, lookup_command, put_command, scan_command
from ..scan import scan
from ..times import Time
from ..write import Acknowledge, Columns, Producer, put
from ..written import Written

__all__ = ["Client", "connect"]


def connect(
    url: str = "grpc://localhost:3476",
    *,
    timeout: float | None = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    tls_authorities: Pem | None = None,
    tls_certificate: Pem | None = None,
    tls_key: Pem | None = None,
    tls_server_name: str | None = None,
) -> Client:
    """A client of the server at ``url``: ``"localhost"``, ``"grpc://host:port"``, or ``"grpc+tls://host:port"``.

    Without a port it is 3476. The connection is made by the first call, and by the first one of each process that is
    forked from this one.

    ``timeout`` (seconds) bounds each call that is not given its own; a call that takes longer raises
    :class:`DeadlineExceeded`. Without one, a server that falls silent is given up after 40 seconds.
    ``token`` goes with each call as a bearer token, and so do ``headers``.
    ``tls_authorities`` are the certificates that the server's must go back to (those of this machine, if not given),
    ``tls_certificate`` and ``tls_key`` say who this client is: PEM as bytes, or a path.

    >>> client = firndb.aio.connect("localhost", timeout=5)
    """
    return Client(
        Connection(
            url,
            token=token,
            headers=headers,
            timeout=timeout,
            tls_authorities=tls_authorities,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            tls_server_name=tls_server_name,
        )
    )


class Client(Declaring):
    """A connection to FirnDB. Safe to use from several threads; use it as a context manager or :meth:`close` it.

    Data may be pandas, polars, pyarrow, a dict of columns or a list of dicts; an answer has the kind of what was given,
    or the one that ``to=`` names: ``"pandas"``, ``"polars"``, ``"pyarrow"``, ``"numpy"``, ``"dict"`` or ``"reader"``.
    """

    async def write(
        self,
        table: str,
        data: Data,
        *,
        columns: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
        nulls: str = "value",
        ingest_time: str | None = None,
        bad_rows: str = "refuse_batch",
        acknowledge: Acknowledge | None = None,
        producer: Producer | None = None,
        batch_rows: int | None = None,
        progress: bool | None = None,
        timeout: float | None = None,
    ) -> Written:
        """Writes rows: the entity's key columns, the event time, the row id, and features. A missing column is absent.

        ``columns``: which columns of ``data`` are written (all); ``rename``: ``{"temperature": "temp"}`` writes the
        column ``temperature`` as ``temp``.
        ``nulls="absent"``: a null cell counts as not written, instead of as an explicit null.
        ``ingest_time``: the column with the rows' own ingest times (a history load, before the table is sealed).
        ``bad_rows="report"``: good rows are applied, and the result lists the bad ones.
        ``acknowledge="object"``: returns once the rows are in the server's bucket too, where no loss of its disk takes them
        away; ``"local"``: once they are on its disk. The server has a level of its own for those that do not say.
        ``producer``: makes the data one exactly-once batch, which is sent again if the server goes away meanwhile.
        ``batch_rows``: rows of a batch; each batch is atomic, the whole is not.

        >>> (await client.write("weather", {"origin": ["EWR"], "observed": ["2013-06-01T09:00:00Z"], "temp": [66]})).rows
        1
        """
        body = put_command(table, nulls=nulls, ingest_time=ingest_time, bad_rows=bad_rows, acknowledge=acknowledge)
        chosen = Columns.chosen(columns, rename)
        return await arun(put(self._connection, "write", body, data, chosen, producer, batch_rows, progress, timeout))

    async def delete(
        self,
        table: str,
        data: Data,
        *,
        columns: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
        ingest_time: str | None = None,
        bad_rows: str = "refuse_batch",
        acknowledge: Acknowledge | None = None,
        producer: Producer | None = None,
        batch_rows: int | None = None,
        progress: bool | None = None,
        timeout: float | None = None,
    ) -> Written:
        """Ends entities from their event times on: the key columns and the event time of each row of ``data``.

        The options are those of :meth:`write`.
        """
        body = put_command(table, ingest_time=ingest_time, bad_rows=bad_rows, acknowledge=acknowledge)
        chosen = Columns.chosen(columns, rename)
        return await arun(put(self._connection, "delete", body, data, chosen, producer, batch_rows, progress, timeout))

    async def retract(
        self,
        table: str,
        data: Data,
        *,
        features: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
        ingest_time: str | None = None,
        bad_rows: str = "refuse_batch",
        acknowledge: Acknowledge | None = None,
        producer: Producer | None = None,
        batch_rows: int | None = None,
        progress: bool | None = None,
        timeout: float | None = None,
    ) -> Written:
        """Takes back rows by identity (key columns, event time, row id), or only ``features`` of them.

        The other options are those of :meth:`write`.
        """
        body = put_command(table, features=features, ingest_time=ingest_time, bad_rows=bad_rows, acknowledge=acknowledge)
        chosen = Columns.chosen(columns, rename)
        return await arun(put(self._connection, "retract", body, data, chosen, producer, batch_rows, progress, timeout))

    async def lookup(
        self,
        features: FeatureReference | Iterable[FeatureReference],
        entities: Data,
        *,
        as_of: Bound = "latest",
        known_at: Bound = "latest",
        to: str | None = None,
        details: bool = False,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """The features of each entity: one row for each row of ``entities``, in their order.

        ``entities`` has the key columns (and the columns of per-row bounds). Options are those of :meth:`lookups`.
        ``details=True`` returns an :class:`Answer` with read position, clock and schema version.

        >>> await client.lookup("weather.temp", {"origin": ["EWR"]})
        {'temp': [66.0]}
        """
        command = lookup_command(features, as_of, known_at, options)
        return await arun(lookup(self._connection, command, entities, to, details, timeout))

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
        ``x__event_time``; ``position``, ``clock`` (µs) and ``schema_version`` fix the answer; ``durable=True`` sees only what
        is in the server's bucket; ``at_least`` (a position) with ``wait`` (a duration) waits for it; ``max_age`` counts instead of the declared ones; ``null_keys="keep"``
        answers rows whose key is null as those of an unknown entity; ``digest=True``; ``max_message_bytes``.

        >>> async with client.lookups("weather.temp") as session:
        ...     await session.get({"origin": ["EWR"]})
        {'temp': [66.0]}
        """
        return Lookups(self._connection, lookup_command(features, as_of, known_at, options), to)

    async def join(
        self,
        spine: Data,
        features: FeatureReference | Iterable[FeatureReference],
        *,
        as_of: Bound | None = None,
        known_at: Bound = "latest",
        to: str | None = None,
        details: bool = False,
        progress: bool | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """A training set: the columns of ``spine``, then the features of each row as of its own bounds.

        ``as_of`` must be given; ``known_at`` also leaves out what was learned later. Only keys and times travel; all
        columns of ``spine`` come back as they were given. An iterable of record batches is answered by a
        ``pyarrow.RecordBatchReader``, batch by batch. Options are those of :meth:`lookups`, but a row whose key is null
        keeps its place, without features; ``null_keys="refuse"`` makes it an error.

        >>> await client.join({"origin": ["EWR"], "at": ["2013-06-01T10:00:00Z"]}, "weather.temp", as_of="at")
        {'origin': ['EWR'], 'at': ['2013-06-01T10:00:00Z'], 'temp': [66.0]}
        """
        command = join_command(features, as_of, known_at, options)
        return await arun(join(self._connection, command, spine, to, details, progress, timeout, None))

    async def scan(
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
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """The entities of a table with their features, or with ``history=True`` every row and tombstone.

        ``from_time`` (inclusive) and ``to_time`` (exclusive) select by event time. The order of rows is not defined.
        The answer is of pyarrow, polars, pandas or a dict, whichever is installed first, unless ``to`` says otherwise;
        ``to="reader"`` streams it.

        >>> await client.scan("weather", ["temp"], to="dict")
        {'origin': ['EWR'], 'temp': [66.0]}
        """
        command = scan_command(table, columns, as_of, known_at, history, from_time, to_time, options)
        return await arun(scan(self._connection, command, to, details, timeout, None))

    async def erase(self, entity: str, entities: Data, *, block: bool = False, timeout: float | None = None) -> dict[str, Any]:
        """Removes every row of entities for good, from all tables, at all bounds; returns the receipt.

        ``entities`` has the key columns, or only leading ones for every entity that begins with them.
        ``block=True`` also refuses later rows of them. The receipt's ``tiers`` say from where how many files or objects went,
        and when.
        """
        return await arun(erase(self._connection, entity, entities, block, timeout))

    async def receipts(self, entity: str, last: int | None = None, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """The receipts of the last erases of an entity, of 100 or of ``last`` of them, the oldest first.

        One whose ``purged_at`` is ``None`` is not finished: its rows are invisible, and some of their bytes are still there.
        """
        return await arun(receipts(self._connection, entity, last, timeout))

    async def blocked(self, entity: str, entities: Data | None = None, *, timeout: float | None = None) -> dict[str, Any]:
        """How many entities are blocked (``count``), and of ``entities``, named as their erase named them, which (``blocked``).

        The server keeps hashes of what was erased, so it cannot say the keys.
        """
        return await arun(of_blocked(self._connection, "blocked", entity, entities, timeout))

    async def unblock(self, entity: str, entities: Data, *, timeout: float | None = None) -> dict[str, Any]:
        """Takes rows again of entities that were erased with ``block=True``, named as then; says how many were blocked."""
        return await arun(of_blocked(self._connection, "unblock", entity, entities, timeout))

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
