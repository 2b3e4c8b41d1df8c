"""The Python blocks of the documentation run as they stand, in order, against a fresh server."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from server import PROJECT, Server

PAGES = ["README.md", "docs/wire.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
ADDRESS = re.compile(r"\b(localhost|127\.0\.0\.1):3476\b")


@pytest.mark.parametrize("page", PAGES)
def test_page(fresh: Callable[..., Server], page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = PROJECT / page
    if not path.exists():
        pytest.skip(f"{page} is not written yet")
    blocks = list(BLOCK.finditer(path.read_text()))
    if not blocks:
        pytest.skip(f"{page} has no Python blocks")
    server = fresh()
    monkeypatch.chdir(PROJECT)
    names: dict[str, Any] = {"__name__": "__page__"}
    for block in blocks:
        text = ADDRESS.sub(f"127.0.0.1:{server.port}", block[1])
        line = path.read_text()[: block.start(1)].count("\n")
        code = compile("\n" * line + text, str(pathlib.Path(page)), "exec")
        exec(code, names)
