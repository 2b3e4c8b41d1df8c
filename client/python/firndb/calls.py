"""Work in steps: each operation is a generator that yields calls and is sent their outcomes.

So it is written once, and a thread waits for its calls (:func:`run`) as well as an event loop (:func:`arun`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Any, TypeVar

from ._native import Call
from .errors import DeadlineExceeded

__all__ = ["Deadline", "Steps", "arun", "run"]

T = TypeVar("T")

#: What an operation is before it runs.
Steps = Generator[Call, Any, T]


class Deadline:
    """When an operation of several calls must have ended."""

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """The seconds that the next call may take; ``None`` for ever."""
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the call's `timeout` has passed before it was done; give it more time, or less to do")
        return left


def run(steps: Steps[T]) -> T:
    """Runs an operation on this thread."""
    try:
        call = next(steps)
        while True:
            try:
                outcome = call.wait()
            except BaseException as error:
                call = steps.throw(error)
            else:
                call = steps.send(outcome)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def arun(steps: Steps[T]) -> T:
    """Runs an operation in the event loop. Cancelling it ends what it has open."""
    loop = asyncio.get_running_loop()
    try:
        call = next(steps)
        while True:
            try:
                outcome = await call.begin(loop)
            except BaseException as error:
                call = steps.throw(error)
            else:
                call = steps.send(outcome)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
