"""Files that are whole or absent, and folders that one process at a time writes."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from mien.names import to_text

try:
    import fcntl
except ImportError:  # not a Unix: there is no lock that the kernel releases
    fcntl = None

LOCK = ".lock"
"""Stands in a folder while a process writes there; says who it is."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors that can only come of writing."""
HELD_FOLDERS: set[Path] = set()
"""Folders that this process holds."""


class DiskError(OSError):
    """Something cannot be written: a sentence that names it, the disk, and the way out."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside and rename, so that ``path`` is always a whole file or absent, even after a power cut.

    It has the mode that the user's umask gives to new files, whatever ``write`` does (safetensors makes it 0600). Raises
    ``DiskError`` where the disk is full or may not be written; what was there before is kept.
    """
    beside = path.with_name(f".{path.name}.{secrets.randbits(48)}")  # its own, also on a disk that machines share
    try:
        with on_disk(path, path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.touch()
            mode = beside.stat().st_mode
            write(beside)
            beside.chmod(mode)
            publish(beside, path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def publish(beside: Path, path: Path) -> None:
    """Give a finished file, or a folder of files, its name; what it holds is on the disk before it has it."""
    for part in beside.rglob("*") if beside.is_dir() else [beside]:
        if part.is_file():
            with part.open("rb") as file:
                os.fsync(file.fileno())
    os.replace(beside, path)


@contextlib.contextmanager
def on_disk(path: Path, folder: Path) -> Iterator[None]:
    """While ``path`` is written: a full disk, and what the system refuses about a file in ``folder``, is a ``DiskError``."""
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        fault = disk_fault(error)
        if fault is None or not (fault.errno in FULL or str(fault.filename).startswith(str(folder))):
            raise
        raise disk_error(path, fault) from error


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files that are about to be written together, in this order: the one that is written last goes first, so that
    a kill on the way never leaves it beside files of another run. What a kill left of writing them goes too."""
    with on_disk(folder, folder):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        remove_leftovers(folder)


def disk_fault(error: BaseException) -> OSError | None:
    """The error of the disk behind an error, which torch and safetensors raise as other kinds; None if it is none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause
        if found := re.search(r"\(os error (\d+)\)", str(cause)):
            number = int(found[1])
            return OSError(number, os.strerror(number))
        cause = cause.__cause__ or cause.__context__
    return None


def disk_error(path: Path, fault: OSError) -> DiskError:
    """What to say of a file that cannot be written; the number of the fault is kept as ``errno``."""
    there = next((folder for folder in (path, *path.parents) if folder.is_dir()), Path())
    free = shutil.disk_usage(there).free / 2**20
    said = DiskError(
        f"{path} cannot be written: {fault.strerror}. The disk of {there} has {free:,.0f} MiB free. Make room there, or see "
        "that you may write there, or choose another folder; what was written before is kept, and the same command goes on "
        "from it"
    )
    said.errno = fault.errno
    return said


@contextlib.contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold the folder of the file ``lock``, such as FOLDER/.lock, for this process; when it ends, however it does, the
    kernel lets go of it.

    The folder is made, and unmade if it stays empty. What ``write_whole`` left there when a process was killed is removed,
    if the lock is the folder's own (``LOCK``) and not that of a part of the work in it.
    Raises ``ValueError`` naming the process that holds it; one process may hold a folder twice. Where the file system has no
    locks, says so and goes on.
    """
    place = lock.absolute()
    if place in HELD_FOLDERS or fcntl is None:
        yield
        return
    made = [folder for folder in (lock.parent, *lock.parent.parents) if not folder.exists()]
    number = lock_file(lock)
    HELD_FOLDERS.add(place)
    try:
        if lock.name == LOCK:
            remove_leftovers(lock.parent)
        yield
    finally:
        HELD_FOLDERS.discard(place)
        if number is not None:
            with contextlib.suppress(OSError):
                lock.unlink()
            os.close(number)
        for folder in made:
            with contextlib.suppress(OSError):  # it is not empty: something was made
                folder.rmdir()


def lock_file(lock: Path) -> int | None:
    """Lock a file; the descriptor that holds it, or None where the file system has no locks."""
    assert fcntl is not None
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            number = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise disk_error(lock.parent, error) from error
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(number, 4096).decode(errors="replace").strip()
            os.close(number)
            raise ValueError(
                f"{lock.parent} is in use by {holder or 'a process that has just begun'}. Wait until it ends, or choose "
                "another --output"
            ) from None
        except OSError as error:
            os.close(number)
            print(f"{lock.parent}: no locks on this disk ({error.strerror}); start nothing else there", file=sys.stderr)
            return None
        with contextlib.suppress(OSError):  # who held it before has removed it: take the new one
            if os.fstat(number).st_ino == os.stat(lock).st_ino:
                os.ftruncate(number, 0)
                os.write(number, f"{to_text(holder_name())}\n".encode())
                return number
        os.close(number)


def holder_name() -> str:
    """Who this process is, for others."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:300]
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    return f"process {os.getpid()} on {platform.node()}, since {since}: {command}"


def remove_leftovers(folder: Path) -> None:
    """Remove what ``write_whole`` left beside its files in a folder that this process holds, and in those directly in it."""
    for pattern in (".*", "*/.*"):
        for path in folder.glob(pattern):
            if re.fullmatch(r"\..+\.\d+", path.name) and path.is_file():
                path.unlink(missing_ok=True)
