"""Every bad request is refused with its code and message, and the connection it came on goes on."""

from __future__ import annotations

import datetime
import os
import pathlib
import re
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


TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def without_the_clock(message: str) -> str:
    """The message with `<now>` where it says what time it is, so that it is the same tomorrow."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def said(found: re.Match[str]) -> str:
        time = datetime.datetime.fromisoformat(found[0].replace("Z", "+00:00"))
        return "<now>" if abs(now - time) < datetime.timedelta(minutes=5) else found[0]

    return TIME.sub(said, message)


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
    error = raw.error_of(caught.value)
    message = without_the_clock(error.message)
    sound(connection)
    if RECORD:
        messages[title] = message
    assert error.code == code, message
    assert message == messages[title]


def test_titles_are_different_and_many() -> None:
    assert len({title for title, _, _ in BAD}) == len(BAD) >= 60
