"""Inspect every file of a corpus once: can it be decoded, how long is it, what is its content.

Files are decoded on several processes. Each finding is written to a journal at once, so that a run that was killed goes
on; a file is inspected again only if its size or its time of change differ, and decoded again only if its content does.
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

from mien.video.decode import FOLDER_FPS, IMAGES, VideoError, ends_in, natural_key
from mien.video.stream import checked_frame_times

CRASHED = "the decoder crashed on it"
LFS_MARK = b"version https://git-lfs"


@dataclass(frozen=True)
class Finding:
    """Size, content, length and damage of one file or folder of frames."""

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
class InspectionRequest:
    """One file to inspect, and what an earlier inspection found."""

    path: Path
    decode: bool
    before: Finding | None = None


Inspector = Callable[[InspectionRequest], Finding]


def content_files(path: Path) -> list[Path]:
    """The files that make up a clip: itself, or the images of a folder in natural order."""
    if not path.is_dir():
        return [path]
    return sorted((f for f in path.iterdir() if ends_in(f.name, IMAGES)), key=natural_key)


def stamp(path: Path) -> Finding:
    """A finding without contents: size and time of change."""
    states = [file.stat() for file in content_files(path)]
    return Finding(str(path), sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=0))


def digest(path: Path) -> str:
    """SHA-256 of a clip's content."""
    total = hashlib.sha256()
    for file in content_files(path):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
    return total.hexdigest()


def inspect_file(request: InspectionRequest) -> Finding:
    """The finding of one clip, decoded completely with ``decode``. Never raises for a bad file: the finding says what is wrong."""
    path, before = request.path, request.before
    try:
        finding = replace(stamp(path), sha256=digest(path))
        if before and before.sha256 == finding.sha256 and before.decoded >= request.decode:
            return replace(before, size=finding.size, changed=finding.changed)
        if finding.size < 1024 and path.is_file() and path.read_bytes().startswith(LFS_MARK):
            return replace(
                finding, decoded=True, damage=f"{path}: a Git LFS pointer, not the video; run 'git lfs pull'"
            )
        try:
            times = checked_frame_times(path, request.decode)
        except VideoError as error:
            return replace(finding, decoded=request.decode, damage=str(error))
        return replace(finding, frames=len(times), seconds=duration(times), decoded=request.decode)
    except OSError as error:
        return Finding(str(path), 0, 0, damage=f"{path}: cannot be read: {error.strerror or error}")


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

    def unchanged(self, path: Path, decode: bool) -> Finding | None:
        """What is known of a clip that has not changed since; None if it has to be inspected."""
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


def inspect_files(
    paths: Iterable[Path],
    journal: InspectionJournal,
    workers: int,
    decode: bool,
    tick: Callable[[int], object] = lambda count: None,
    inspector: Inspector = inspect_file,
) -> dict[Path, Finding]:
    """Findings of all clips, from the journal where they have not changed; ``tick`` gets the number of clips newly done."""
    findings: dict[Path, Finding] = {}
    todo = []
    for path in dict.fromkeys(paths):
        known = journal.unchanged(path, decode)
        if known is None:
            todo.append(InspectionRequest(path, decode, journal.findings.get(str(path))))
        else:
            findings[path] = known
    tick(len(findings))
    for finding in inspect_all(todo, workers, inspector):
        journal.add(finding)
        findings[Path(finding.path)] = finding
        tick(1)
    return findings


def inspect_all(todo: Sequence[InspectionRequest], workers: int, inspector: Inspector) -> Iterator[Finding]:
    """Findings as they come, from ``workers`` processes; a single worker is this process."""
    if workers == 1 or len(todo) < 2:
        yield from map(inspector, todo)
        return
    queue = deque(todo)
    while queue:
        suspects: list[InspectionRequest] = []
        with process_pool(workers) as pool:
            yield from drain(queue, suspects, pool, workers, inspector)
        for look in suspects:
            yield inspect_alone(look, inspector)


def drain(
    queue: deque[InspectionRequest],
    suspects: list[InspectionRequest],
    pool: ProcessPoolExecutor,
    workers: int,
    inspector: Inspector,
) -> Iterator[Finding]:
    """Work on the queue until it is empty or a process dies; what was under way then is suspect."""
    running: dict[Future[Finding], InspectionRequest] = {}
    while running or (queue and not suspects):
        while queue and not suspects and len(running) < 4 * workers:
            try:
                running[pool.submit(inspector, queue[0])] = queue[0]
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


def inspect_alone(request: InspectionRequest, inspector: Inspector) -> Finding:
    """The finding of one clip from a process of its own; if that dies, the clip is what killed it."""
    with process_pool(1) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise OSError("no process can be started to decode in; try --workers 1") from error
        try:
            return pool.submit(inspector, request).result()
        except BrokenProcessPool:
            pass
    damage = f"{request.path}: {CRASHED}, or it needs more memory than there is; replace or remove it"
    return replace(stamp(request.path), sha256=digest(request.path), decoded=request.decode, damage=damage)


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that start clean: a fork of a process that runs threads may hang."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), prepare_process)


def prepare_process() -> None:
    """In a new process: leave Ctrl-C to the parent, which every process of a terminal gets, and end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """End when the parent ends, however it does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
