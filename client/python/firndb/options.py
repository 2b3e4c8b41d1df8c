"""Options as fields of a command: only those that were given, spelled as the wire spells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import Invalid
from .times import duration_text

__all__ = ["given", "read_options", "setting_json"]

_READ_OPTIONS = (
    "status",
    "event_times",
    "position",
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
    spelled = given(**options)
    for duration in ("wait", "max_age"):
        if duration in spelled:
            spelled[duration] = duration_text(spelled[duration])
    return spelled


def setting_json(value: Any) -> Any:
    """The value of a table's setting; a ``timedelta`` is a duration, also inside ``retention``."""
    if isinstance(value, Mapping):
        return {name: setting_json(inner) for name, inner in value.items()}
    return duration_text(value) if hasattr(value, "total_seconds") else value
