"""Commands and their options: only those fields that were given, spelled as the wire spells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

from .bounds import Bound, bound_json, join_bound_json
from .errors import Invalid
from .times import Time, duration_text, time_json

__all__ = [
    "FeatureReference", "given", "join_command", "lookup_command", "put_command", "references_json", "scan_command", "setting_json",
]  # fmt: skip

#: ``"weather.temp"``, ``"weather.*"``, or what :func:`select` returns.
FeatureReference = Union[str, Mapping[str, Any]]

_READ_OPTIONS = (
    "status",
    "event_times",
    "position",
    "durable",
    "schema_version",
    "clock",
    "at_least",
    "wait",
    "digest",
    "null_keys",
    "max_age",
    "max_message_bytes",
)


def given(**fields: Any) -> dict[str, Any]:
    """The fields that were given: neither ``None`` nor ``False``, which are what the server assumes anyway."""
    return {name: value for name, value in fields.items() if value is not None and value is not False}


def read_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a lookup, a join or a scan."""
    unknown = [name for name in options if name not in _READ_OPTIONS]
    if unknown:
        raise Invalid(f"unknown option `{unknown[0]}`; the options of a read are {', '.join(_READ_OPTIONS)}")
    # What could be written can be read: this client takes messages of any size.
    spelled = {"max_message_bytes": "max"} | given(**options)
    for duration in ("wait", "max_age"):
        if duration in spelled:
            spelled[duration] = duration_text(spelled[duration])
    return spelled


def setting_json(value: Any) -> Any:
    """The value of a table's setting; a ``timedelta`` is a duration, also inside ``retention``."""
    if isinstance(value, Mapping):
        return {name: setting_json(inner) for name, inner in value.items()}
    return duration_text(value) if hasattr(value, "total_seconds") else value


def references_json(features: FeatureReference | Iterable[FeatureReference]) -> list[Any]:
    """References to features; a single one need not be in a list."""
    if isinstance(features, (str, Mapping)):
        return [features]
    return list(features)


def lookup_command(
    features: FeatureReference | Iterable[FeatureReference], as_of: Bound, known_at: Bound, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The body of a lookup."""
    bounds = given(as_of=bound_json(as_of), known_at=bound_json(known_at))
    return {"features": references_json(features)} | bounds | read_options(options)


def join_command(
    features: FeatureReference | Iterable[FeatureReference], as_of: Bound | None, known_at: Bound, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The body of a join: a row whose key is null keeps its place, unless the options say otherwise."""
    bounds = given(as_of=join_bound_json(as_of), known_at=bound_json(known_at))
    return {"features": references_json(features)} | bounds | read_options({"null_keys": "keep"} | dict(options))


def scan_command(
    table: str,
    columns: Sequence[str] | None,
    as_of: Bound,
    known_at: Bound,
    history: bool,
    from_time: Time | None,
    to_time: Time | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The body of a scan."""
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
    return command | read_options(options)


def put_command(
    table: str,
    *,
    nulls: str = "value",
    features: Sequence[str] | None = None,
    ingest_time: str | None,
    bad_rows: str,
    acknowledge: str | None,
) -> dict[str, Any]:
    """The body of a write, a delete or a retract."""
    return {"table": table} | given(
        features=None if features is None else list(features),
        nulls=None if nulls == "value" else nulls,
        ingest_time=ingest_time,
        bad_rows=None if bad_rows == "refuse_batch" else bad_rows,
        acknowledge=acknowledge,
    )
