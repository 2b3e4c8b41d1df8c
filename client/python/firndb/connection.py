"""One connection: its address, its credentials, how long calls may take, and the actions (JSON in, JSON out)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Union

from . import _native
from .calls import Deadline, Steps
from .errors import Invalid

__all__ = ["Connection", "Pem"]

#: Certificates or a key in PEM: their bytes, or the path of a file.
Pem = Union[bytes, str, "os.PathLike[str]"]

#: A year in seconds.
_TIMEOUT_MAX = 366 * 86_400


class Connection:
    """Where the server is. Safe to use from several threads, and in children that are forked from this process."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
        tls_authorities: Any,
        tls_certificate: Any,
        tls_key: Any,
        tls_server_name: str | None,
    ) -> None:
        if (tls_certificate is None) != (tls_key is None):
            raise Invalid("a certificate needs its key: give both `tls_certificate` and `tls_key`, or neither")
        self.url = url
        self.native = _native.Connection(
            url,
            token=token,
            headers=list((headers or {}).items()),
            authorities=_pem("tls_authorities", tls_authorities),
            certificate=_pem("tls_certificate", tls_certificate),
            key=_pem("tls_key", tls_key),
            server_name=tls_server_name,
        )
        self.native.check()
        self.timeout = None if timeout is None else checked(timeout)
        self._closed = False
        #: The columns that writes take, by command.
        self._schemas: dict[str, _native.Table] = {}

    def deadline(self, timeout: float | None) -> Deadline:
        """When a call must have ended that was given ``timeout``, or else the connection's own."""
        if self._closed:
            raise Invalid("this client is closed; make another one with firndb.connect(…)")
        return Deadline(self.timeout if timeout is None else checked(timeout))

    def action(self, name: str, body: Mapping[str, Any], timeout: float | None = None) -> Steps[dict[str, Any]]:
        """Runs an action and returns its result."""
        answer = yield self.native.action(name, json.dumps(body), self.deadline(timeout).left())
        found: dict[str, Any] = json.loads(answer)
        return found

    def schema(self, command: Mapping[str, Any], names: set[str], deadline: Deadline) -> Steps[_native.Table]:
        """The columns that a write of ``names`` takes; asked for once, and again when there are names that it lacks."""
        asked = json.dumps(command)
        known = self._schemas.get(asked)
        if known is None or not names.issubset(known.column_names):
            known = yield self.native.schema(asked, deadline.left())
            self._schemas[asked] = known
        return known

    def close(self) -> None:
        """Takes no more calls. The connection ends with the last one."""
        self._closed = True
        self.native.close()


def checked(timeout: float) -> float:
    """A time-out that is a time."""
    if isinstance(timeout, (int, float)) and 0 < timeout <= _TIMEOUT_MAX:
        return timeout
    raise Invalid(f"timeout={timeout!r} is not a time; give seconds above 0, or None to wait for ever")


def _pem(name: str, given: Any) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    try:
        with open(given, "rb") as file:
            return file.read()
    except OSError as error:
        raise Invalid(f"`{name}` cannot be read: {error}") from None
