"""FirnDB from event loops: the names of ``firndb``, awaited.

    async with firndb.aio.connect("localhost") as client:
        await client.lookup(["weather.temp"], {"origin": ["EWR"]})

Any number of calls share one connection, each over a stream of its own; cancelling one ends its stream. Errors, bounds,
features and answers are those of ``firndb``. Nothing here streams batch by batch (``to="reader"``), for a reader waits on
the thread that reads it.
"""

from .client import Client, connect
from .lookups import Lookups

__all__ = ["Client", "Lookups", "connect"]
