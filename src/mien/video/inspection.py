"""Look at every file of a corpus once: can it be decoded, how long is it, what is its content.

Files are decoded on several processes. Each finding is written to a journal at once, so that a run that was killed goes
on; a file is looked at again only if its size or its time of change differ, and decoded again only if its content does.
A process that a broken file brings down costs that file alone.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from mien.video.decode import FOLDER_FPS, IMAGES, VideoError, ends_in, natural
from mien.video.stream import judge

CRASHED = "the decoder crashed on it"
LFS_MARK = b"version https://git-lfs"


@dataclass(frozen=True)
class Finding:
    """What was seen of one file or folder of frames."""

    path: str
    size: int
    """Bytes."""
    changed: int
    """Time of the last change in nanoseconds."""
    sha256: str = ""
    """Of the bytes; of a folder, of all its images in natural order."""
    frames: int = 0
    seconds: float = 0.0
    decoded: bool = False
    """Whether every frame was decoded, or only the packets were read."""
    damage: str = ""
    """Why it cannot be used; '' if it can."""


@dataclass(frozen=True)
class Look:
    """One file to look at, and what was seen of it before."""

    path: Path
    decode: bool
    before: Finding | None = None


def content(path: Path) -> list[Path]:
    """The files that make up a clip: itself, or the images of a folder in natural order."""
    if not path.is_dir():
        return [path]
    return sorted((f for f in path.iterdir() if ends_in(f.name, IMAGES)), key=natural)


def stamp(path: Path) -> Finding:
    """A finding without contents: size and time of change."""
    states = [file.stat() for file in content(path)]
    return Finding(str(path), sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=0))


def digest(path: Path) -> str:
    """SHA-256 of a clip's content."""
    total = hashlib.sha256()
    for file in content(path):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
    return total.hexdigest()


def inspect(look: Look) -> Finding:
    """Read one clip, completely with ``decode``. Never raises for a bad file: the finding says what is wrong."""
    try:
        finding = replace(stamp(look.path), sha256=digest(look.path))
        if look.before and look.before.sha256 == finding.sha256 and look.before.decoded >= look.decode:
            return replace(look.before, size=finding.size, changed=finding.changed)
        return watch(finding, look.path, look.decode)
    except OSError as error:
        return Finding(str(look.path), 0, 0, damage=f"{look.path}: cannot be read: {error.strerror or error}")


def watch(finding: Finding, path: Path, decode: bool) -> Finding:
    """Count the frames of a clip; with ``decode``, decode each of them."""
    if finding.size < 1024 and path.is_file() and path.read_bytes().startswith(LFS_MARK):
        return replace(finding, decoded=True, damage=f"{path}: a Git LFS pointer, not the video; run 'git lfs pull'")
    try:
        times = judge(path, decode)
    except VideoError as error:
        return replace(finding, decoded=decode, damage=str(error))
    return replace(finding, frames=len(times), seconds=duration(times), decoded=decode)


def duration(timestamps: np.ndarray) -> float:
    """Seconds from the first frame to the end of the last, which is taken to last as long as the others do on average."""
    if len(timestamps) < 2:
        return len(timestamps) / FOLDER_FPS
    return round(float(timestamps[-1] - timestamps[0]) * len(timestamps) / (len(timestamps) - 1), 3)


class InspectionJournal:
    """Findings in a file, a line each, written at once."""

    def __init__(self, path: Path, subject: str) -> None:
        """Open or begin a journal about ``subject``; ``ValueError`` for a file that is none, or about something else."""
        self.path, self.findings = path, dict[str, Finding]()
        if path.is_file():
            self.load(subject)
        self.file = path.open("a", encoding="utf-8")
        if not self.file.tell():
            self.put({"about": subject})

    def load(self, subject: str) -> None:
        """Read the whole lines; one that a kill cut off is taken away."""
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.path.write_text(whole, encoding="utf-8")
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                record = json.loads(line)
                if number > 1:
                    self.findings[record["path"]] = Finding(**record)
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(
                    f"{self.path} line {number}: not a journal ({error}); delete it to begin anew"
                ) from error
            if number == 1 and record.get("about") != subject:
                if whole.count("\n") == 1:  # a start that failed before anything was found
                    self.path.unlink()
                    return
                raise ValueError(f"{self.path} is about {record.get('about')}, not {subject}; choose another folder")

    def put(self, record: dict[str, object]) -> None:
        """Append a line and hand it to the system."""
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def add(self, finding: Finding) -> None:
        """Keep a finding."""
        self.findings[finding.path] = finding
        self.put(asdict(finding))

    def fresh(self, path: Path, decode: bool) -> Finding | None:
        """What is known of a clip that has not changed since; None if it has to be looked at."""
        known = self.findings.get(str(path))
        if known is None or known.decoded < decode:
            return None
        try:
            now = stamp(path)
        except OSError:
            return None
        return known if (known.size, known.changed) == (now.size, now.changed) else None

    def close(self) -> None:
        self.file.close()


def survey(
    paths: Iterable[Path],
    journal: InspectionJournal,
    workers: int,
    decode: bool,
    tick: Callable[[int], object] = lambda count: None,
    act: Callable[[Look], Finding] = inspect,
) -> dict[Path, Finding]:
    """Look at all clips, those known from the journal excepted; ``tick`` is told how many are done."""
    findings: dict[Path, Finding] = {}
    todo = []
    for path in dict.fromkeys(paths):
        known = journal.fresh(path, decode)
        if known is None:
            todo.append(Look(path, decode, journal.findings.get(str(path))))
        else:
            findings[path] = known
    tick(len(findings))
    for finding in looks(todo, workers, act):
        journal.add(finding)
        findings[Path(finding.path)] = finding
        tick(1)
    return findings


def looks(todo: Sequence[Look], workers: int, act: Callable[[Look], Finding]) -> Iterator[Finding]:
    """Findings as they come, from ``workers`` processes; a single worker is this process."""
    if workers == 1 or len(todo) < 2:
        yield from map(act, todo)
        return
    queue = deque(todo)
    while queue:
        suspects: list[Look] = []
        with processes(workers) as pool:
            yield from drain(queue, suspects, pool, workers, act)
        for look in suspects:
            yield alone(look, act)


def drain(
    queue: deque[Look], suspects: list[Look], pool: ProcessPoolExecutor, workers: int, act: Callable[[Look], Finding]
) -> Iterator[Finding]:
    """Work on the queue until it is empty or a process dies; what was under way then is suspect."""
    running: dict[Future[Finding], Look] = {}
    while running or (queue and not suspects):
        while queue and not suspects and len(running) < 4 * workers:
            try:
                running[pool.submit(act, queue[0])] = queue[0]
            except BrokenProcessPool:
                if not running:
                    return
                break
            queue.popleft()
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            look = running.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                suspects.append(look)
            else:
                yield future.result()


def alone(look: Look, act: Callable[[Look], Finding]) -> Finding:
    """Look at one clip in a process of its own; if that dies, the clip did it."""
    with processes(1) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise OSError("no process can be started to decode in; try --workers 1") from error
        try:
            return pool.submit(act, look).result()
        except BrokenProcessPool:
            pass
    damage = f"{look.path}: {CRASHED}, or it needs more memory than there is; replace or remove it"
    return replace(stamp(look.path), sha256=digest(look.path), decoded=look.decode, damage=damage)


def processes(workers: int) -> ProcessPoolExecutor:
    """Processes that start clean: a fork of a process that runs threads may hang."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), begin)


def begin() -> None:
    """In a new process: leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=follow_parent, daemon=True).start()


def follow_parent() -> None:
    """End when the parent ends, however it does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
