"""Data in and out: pandas, polars, pyarrow, numpy or plain Python, and the answer in the kind of what was given.

Nothing is lost on the way. Missing values of pandas (NaN, NaT, NA) are gaps. None of these libraries is needed, and none is
imported before it is used: what brings a frame is there, and a kind that is asked for is imported then.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ._native import Batches, Column, Table
from .errors import Invalid
from .pandas_frames import is_fixed, pandas_column
from .plain import numpy_column, plain

__all__ = ["Data", "Given", "Stream", "alike", "is_rows", "take"]

#: ``pandas.DataFrame``; ``polars.DataFrame`` or ``LazyFrame``; ``pyarrow.Table``, ``RecordBatch``, ``RecordBatchReader`` or
#: an iterable of batches; a dict of columns; a list of dicts; anything with ``__arrow_c_stream__``.
Data = Any
#: Asks for the types of columns, which decide what a plain value is.
Declared = Callable[[], "Table | None"]


class Given:
    """Data in memory: the names of its columns, and how each becomes one of Arrow's."""

    def __init__(self, kind: str, original: Any, names: Sequence[str], rows: int) -> None:
        #: What kind of answer goes with it.
        self.kind = kind
        #: The data as it was given.
        self.original = original
        self.names = list(names)
        self.rows = rows

    def ambiguous(self) -> bool:
        """Whether it has values that only a declared type makes plain."""
        return False

    def table(self, names: Sequence[str] | None = None, declared: Table | None = None) -> Table:
        """The columns of ``names``, or all."""
        raise NotImplementedError

    def batches(self, names: Sequence[str], rows: int) -> Iterator[Table]:
        """The same in batches of ``rows`` rows or more, made when they are asked for: there is memory for one at a time."""
        yield self.table(names)


class _Arrow(Given):
    """What has Arrow columns already."""

    def __init__(self, kind: str, original: Any, table: Table) -> None:
        super().__init__(kind, original, table.column_names, table.num_rows)
        self._table = table

    def table(self, names: Sequence[str] | None = None, declared: Table | None = None) -> Table:
        if names is None or list(names) == self.names:
            return self._table
        return self._table.select([self.names.index(name) for name in names])


class _Pandas(Given):
    def __init__(self, frame: Any) -> None:
        super().__init__("pandas", frame, [str(name) for name in frame.columns], len(frame))

    def ambiguous(self) -> bool:
        return any(dtype == object for dtype in self.original.dtypes)

    def table(self, names: Sequence[str] | None = None, declared: Table | None = None) -> Table:
        names = self.names if names is None else list(names)
        columns = [pandas_column(name, self.original.iloc[:, self.names.index(name)], declared) for name in names]
        return Table.of_columns(names, columns)

    def batches(self, names: Sequence[str], rows: int) -> Iterator[Table]:
        if self.rows <= rows or not is_fixed(self.original):
            yield self.table(names)
            return
        for start in range(0, self.rows, rows):
            yield _Pandas(self.original.iloc[start : start + rows]).table(names)


class _Columns(Given):
    """A dict of columns."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        columns = {str(name): _sized(name, values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
            raise Invalid(f"the columns have different numbers of values: {said}")
        super().__init__("dict", columns, list(columns), next(iter(lengths.values()), 0))

    def ambiguous(self) -> bool:
        return any(_is_plain(values) for values in self.original.values())

    def table(self, names: Sequence[str] | None = None, declared: Table | None = None) -> Table:
        names = self.names if names is None else list(names)
        return Table.of_columns(names, [column_of(name, self.original[name], declared) for name in names])


class Stream:
    """Data that comes batch by batch."""

    kind = "reader"

    def __init__(self, batches: Iterator[Any]) -> None:
        try:
            first = _Batch(next(batches))
        except StopIteration:
            raise Invalid("an empty iterable has no columns; give at least one record batch") from None
        self.names = first.names
        self._batches = itertools.chain([first], map(_Batch, batches))

    def __iter__(self) -> Iterator[Given]:
        return self._batches


class _Batch(_Arrow):
    def __init__(self, batch: Any) -> None:
        if not isinstance(batch, Table) and not hasattr(batch, "__arrow_c_array__") and not hasattr(batch, "__arrow_c_stream__"):
            raise Invalid(f"expected an iterable of record batches, found a {type(batch).__name__} in it")
        super().__init__("pyarrow", batch, Table.take(batch))


def library(data: Any) -> str:
    """The library that an object comes from."""
    return type(data).__module__.partition(".")[0]


def take(data: Data) -> Given | Stream:
    """Data of any accepted kind."""
    if library(data) == "pandas" and hasattr(data, "columns"):
        return _Pandas(data)
    if library(data) == "polars" and hasattr(data, "collect_schema"):
        frame = data.collect() if hasattr(data, "collect") else data
        return _Arrow("polars", frame, _taken(_typed(frame)))
    if isinstance(data, Mapping):
        return _Columns(data)
    if is_rows(data):
        return _Columns(columns_of(data))
    if library(data) == "pyarrow" and hasattr(data, "num_rows"):
        return _Arrow("pyarrow", data, _taken(_without_views(data)))
    if isinstance(data, Table):
        return _Arrow("pyarrow", data, data)
    if hasattr(data, "__arrow_c_stream__"):
        return _stream_of(Batches(data))
    if hasattr(data, "__arrow_c_array__"):
        return _Arrow("pyarrow", data, _taken(data))
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        return Stream(iter(data))
    raise Invalid(
        f"a {type(data).__name__} is not data; give a pandas, polars or pyarrow table, a dict of columns, a list of dicts, or "
        "an iterable of record batches"
    )


def _taken(data: Any) -> Table:
    try:
        return Table.take(data)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # A panic inside of polars is no Exception.
        raise Invalid(f"the data cannot be read as Arrow: {error}") from error


def _typed(frame: Any) -> Any:
    """A frame of polars whose columns without any value have a type: Arrow's readers differ in how they take polars' own."""
    if not any("Null" in str(dtype) for dtype in frame.dtypes):
        return frame
    import polars

    def with_type(dtype: Any) -> Any:
        if dtype == polars.Null:
            return polars.Boolean
        if isinstance(dtype, polars.List):
            return polars.List(with_type(dtype.inner))
        if isinstance(dtype, polars.Struct):
            return polars.Struct({field.name: with_type(field.dtype) for field in dtype.fields})
        return dtype

    return frame.cast({name: with_type(dtype) for name, dtype in frame.schema.items() if "Null" in str(dtype)})


def _without_views(data: Any) -> Any:
    """A table of pyarrow without views: some of its versions hand short ones over with a pointer to nothing."""
    if not any("_view" in str(field.type) for field in data.schema):
        return data
    import pyarrow

    def plain(kind: Any) -> Any:
        named = {"string_view": pyarrow.large_string(), "binary_view": pyarrow.large_binary()}
        if str(kind) in named:
            return named[str(kind)]
        if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
            return pyarrow.large_list(plain(kind.value_type))
        if pyarrow.types.is_struct(kind):
            return pyarrow.struct([kind.field(place).with_type(plain(kind.field(place).type)) for place in range(kind.num_fields)])
        return kind

    return data.cast(pyarrow.schema([field.with_type(plain(field.type)) for field in data.schema]))


def _stream_of(batches: Batches) -> Given | Stream:
    """A reader without batches still has columns."""
    first = next(batches, None)
    if first is None:
        return _Arrow("reader", None, batches.empty())
    return Stream(itertools.chain([first], batches))


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns; what a row does not mention is a gap."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def is_rows(data: Data) -> bool:
    """Whether the data is a list of dicts."""
    return isinstance(data, (list, tuple)) and all(isinstance(row, Mapping) for row in data)


def alike(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """The rows in their order, in runs that mention the same columns: what a row does not mention is not written."""
    for _, run in itertools.groupby(rows, key=lambda row: frozenset(row)):
        yield list(run)


def _is_plain(values: Any) -> bool:
    return isinstance(values, (list, tuple)) or getattr(values, "dtype", None) == object


def _sized(name: str, values: Any) -> Any:
    # A single value is a mistake that would be taken apart letter by letter.
    if isinstance(values, (str, bytes, int, float)) or values is None:
        raise Invalid(f"column `{name}` is a list of values, not a single one; write [{values!r}]", str(name))
    return values if hasattr(values, "__len__") else list(values)


def column_of(name: str, values: Any, declared: Table | None) -> Column:
    """The values of one column, however they were given."""
    if library(values) == "pandas":
        return pandas_column(name, values.to_series() if hasattr(values, "to_series") else values, declared)
    if isinstance(values, Column) or hasattr(values, "__arrow_c_array__") or hasattr(values, "__arrow_c_stream__"):
        return Column.take(values)
    if library(values) == "numpy":
        return numpy_column(name, values, declared)
    return plain(name, values, declared)
