"""Aggregates through a server and the client: declared, read in lookups, joins and scans, changed, refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import firndb
import pyarrow as pa
import pytest
from server import Server

TIME = pa.timestamp("us", "UTC")
HOUR = 3_600_000_000
DAY = 24 * HOUR
START = 1_714_521_600_000_000
EVENTS = 2000

AGGREGATES = [
    {"name": "plays", "function": "count", "where": {"action": "play"}, "windows": ["1h", "7d", "lifetime"]},
    {"name": "watched", "function": "sum", "of": "seconds", "windows": ["1d"], "default": 0},
    {"name": "mean", "function": "avg", "of": "seconds", "windows": ["7d"]},
    {"name": "recent", "function": "last", "of": "item", "n": 3, "windows": ["30d"]},
]
OUTPUTS = ["plays_1h", "plays_7d", "plays_lifetime", "watched_1d", "mean_7d", "recent_30d"]


@pytest.fixture
def client(fresh: Callable[..., Server]) -> Iterator[firndb.Client]:
    with firndb.connect(fresh().url) as client:
        client.create_entity("user", {"user": "int64"})
        features = {"item": "int64", "action": "utf8", "seconds": "float64"}
        client.create_table(
            "plays", entity="user", event_time="at", row_id={"event": "int64"}, features=features, aggregates=AGGREGATES
        )
        yield client


def event_time(event: int) -> int:
    """An event every half hour of each of two users, in turn."""
    return START + event // 2 * HOUR // 2


def events() -> pa.Table:
    numbers = range(EVENTS)
    return pa.table(
        {
            "user": [1 + event % 2 for event in numbers],
            "at": pa.array([event_time(event) for event in numbers], TIME),
            "event": list(numbers),
            "item": [event * 7 % 10 for event in numbers],
            "action": ["play" if event % 3 else "skip" for event in numbers],
            "seconds": [event / 10 for event in numbers],
        }
    )


def answers(user: int, moment: int) -> dict[str, object]:
    """What the windows of a user hold at a moment, by fractions and slices."""

    def within(window: int) -> list[int]:
        of_user = [event for event in range(EVENTS) if 1 + event % 2 == user]
        return [event for event in of_user if moment - window < event_time(event) <= moment]

    def played(events: list[int]) -> int:
        return sum(1 for event in events if event % 3)

    def exact(events: list[int]) -> Fraction:
        return sum((Fraction(event / 10) for event in events), Fraction(0))

    week = within(7 * DAY)
    return {
        "plays_1h": played(within(HOUR)),
        "plays_7d": played(week),
        "plays_lifetime": played(within(1000 * DAY)),
        "watched_1d": float(exact(within(DAY))),
        "mean_7d": float(exact(week) / len(week)) if week else None,
        "recent_30d": [event * 7 % 10 for event in reversed(within(30 * DAY))][:3],
    }


def test_windows_answer_through_every_door_what_fractions_say(client: firndb.Client) -> None:
    client.write("plays", events())
    names = [f"plays.{name}" for name in OUTPUTS]
    moments = [START + step * 5 * HOUR for step in range(1, 60)]
    users = [1 + step % 2 for step in range(len(moments))]
    spine = pa.table({"user": users, "decided_at": pa.array(moments, TIME)})
    joined = client.join(spine, names, as_of="decided_at").select(OUTPUTS).to_pylist()
    assert joined == [answers(user, moment) for user, moment in zip(users, moments, strict=True)]
    last = {"user": [1, 2], "decided_at": pa.array([moments[-1]] * 2, TIME)}
    everything = client.join(pa.table(last), "plays.*", as_of="decided_at").column_names
    assert everything == ["user", "decided_at", "item", "action", "seconds", *OUTPUTS]
    scanned = client.scan("plays", ["plays_lifetime", "item"], to="dict")
    assert scanned["plays_lifetime"] == [answers(user, START + 100 * DAY)["plays_lifetime"] for user in scanned["user"]]
    looked = client.lookup("plays.plays_lifetime", {"user": scanned["user"]})
    assert looked["plays_lifetime"] == scanned["plays_lifetime"]


def row(event: int, item: int) -> dict[str, list[object]]:
    return {"user": [1], "at": ["2024-05-01T00:00:00Z"], "event": [event], "item": [item], "action": ["play"], "seconds": [1.5]}


def test_what_is_declared_later_is_answered_at_once_and_said_of_the_table(client: firndb.Client) -> None:
    client.write("plays", row(1, 5))
    best = {"name": "best", "function": "max", "of": "item", "windows": ["lifetime"]}
    client.alter_table("plays", add_aggregates=[best])
    asked = {"user": [1]}
    assert client.lookup("plays.best_lifetime", asked) == {"best_lifetime": [5]}
    client.write("plays", row(2, 9))
    client.alter_table("plays", rename={"best_lifetime": "top"})
    assert client.lookup("plays.top", asked) == {"top": [9]}
    described = client.describe_table("plays")
    assert {"name": "top", "type": "int64", "aggregate": "best", "window": "lifetime"} in described["outputs"]
    client.alter_table("plays", retire_aggregates=["best"])
    with pytest.raises(firndb.NotFound, match="no feature `top`"):
        client.lookup("plays.top", asked)
    with pytest.raises(firndb.Invalid, match="aggregate `m`: there is no function `median`"):
        client.alter_table("plays", add_aggregates=[{"name": "m", "function": "median", "of": "item", "windows": ["1d"]}])


def test_a_sum_that_its_type_does_not_hold_is_refused_with_row_and_name(client: firndb.Client) -> None:
    client.alter_table("plays", add_aggregates=[{"name": "items", "function": "sum", "of": "item", "windows": ["lifetime"]}])
    client.write("plays", row(1, (1 << 63) - 1))
    client.write("plays", row(2, 1))
    with pytest.raises(firndb.OutOfRange, match="row 1: plays.items_lifetime is a sum that int64 does not hold"):
        client.lookup("plays.items_lifetime", {"user": [7, 1]})
