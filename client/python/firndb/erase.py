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

__all__ = ["erase", "of_blocked", "receipts"]

# A command may have 1 MiB. Each erase writes anew what lies around its entities, so the fewer the better.
_COMMAND_BYTES = 900_000


def erase(connection: Connection, entity: str, entities: Data, block: bool, timeout: float | None) -> Steps[dict[str, Any]]:
    """Erases entities by their keys and returns the receipt; of several commands, that of all together."""
    receipt: dict[str, Any] = {}
    for some in _commands(_keys(entities)):
        body = {"entity": entity, "entities": some, "block": block}
        one = yield from connection.action("erase", body, timeout)
        receipt = _together(receipt, one) if receipt else one
    return receipt


def _together(first: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """The receipt of two erases, one after the other, as of one."""
    tiers = {
        name: {**tier, "removed": first["tiers"][name]["removed"] + tier["removed"]} for name, tier in then["tiers"].items()
    }
    entities = first["entities"] + then["entities"]
    return {**then, "erased_at": first["erased_at"], "entities": entities, "tiers": tiers}


def receipts(connection: Connection, entity: str, last: int | None, timeout: float | None) -> Steps[list[dict[str, Any]]]:
    """The receipts of erases, the oldest first."""
    body: dict[str, Any] = {"entity": entity} if last is None else {"entity": entity, "last": last}
    answer = yield from connection.action("receipts", body, timeout)
    found: list[dict[str, Any]] = answer["receipts"]
    return found


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
