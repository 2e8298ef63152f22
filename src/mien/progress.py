"""How far a long piece of work has got: a bar for who watches, a line now and then in a log.

The only place that draws progress. On a terminal and in a notebook it is tqdm's bar on stderr; where stderr is a file or a pipe, a line is
written every few per cent, and at most one in ten seconds::

    faces: 412/20000 video (2 %), 3.1 video/s, 1:45:10 left, frames=98113
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from time import monotonic
from typing import Any, TypeVar

from tqdm import tqdm

SHARE = 0.02
"""Part of the whole from one line of a log to the next."""
PAUSE = 10.0
"""Seconds between two lines, at the least."""
SILENCE = 600.0
"""Seconds after which a line comes even where less than ``SHARE`` was done, as a sign of life."""
QUIET = 2.0
"""Seconds before a bar appears: what is quick needs none."""

LINE = "{desc}{n_fmt}/{total_fmt}{unit} ({percentage:.0f} %), {rate_fmt}, {remaining} left{postfix}"
ENDLESS = "{desc}{n_fmt}{unit}, {rate_fmt}{postfix}"
"""A line of a log, with and without a known end."""

T = TypeVar("T")


class ProgressBar(tqdm):
    """tqdm that writes lines where nobody watches, and whose clock no change of the system's time can move."""

    def __init__(self, items: Iterable[object] | None = None, watched: bool | None = None, **options: Any) -> None:
        notebook = type(sys.stderr).__module__.startswith("ipykernel.")  # no terminal, and draws bars as one does
        self.watched = sys.stderr.isatty() or notebook if watched is None else watched
        self.written, self.at = float(options.get("initial", 0)), monotonic()
        lines = {} if self.watched else {"mininterval": PAUSE, "miniters": 0, "leave": False}
        super().__init__(items, **{"delay": QUIET, "leave": False, "dynamic_ncols": True} | options | lines)
        self._time = monotonic
        self.start_t = self.last_print_t = monotonic()

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw the bar, or write a line if one is due."""
        if self.watched:
            super().display(msg, pos)
            return
        now = monotonic()
        share = (self.n - self.written) / self.total if self.total else 0.0
        if msg is None and self.n and now - self.at >= PAUSE and (share >= SHARE or now - self.at >= SILENCE):
            self.written, self.at = self.n, now
            self.fp.write(self.line() + "\n")
            self.fp.flush()

    def line(self) -> str:
        """What a log says of it: done of how much, speed, time left, and what stands beside it."""
        state = dict(self.format_dict)
        layout = state["bar_format"] or (LINE if self.total else ENDLESS)
        desc = f"{self.desc}: " if self.desc and not state["bar_format"] else self.desc
        layout = layout.replace("|{bar}| ", "")
        return self.format_meter(
            **state | {"bar_format": layout, "prefix": desc, "unit": f" {self.unit}", "ncols": None}
        ).strip()

    def clear(self, nolock: bool = False) -> None:
        """Take the bar away for a moment; a line of a log stays."""
        if self.watched:
            super().clear(nolock)


def progress_bar(
    items: Iterable[T] | None = None, what: str = "", *, total: float | None = None, unit: str = "clip", **options: Any
) -> tqdm[T]:
    """``items`` with a bar around them, or without them a bar to ``update``; ``options`` are tqdm's."""
    return ProgressBar(items, desc=what or None, total=total, unit=unit, **options)
