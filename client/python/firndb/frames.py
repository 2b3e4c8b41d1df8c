"""Data in and out: pyarrow, pandas, polars or plain Python, and the answer in the kind of what was given.

Nothing is lost on the way. Missing values of pandas (NaN, NaT, NA) are nulls. On the way out an integer or boolean
column with nulls takes pandas' nullable type instead of becoming floats, so that no value changes. Plain Python values
have no type of their own (plain.py); where the server has declared one for their column, they take it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Union

import pyarrow as pa

from .errors import Invalid, translated
from .plain import plain

__all__ = ["Data", "Given", "KINDS", "alike", "batches_of", "check_kind", "give", "is_rows", "one_batch", "take"]

#: ``pyarrow.Table``, ``RecordBatch``, ``RecordBatchReader`` or an iterable of batches; ``pandas.DataFrame``;
#: ``polars.DataFrame`` or ``LazyFrame``; a dict of columns; a list of dicts; anything with ``__arrow_c_stream__``.
Data = Any

#: The kinds of answer that ``to=`` accepts.
KINDS = ("arrow", "pandas", "polars", "dict", "reader")

# A request message may have 64 MiB; a batch of a quarter of that stays below whatever the framing adds.
_BATCH_BYTES = 16 << 20
_BATCH_ROWS = 65_536


@dataclasses.dataclass(frozen=True)
class Given:
    """Data that came in: what it holds, and which kind it was."""

    data: Union[pa.Table, pa.RecordBatchReader]
    kind: str
    original: Any = None

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self.data.schema

    def table(self) -> pa.Table:
        """All of it in memory."""
        return self.data if isinstance(self.data, pa.Table) else self.data.read_all()

    def rows(self) -> int | None:
        """How many rows, if that is known before reading."""
        return self.data.num_rows if isinstance(self.data, pa.Table) else None


def _module(data: Any) -> str:
    return type(data).__module__.partition(".")[0]


def check_kind(to: str | None) -> None:
    """Refuses an unknown ``to=``."""
    if to is not None and to not in KINDS:
        raise Invalid(f"to={to!r} is unknown; the kinds of answer are {', '.join(KINDS)}")


def take(data: Data, declared: Callable[[], pa.Schema] | None = None) -> Given:
    """Reads data of any accepted kind; ``declared`` has the types of columns that hold plain Python values."""
    with translated():
        return _take(data, declared or (lambda: pa.schema([])))


def _take(data: Data, declared: Callable[[], pa.Schema]) -> Given:
    if isinstance(data, pa.Table):
        return Given(data, "arrow")
    if isinstance(data, pa.RecordBatch):
        return Given(pa.Table.from_batches([data]), "arrow")
    if isinstance(data, pa.RecordBatchReader):
        return Given(data, "reader")
    if _module(data) == "pandas" and hasattr(data, "columns"):
        return Given(_from_pandas(data, declared), "pandas", data)
    if _module(data) == "polars" and hasattr(data, "collect_schema"):
        frame = data.collect() if hasattr(data, "collect") else data
        return Given(frame.to_arrow(), "polars", frame)
    if isinstance(data, Mapping):
        return Given(_from_columns(data, declared), "dict")
    if hasattr(data, "__arrow_c_stream__"):
        return Given(pa.RecordBatchReader.from_stream(data), "reader")
    if is_rows(data):
        return Given(_from_columns(columns_of(data), declared), "dict")
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        return Given(_reader(iter(data)), "reader")
    raise Invalid(
        f"a {type(data).__name__} is not data; give a pyarrow, pandas or polars table, a dict of columns, a list of "
        "dicts, or an iterable of record batches"
    )


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns; what a row does not mention is null."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def is_rows(data: Data) -> bool:
    """Whether the data is a list of dicts."""
    return isinstance(data, (list, tuple)) and all(isinstance(row, Mapping) for row in data)


def alike(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """The rows in their order, in runs that mention the same columns: what a row does not mention is not written."""
    for _, run in itertools.groupby(rows, key=lambda row: frozenset(row)):
        yield list(run)


def _from_columns(columns: Mapping[str, Any], declared: Callable[[], pa.Schema]) -> pa.Table:
    typed = all(isinstance(values, (pa.Array, pa.ChunkedArray)) for values in columns.values())
    schema = pa.schema([]) if typed else declared()
    return pa.table({name: _column(name, values, schema) for name, values in columns.items()})


def _column(name: str, values: Any, schema: pa.Schema) -> Any:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    # A single value is a mistake that pyarrow would take apart letter by letter.
    if isinstance(values, (str, bytes, int, float)):
        raise Invalid(f"a column is a list of values, not a single one; write [{values!r}]")
    # What brings a type of its own, such as a numpy array, keeps it: the server says if it does not fit.
    if hasattr(values, "dtype") and getattr(values, "dtype") != object:
        return pa.array(values, from_pandas=_module(values) == "pandas")
    return plain(name, values, _declared(name, schema))


def _declared(name: str, schema: pa.Schema) -> pa.DataType | None:
    return schema.field(name).type if schema.get_field_index(name) >= 0 else None


def _from_pandas(frame: Any, declared: Callable[[], pa.Schema]) -> pa.Table:
    names = [str(name) for name in frame.columns]
    objects = {name for name, dtype in zip(names, frame.dtypes) if dtype == object}
    schema = declared() if objects else pa.schema([])
    arrays = []
    for place, name in enumerate(names):
        series = frame.iloc[:, place]
        if name in objects:
            arrays.append(plain(name, series, _declared(name, schema), missing=True))
        else:
            arrays.append(pa.array(series, from_pandas=True))
    return pa.table(arrays, names=names)


def _reader(batches: Iterator[Any]) -> pa.RecordBatchReader:
    try:
        first = next(batches)
    except StopIteration:
        raise Invalid("an empty iterable has no columns; give at least one record batch") from None
    if not isinstance(first, pa.RecordBatch):
        raise Invalid(f"expected an iterable of record batches, found a {type(first).__name__} in it")

    def all_batches() -> Iterator[pa.RecordBatch]:
        yield first
        yield from batches

    return pa.RecordBatchReader.from_batches(first.schema, all_batches())


def batches_of(given: Given, batch_rows: int | None = None) -> Iterator[pa.RecordBatch]:
    """The data as batches that each fit into a message, at least one (without rows if there are none)."""
    sent = False
    source = _table_batches(given.data, batch_rows) if isinstance(given.data, pa.Table) else given.data
    for batch in source:
        for piece in _pieces(batch, batch_rows or _BATCH_ROWS):
            sent = True
            yield piece
    if not sent:
        yield pa.RecordBatch.from_pylist([], schema=given.schema)


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """All rows in one batch, for what must be one request."""
    batches = table.combine_chunks().to_batches()
    if len(batches) > 1:
        raise Invalid("the data is too large for one batch; split it")
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _table_batches(table: pa.Table, batch_rows: int | None) -> Iterator[pa.RecordBatch]:
    rows = batch_rows or _BATCH_ROWS
    chunks = max((column.num_chunks for column in table.columns), default=1)
    if chunks > 2 + 2 * (table.num_rows // rows):
        table = table.combine_chunks()
    yield from table.to_batches(max_chunksize=rows)


def _pieces(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    if batch.num_rows <= 1 or (batch.num_rows <= rows and batch.nbytes <= _BATCH_BYTES):
        yield batch
        return
    at_most = min(rows, max(1, batch.num_rows // (1 + batch.nbytes // _BATCH_BYTES)))
    for start in range(0, batch.num_rows, at_most):
        yield batch.slice(start, at_most)


def give(table: pa.Table, kind: str, given: Given | None = None, join: bool = False) -> Any:
    """An answer as ``kind``.

    A pandas answer has the index of the frame that was given. Of a join, the columns that were given in a frame are
    handed back untouched, with the features after them.
    """
    given_frame = given.original if given is not None and given.kind == kind else None
    if kind in ("arrow", "reader"):
        return table if kind == "arrow" else table.to_reader()
    if kind == "dict":
        return {name: column.to_pylist() for name, column in zip(table.column_names, table.columns)}
    if join and given_frame is not None:
        table = table.select(range(len(given.schema), table.num_columns))  # type: ignore[union-attr]
    if kind == "polars":
        import polars

        answer = polars.from_arrow(table)
        return given_frame.hstack(answer) if join and given_frame is not None else answer
    return _give_pandas(table, given_frame, join)


def _give_pandas(table: pa.Table, given_frame: Any, join: bool) -> Any:
    import pandas

    columns = {name: _series(column) for name, column in zip(table.column_names, table.columns)}
    frame = pandas.DataFrame(columns, columns=table.column_names)
    if given_frame is not None:
        frame.index = given_frame.index
        if join:
            frame = pandas.concat([given_frame, frame], axis=1)
    return frame


def _series(column: pa.ChunkedArray) -> Any:
    import pandas

    if pa.types.is_nested(column.type) and not pa.types.is_fixed_size_list(column.type):
        # pandas would make floats of integers beside nulls inside of them.
        return pandas.Series(column.to_pylist(), dtype=object)
    nullable = {
        pa.int8(): pandas.Int8Dtype(),
        pa.int16(): pandas.Int16Dtype(),
        pa.int32(): pandas.Int32Dtype(),
        pa.int64(): pandas.Int64Dtype(),
        pa.uint8(): pandas.UInt8Dtype(),
        pa.uint16(): pandas.UInt16Dtype(),
        pa.uint32(): pandas.UInt32Dtype(),
        pa.uint64(): pandas.UInt64Dtype(),
        pa.bool_(): pandas.BooleanDtype(),
    }
    return column.to_pandas(types_mapper=nullable.get if column.null_count else None)
