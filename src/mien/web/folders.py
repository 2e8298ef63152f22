"""The temporary folder of a server, which goes with it; of a server that was killed, with the next one that starts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "mien-serve-"
LOCK = ".lock"
"""Locked by the server for as long as it lives, however it ends."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that only this user can read, removed at the end; removes those of killed servers first."""
    remove_abandoned(Path(tempfile.gettempdir()))
    root = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = os.open(root / LOCK, os.O_CREAT | os.O_RDWR)
    try:
        try_lock(lock)
        yield root
    finally:
        os.close(lock)
        shutil.rmtree(root, ignore_errors=True)


def remove_abandoned(where: Path) -> None:
    """Remove folders of this user whose server is gone; on systems without file locks none is known to be."""
    for root in where.glob(f"{PREFIX}*"):
        try:
            lock = os.open(root / LOCK, os.O_RDWR)
        except OSError:  # another user's, or not locked yet
            continue
        try:
            if try_lock(lock):
                shutil.rmtree(root, ignore_errors=True)
        finally:
            os.close(lock)


def try_lock(file: int) -> bool:
    """Lock an open file until it is closed or the process ends; False if another process has it, or there are no locks."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
