"""Which file crashed a decoding process: found by decoding those under way, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from mien.video.decode import VideoError
from mien.video.inspection import CRASHED, InspectionRequest, Inspector, inspect_alone, inspect_file

T = TypeVar("T")

KILLED = "signal: Killed"
"""How PyTorch names what the system does to a process for want of memory."""


def is_crash(error: BaseException | None) -> bool:
    """Whether an error is PyTorch's for a decoding process that ended by itself."""
    chain = []
    while error is not None:
        chain.append(str(error))
        error = error.__cause__
    messages = " ".join(chain)
    return (
        "DataLoader worker" in messages
        and KILLED not in messages
        and ("by signal" in messages or "unexpectedly" in messages)
    )


def find_crash(paths: Iterable[Path], inspector: Inspector = inspect_file) -> Path | None:
    """The first file that crashes the process that decodes it; None if all can be decoded, or are refused."""
    for path in dict.fromkeys(paths):
        if CRASHED in inspect_alone(InspectionRequest(path, decode=True), inspector).damage:
            return path
    return None


def name_crashed_file(items: Iterable[T], paths: list[Path], ahead: int) -> Iterator[T]:
    """Items of the files ``paths`` in order, of which processes read ``ahead``. Raises ``VideoError`` naming the file on
    which one of them crashed."""
    done = 0
    try:
        for item in items:
            done += 1
            yield item
    except RuntimeError as error:
        if is_crash(error) and (path := find_crash(paths[done : done + ahead])):
            raise VideoError(f"{path}: {CRASHED}; replace or remove it") from error
        raise
