"""Fixtures: one server for all tests that leave it as they found it, and fresh ones for the others."""

from __future__ import annotations

import itertools
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import firndb
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from server import Server, binary  # noqa: E402

_numbers = itertools.count()


@pytest.fixture(scope="session")
def program() -> pathlib.Path:
    """The binary under test."""
    return binary()


@pytest.fixture(scope="session")
def server(program: pathlib.Path) -> Iterator[Server]:
    """One server for the whole run; tests use names of their own in it."""
    with Server(program) as started:
        yield started
        assert started.process is not None and started.process.poll() is None, started.output()[-4000:]


@pytest.fixture
def fresh(program: pathlib.Path) -> Iterator[Callable[..., Server]]:
    """Starts a server for this test alone."""
    started: list[Server] = []

    def start(*arguments: str, **popen: Any) -> Server:
        started.append(Server(program, *arguments, **popen))
        return started[-1]

    yield start
    for one in started:
        one.__exit__()


@pytest.fixture
def client(server: Server) -> Iterator[firndb.Client]:
    """A client of the shared server."""
    with firndb.connect(server.url) as connected:
        yield connected


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t{next(_numbers)}"
