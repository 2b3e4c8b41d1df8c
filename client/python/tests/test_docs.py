"""The Python blocks of the documents run as they stand, in file order, and print what the page says that they print.

A `text` block straight after a `python` block is what that block prints. `…` in it stands for whatever differs from run
to run: within a line, or, alone on a line, for lines that the page leaves out. A block that prints without such an
answer is a mistake of the page, and so is an answer to a block that prints nothing.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import pathlib
import re
from collections.abc import Callable
from typing import Any

import firndb
import pytest
from server import PROJECT, Server

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n?^```text\n(?P<answer>.*?)^```$)?", re.DOTALL | re.MULTILINE)
ADDRESS = re.compile(r"\b(localhost|127\.0\.0\.1):3476\b")
PAGES = sorted(
    str(page.relative_to(PROJECT))
    for page in (PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md"), PROJECT / "client/python/README.md")
    if BLOCK.search(page.read_text())
)


def matches(printed: str, answer: str) -> bool:
    lines = [r"(?:.*)" if line.strip() == "…" else re.escape(line).replace("…", r"[^\n]*?") for line in answer.splitlines()]
    return re.fullmatch("\n".join(lines), printed.rstrip("\n"), re.DOTALL) is not None


def run(page: str, server: Server) -> None:
    text = (PROJECT / page).read_text()
    names: dict[str, Any] = {"__name__": "__page__"}
    for block in BLOCK.finditer(text):
        code = ADDRESS.sub(f"127.0.0.1:{server.port}", block["code"])
        line = text[: block.start("code")].count("\n")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + code, page, "exec"), names)
        found, answer = printed.getvalue(), block["answer"] or ""
        assert matches(found, answer), f"{page}:{line + 1}\n--- prints\n{found}\n--- the page says\n{answer}"


@pytest.mark.parametrize("page", PAGES)
def test_page(fresh: Callable[..., Server], page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    run(page, fresh())


def test_the_examples_of_the_package_run(fresh: Callable[..., Server]) -> None:
    """In their order: what one writes, the next one reads."""
    with firndb.connect(fresh().url) as client:
        client.create_entity("airport", {"origin": "utf8"})
        client.create_table("weather", entity="airport", event_time="observed", features={"temp": "float64"})
        finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
        methods = [getattr(firndb.Client, name) for name in ("write", "lookup", "lookups", "join", "scan")]
        tried = 0
        for documented in (firndb.connect, *methods):
            for example in finder.find(documented, globs={"firndb": firndb, "client": client}):
                tried += runner.run(example).attempted
        assert tried >= 6 and runner.failures == 0


def test_the_pages_that_must_have_examples_have_them() -> None:
    assert {"README.md", "docs/wire.md", "client/python/README.md"} <= set(PAGES)


def test_a_page_that_lies_is_found() -> None:
    assert matches("a 1\nb\nc\nd\n", "a …\n…\nd\n") and matches("", "")
    assert not matches("a 1\nb\n", "a 2\nb\n") and not matches("a\n", "") and not matches("", "a\n")
    assert not matches("a 1\nx", "a …")
