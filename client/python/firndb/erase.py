"""Erases: entities removed for good, at all bounds; and what they have blocked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ._native import Table
from .calls import Steps
from .connection import Connection
from .frames import Data, Stream, take
from .values import value_json

__all__ = ["erase", "of_blocked"]

# A command may have 1 MiB. Each erase writes anew what lies around its entities, so the fewer the better.
_COMMAND_BYTES = 900_000


def erase(connection: Connection, entity: str, entities: Data, block: bool, timeout: float | None) -> Steps[dict[str, Any]]:
    """Erases entities by their keys and returns the receipt; of several commands, that of all together."""
    receipt: dict[str, Any] = {}
    for some in _commands(_keys(entities)):
        body = {"entity": entity, "entities": some, "block": block}
        one = yield from connection.action("erase", body, timeout)
        first = receipt.get("erased_at", one["erased_at"])
        receipt = {**one, "erased_at": first, "entities": receipt.get("entities", 0) + one["entities"]}
    return receipt


def of_blocked(
    connection: Connection, action: str, entity: str, entities: Data | None, timeout: float | None
) -> Steps[dict[str, Any]]:
    """Asks for what is blocked, or unblocks it."""
    if entities is None:
        return (yield from connection.action(action, {"entity": entity}, timeout))
    answer: dict[str, Any] = {}
    for some in _commands(_keys(entities)):
        one = yield from connection.action(action, {"entity": entity, "entities": some}, timeout)
        together: dict[str, Any] = {name: answer[name] + one[name] for name in ("blocked", "unblocked") if name in answer}
        answer = {**one, **together}
    return answer


def _keys(entities: Data) -> dict[str, list[Any]]:
    given = take(entities)
    table = Table.chained([batch.table() for batch in given]) if isinstance(given, Stream) else given.table()
    return {name: [value_json(value) for value in values] for name, values in table.to_pydict().items()}


def _commands(keys: dict[str, list[Any]]) -> Iterator[dict[str, list[Any]]]:
    """The keys in as few commands as they fit into."""
    rows = max(map(len, keys.values()), default=0)
    size = len(json.dumps(keys))
    commands = -(-size // _COMMAND_BYTES)
    length = -(-rows // commands) if commands else rows
    if rows <= 1 or commands <= 1:
        yield keys
        return
    for start in range(0, rows, length):
        yield from _commands({name: values[start : start + length] for name, values in keys.items()})
