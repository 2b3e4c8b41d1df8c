"""Writes the asynchronous client, `firndb/aio/`, from the synchronous one: the same names, signatures and words.

Run it after a change of `firndb/client.py` or `firndb/declaring.py`; a test compares.
"""

from __future__ import annotations

import pathlib
import re

PACKAGE = pathlib.Path(__file__).parents[1] / "firndb"
WRITTEN = {"declaring.py": "declaring.py", "client.py": "client.py"}
#: Methods that wait for nothing.
PLAIN = ("__init__", "lookups", "close")


def asynchronous(text: str) -> str:
    """The text of a module with its calls awaited."""
    text = re.sub(r'\A"""(.*?)\n?"""', _head, text, count=1, flags=re.DOTALL)
    text = text.replace("from .calls import run\n", "from ..calls import arun\n")
    text = text.replace("from .declaring import", "from .DECLARING import").replace("from .lookup import Lookups, lookup\n", "from ..lookup import lookup\nfrom .lookups import Lookups\n")
    text = re.sub(r"^from \.(\w+) import", r"from ..\1 import", text, flags=re.MULTILINE)
    text = text.replace("from ..DECLARING import", "from .declaring import").replace("from ..lookups import", "from .lookups import")
    text = re.sub(r"^    def (\w+)\(", lambda found: found[0] if found[1] in PLAIN else f"    async def {found[1]}(", text, flags=re.MULTILINE)
    text = text.replace("async def __enter__", "async def __aenter__").replace("async def __exit__", "async def __aexit__")
    text = text.replace(", timeout, run))", ", timeout, None))").replace("run(", "await arun(")
    text = re.sub(r"(await arun\(.*\))\[\"producers\"\]", r'(\1)["producers"]', text)
    text = re.sub(r"^(        (?:>>>|\.\.\.) )(.*)$", _example, text, flags=re.MULTILINE)
    return text.replace("firndb.connect(", "firndb.aio.connect(")


def _head(found: re.Match[str]) -> str:
    return f'"""{found[1].strip()}\n\nMade by `tools/make_aio.py`; change the module of the same name in `firndb` instead.\n"""'


def _example(found: re.Match[str]) -> str:
    code = re.sub(r"^(with )", r"async \1", found[2])
    return found[1] + re.sub(r"(?<!async with )\b((?:client|session)\.(?!lookups)\w+\(.*\)(?:\.rows)?)$", _awaited, code)


def _awaited(found: re.Match[str]) -> str:
    call, rows, _ = found[1].partition(".rows")
    return f"(await {call}).rows" if rows else f"await {call}"


def main() -> None:
    for source, target in WRITTEN.items():
        (PACKAGE / "aio" / target).write_text(asynchronous((PACKAGE / source).read_text()))


if __name__ == "__main__":
    main()
