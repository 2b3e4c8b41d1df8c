"""Every bad request is refused with its code and message, and the connection it came on goes on."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import firndb.errors
import pyarrow as pa
import pyarrow.flight as flight
import pytest
import raw
from bad_requests import BAD, set_up, sound
from server import Server

RECORD = os.environ.get("FIRN_RECORD") == "1"
MESSAGES = pathlib.Path(__file__).with_name("bad_requests.txt")


@pytest.fixture(scope="module")
def connection(program: pathlib.Path) -> Iterator[flight.FlightClient]:
    with Server(program) as server, raw.connect(server.url) as client:
        set_up(client)
        yield client


@pytest.fixture(scope="module")
def messages() -> Iterator[dict[str, str]]:
    """The recorded messages, one paragraph each: what is wrong, then the message."""
    recorded: dict[str, str] = {}
    if MESSAGES.exists() and not RECORD:
        for paragraph in MESSAGES.read_text().split("\n\n"):
            title, _, message = paragraph.strip("\n").partition("\n")
            recorded[title] = message
    yield recorded
    if RECORD:
        MESSAGES.write_text("\n\n".join(f"{title}\n{message}" for title, message in recorded.items()) + "\n")


@pytest.mark.parametrize(("title", "code", "call"), BAD, ids=[title for title, _, _ in BAD])
def test_refused(connection: flight.FlightClient, messages: dict[str, str], title: str, code: str, call: object) -> None:
    with pytest.raises((pa.ArrowException, flight.FlightError, OSError)) as caught:
        call(connection)  # type: ignore[operator]
    error = firndb.errors.from_arrow(caught.value)
    sound(connection)
    if RECORD:
        messages[title] = error.message
    assert error.code == code, error.message
    assert error.message == messages[title]


def test_titles_are_different_and_many() -> None:
    assert len({title for title, _, _ in BAD}) == len(BAD) >= 60
