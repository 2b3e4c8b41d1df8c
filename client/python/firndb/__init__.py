"""FirnDB from Python: one feature store for training and serving.

    import firndb

    client = firndb.connect("localhost")
    client.create_entity("airport", {"origin": "utf8"})
    client.create_table("weather", entity="airport", event_time="observed", features={"temp": "float64"})
    client.write("weather", frame)
    client.lookup(["weather.temp"], {"origin": ["EWR"]})
    client.join(spine, ["weather.temp"], as_of="decided_at", known_at="decided_at")

Data goes in and comes out as pandas, polars, pyarrow, numpy or plain Python: what the user has. It is not an engine:
everything is decided by the server, so that every client sees the same answer. The same for event loops: ``firndb.aio``.
"""

from .bounds import Before, Bound, Column, before, column
from .client import Client, connect
from .declarations import Feature, FeatureReference, select
from .errors import (
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    Exhausted,
    FirnError,
    Internal,
    Invalid,
    NotFound,
    OutOfRange,
    PermissionDenied,
    Precondition,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

from .answers import Answer
from .lookup import Lookups
from .write import Producer
from .written import BadRow, Written

__version__ = "0.1.0"

__all__ = [
    "AlreadyExists",
    "Answer",
    "BadRow",
    "Before",
    "Bound",
    "Cancelled",
    "Client",
    "Column",
    "DataLoss",
    "DeadlineExceeded",
    "Exhausted",
    "Feature",
    "FeatureReference",
    "FirnError",
    "Internal",
    "Invalid",
    "Lookups",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "Precondition",
    "Producer",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Written",
    "before",
    "column",
    "connect",
    "select",
]
