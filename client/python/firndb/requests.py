"""The sending half of a pipelined exchange: a thread that sends requests while another reads the answers.

Were one thread to do both, it could wait for room to send while the server waits for it to read.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import pyarrow as pa

from .exchange import Exchange

__all__ = ["Requests"]

Tag = TypeVar("Tag")


class Requests(Generic[Tag]):
    """Sends requests over ``exchange`` with at most ``window`` of them unanswered.

    Iterating yields the tag of each request in the order sent, as soon as its answer may be read, and ends after the
    last one. What goes wrong in the caller's iterable is raised there, after the answers to all requests before it.
    """

    def __init__(self, exchange: Exchange, requests: Iterable[tuple[pa.RecordBatch, Tag]], window: int) -> None:
        self._exchange = exchange
        self._requests = requests
        self._free = threading.Semaphore(window)
        self._sent: queue.SimpleQueue[tuple[Tag] | BaseException | None] = queue.SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._send, name="firndb requests", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Tag]:
        while (sent := self._sent.get()) is not None:
            if isinstance(sent, BaseException):
                raise sent
            yield sent[0]
            self._free.release()

    def stop(self) -> None:
        """Sends nothing more. Call it before the stream is abandoned."""
        self._stopped = True
        self._free.release()

    def _send(self) -> None:
        try:
            for batch, tag in self._requests:
                self._free.acquire()
                if self._stopped:
                    return
                self._sent.put((tag,))
                if not self._exchange.send(batch):
                    return  # Whoever reads the answer learns why.
            self._sent.put(None)
        except BaseException as error:
            self._sent.put(error)
