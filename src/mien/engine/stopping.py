"""SIGINT and SIGTERM: a command ends with a sentence and exit code 128 + n; training first keeps the step it is in."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end."""

    def __init__(self, number: int, what: str = "") -> None:
        super().__init__(number, what)
        self.number, self.what = number, what

    def __str__(self) -> str:
        return self.what


def stop_at_once(number: int, frame: FrameType | None) -> None:
    """As a handler: end as Ctrl-C does, with files closed and temporary ones removed."""
    raise Stopped(number)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the command of this process as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop_at_once)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Stopper:
    """While it is entered, the first SIGINT or SIGTERM is only noted in ``number``; a second one ends the process at once."""

    def __init__(self) -> None:
        self.number = 0
        self.before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        if self.number:
            raise Stopped(number)
        self.number = number

    @contextmanager
    def ending(self, alone: bool, end: Callable[[int], Stopped]) -> Iterator[None]:
        """Where a signal also ended the processes that decode, their ``RuntimeError`` becomes ``end`` of its number.

        Other errors stay, and so do those of a process that is not ``alone``.
        """
        try:
            yield
        except RuntimeError:
            if not self.number or not alone:
                raise
            raise end(self.number) from None

    def __enter__(self) -> Stopper:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.handle) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
