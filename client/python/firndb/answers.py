"""What an answer says about itself."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

__all__ = ["Answer", "answer_of"]


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer with what it says about itself.

    ``read_position``, ``clock`` (µs) and ``schema_version`` fix it: the same request with all three gives the same
    answer for ever. ``durable_position`` says how far the bucket of the server was, if it has one: what is seen there no
    loss of its disk takes away. ``erased_since`` is set if an erase after the position touched what was asked. ``digest``, if it
    was asked for, is a hash of names, types, validity and value bits of what the server sent.
    """

    data: Any
    read_position: str | None = None
    clock: int | None = None
    schema_version: int | None = None
    erased_since: str | None = None
    digest: str | None = None
    durable_position: str | None = None

    def fixed(self) -> dict[str, Any]:
        """The options that ask for this very answer again: ``client.join(…, **answer.fixed())``."""
        return {"position": self.read_position, "clock": self.clock, "schema_version": self.schema_version}


def answer_of(data: Any, metadata: str | None) -> Answer:
    """An answer from the metadata of its last message."""
    said = json.loads(metadata) if metadata else {}
    names = ("read_position", "durable_position", "clock", "schema_version", "erased_since", "digest")
    return Answer(data, **{name: said.get(name) for name in names})
