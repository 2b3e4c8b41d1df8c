"""Sessions of lookups for event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from ..calls import arun
from ..connection import Connection
from ..frames import Data
from ..lookup import Session

__all__ = ["Lookups"]


class Lookups:
    """One open stream of lookups: the same features and bounds, request after request.

    A request that is refused raises its error and leaves the session usable. Tasks may share a session; their requests
    take turns. Cancelling one ends the stream, and the next request opens another.
    """

    def __init__(self, connection: Connection, command: Mapping[str, Any], to: str | None) -> None:
        self._session = Session(connection, command, to)
        self._turn = asyncio.Lock()

    async def get(self, entities: Data, *, to: str | None = None, details: bool = False, timeout: float | None = None) -> Any:
        """The features of ``entities``, one row for each of theirs, in their order.

        ``details=True`` returns an :class:`Answer` with read position, clock and schema version.
        """
        async with self._turn:
            return await arun(self._session.get(entities, to, details, timeout))

    async def close(self) -> None:
        """Ends the session and raises what went wrong with its stream, if anything did."""
        await arun(self._session.close(None))

    async def __aenter__(self) -> Lookups:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            self._session.end()
