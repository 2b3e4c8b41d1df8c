"""Progress bars of long writes and joins: on a terminal where tqdm is installed, else nothing."""

from __future__ import annotations

import sys
from typing import Any

from .errors import Invalid

__all__ = ["Progress", "progress"]


class Progress:
    """Rows done so far. Without a bar it does nothing."""

    def __init__(self, bar: Any = None) -> None:
        self._bar = bar

    def add(self, rows: int) -> None:
        """Counts ``rows`` more."""
        if self._bar is not None:
            self._bar.update(rows)

    def close(self) -> None:
        """Ends the bar, wherever it stands."""
        if self._bar is not None:
            self._bar.close()


def progress(wanted: bool | None, what: str, rows: int | None, long: bool) -> Progress:
    """A bar if it is ``wanted``; where that is ``None``, only for ``long`` work and only on a terminal."""
    if wanted is False or (wanted is None and not (long and sys.stderr.isatty())):
        return Progress()
    try:
        from tqdm import tqdm
    except ImportError:
        if wanted:
            raise Invalid("progress=True needs tqdm: pip install 'firndb[progress]'") from None
        return Progress()
    return Progress(tqdm(total=rows, desc=what, unit=" rows", unit_scale=True))
