"""Answers in the kind that is asked for, or in the kind of what was given.

Of a join, the columns that were given come back untouched, with the features after them.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from ._native import Column, Table
from .errors import Invalid
from .frames import Given
from .pandas_frames import pandas_frame

__all__ = ["KINDS", "NO_READER", "beside", "check_kind", "default_kind", "give"]

#: The kinds of answer that ``to=`` accepts; ``"arrow"`` is ``"pyarrow"``.
KINDS = ("pyarrow", "pandas", "polars", "numpy", "dict", "reader")

#: Why an event loop is given no reader.
NO_READER = 'to="reader" waits on the thread that reads it; ask for another kind, or use a client of `firndb.connect`'


def check_kind(to: str | None) -> str | None:
    """The kind that ``to=`` asks for, if it is one."""
    if to == "arrow":
        return "pyarrow"
    if to is not None and to not in KINDS:
        raise Invalid(f"to={to!r} is unknown; the kinds of answer are {', '.join(KINDS)}")
    return to


def default_kind() -> str:
    """The kind of an answer to who gave nothing: what is installed."""
    return next((kind for kind in ("pyarrow", "polars", "pandas") if _installed(kind)), "dict")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def needs(module: str) -> Any:
    """A library that an answer is made for."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Invalid(f"to={module!r} needs {module}, which is not installed: pip install {module}") from None


def give(table: Table, kind: str, given: Given | None = None) -> Any:
    """The features of an answer as ``kind``. A frame of pandas has the index of the one that was given."""
    if kind == "dict":
        return table.to_pydict()
    if kind == "numpy":
        needs("numpy")
        return {name: _numpy(column) for name, column in zip(table.column_names, table.columns())}
    if kind == "pandas":
        needs("pandas")
        return pandas_frame(table, given.original.index if given is not None and given.kind == "pandas" else None)
    if kind == "polars":
        return needs("polars").DataFrame(table.without_maps())
    arrow = needs("pyarrow")
    return arrow.table(table) if kind == "pyarrow" else arrow.RecordBatchReader.from_stream(table)


def beside(given: Given, features: Table, kind: str) -> Any:
    """A join: the columns that were given, then the features."""
    if kind != given.kind or kind == "reader":
        return give(given.table().beside(features), kind)
    answer = give(features, kind, given)
    if kind == "pandas":
        return needs("pandas").concat([given.original, answer], axis=1)
    if kind == "polars":
        return given.original.hstack(answer)
    if kind == "dict":
        return {**{name: _listed(values) for name, values in given.original.items()}, **answer}
    return _pyarrow_beside(given.original, answer)


def _pyarrow_beside(original: Any, answer: Any) -> Any:
    arrow = needs("pyarrow")
    table = original if isinstance(original, arrow.Table) else arrow.table(original)
    for name, column in zip(answer.column_names, answer.columns):
        table = table.append_column(name, column)
    return table


def _listed(values: Any) -> Any:
    if isinstance(values, list):
        return values
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(values, method):
            return getattr(values, method)()
    return list(values)


def _numpy(column: Column) -> Any:
    """A column as an array: floats have NaN at gaps, moments NaT, integers and booleans are masked; all else is objects."""
    import numpy

    if (elements := column.elements()) is not None and (inner := elements[0].to_numpy()) is not None and elements[1]:
        gaps = elements[0].gaps().reshape(-1, elements[1]) | column.gaps()[:, None]
        return _with_gaps(inner.reshape(-1, elements[1]), gaps, elements[0])
    values = column.to_numpy()
    if values is None:
        made: Any = numpy.empty(len(column), dtype=object)
        made[:] = column.to_pylist()
        return made
    return _with_gaps(values, column.gaps(), column)


def _with_gaps(values: Any, gaps: Any, column: Column) -> Any:
    import numpy

    if column.moment is not None:
        values = values.view(f"datetime64[{column.moment[0]}]")
        values[gaps] = numpy.datetime64("NaT")
    elif values.dtype.kind == "f":
        values[gaps] = numpy.nan
    else:
        values = numpy.ma.MaskedArray(values, gaps)
    return values
