"""One Flight connection: its address, its credentials, and the actions (JSON in, JSON out)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from .errors import FirnError, Invalid, translated

__all__ = ["Connection"]

_SCHEMES = ("grpc://", "grpc+tcp://", "grpc+tls://", "grpc+unix://")


class Connection:
    """A Flight client and the options of its calls. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        tls_root_certs: bytes | None = None,
        **options: Any,
    ) -> None:
        if "://" not in url:
            url = f"grpc://{url}"
        if not url.startswith(_SCHEMES):
            raise Invalid(f"{url!r} is not an address of FirnDB; write for example \"grpc://localhost:3476\"")
        sent = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        if token is not None:
            sent.append((b"authorization", f"Bearer {token}".encode()))
        self.url = url
        self._headers = sent
        self._timeout = timeout
        with translated():
            self.flight = flight.FlightClient(url, tls_root_certs=tls_root_certs, **options)

    def options(self, *, stream: bool = False) -> flight.FlightCallOptions:
        """The options of a call; a stream has no timeout, for it may be open as long as its user likes."""
        return flight.FlightCallOptions(timeout=None if stream else self._timeout, headers=self._headers)

    def action(self, name: str, body: Mapping[str, Any] | None = None) -> Any:
        """Runs an action and returns its result."""
        with translated():
            action = flight.Action(name, json.dumps(body or {}).encode())
            results = list(self.flight.do_action(action, self.options()))
        if len(results) != 1:
            raise FirnError(f"the action {name} answered {len(results)} results instead of one")
        return json.loads(results[0].body.to_pybytes())

    def schema(self, command: Mapping[str, Any]) -> pa.Schema:
        """The columns that a write takes, or that a scan answers."""
        with translated():
            return self.flight.get_schema(descriptor(command), self.options()).schema

    def close(self) -> None:
        """Closes the connection."""
        with translated():
            self.flight.close()


def descriptor(command: Mapping[str, Any]) -> flight.FlightDescriptor:
    """A command as a Flight descriptor."""
    return flight.FlightDescriptor.for_command(json.dumps(command).encode())
