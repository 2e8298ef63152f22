"""One video after another through a model: what `mien serve` does behind its page.

A job holds an uploaded file in a folder of its own. The upload is removed as soon as the job is over, results and folder
``keep`` seconds later, and everything when the queue is closed.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Condition, Event, Thread
from time import monotonic
from typing import Literal

from mien.engine.memory import is_out_of_memory
from mien.inference.analyzer import Analyzer
from mien.inference.pipeline import PredictionEvent
from mien.inference.predict import ReadConfig, predict_into
from mien.inference.sources import Source
from mien.inference.timeline import Timeline
from mien.reports.portraits import Portraits
from mien.reports.timeline_report import illustrate
from mien.video.decode import VideoError
from mien.video.stream import Frame, read_frames
from mien.web.decoder import DecodingLimits, VideoFacts, frames

State = Literal["uploading", "waiting", "reading", "drawing", "done", "failed", "cancelled"]
OVER = ("done", "failed", "cancelled")

logger = logging.getLogger("mien.serve")


class Cancelled(Exception):
    """The owner has cancelled the job, or the server stops."""


@dataclass(frozen=True)
class ServerLimits:
    """What a server takes and keeps."""

    bytes: int
    """Size of an upload."""
    seconds: float
    """Length of a video."""
    waiting: int
    """Jobs that may wait."""
    keep: float
    """Seconds from the end of a job to the removal of its results."""
    memory: int = 2_000_000_000
    """Bytes of memory that decoding one video may take."""
    isolated: bool = True
    """Decode in a process of its own, which may die without taking the server along."""

    @property
    def decoding(self) -> DecodingLimits:
        """What decoding one video may take: twice its longest length in processor time."""
        return DecodingLimits(self.memory, max(60.0, 2 * self.seconds))

    def check_length(self, seconds: float) -> None:
        """Raise ``ValueError`` for a video that is too long."""
        if seconds > self.seconds:
            raise ValueError(
                f"longer than the {self.seconds / 60:g} minutes that this server takes; cut it, or start the server with "
                "a larger --max-minutes"
            )


@dataclass(eq=False)
class WebJob:
    """One video for one model."""

    model: str
    name: str
    """Name of the file as its owner calls it."""
    root: Path
    """Folder in which the job's own is made."""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    """Cannot be guessed: who knows it may read the result."""
    state: State = "uploading"
    fraction: float = 0.0
    """Done of the present step (reading or drawing)."""
    began: float = 0.0
    """When the present step began, on the monotonic clock."""
    ended: float = 0.0
    message: str = ""
    """Why it failed, in words for its owner."""
    facts: VideoFacts | None = None
    """Length and rate, known once the upload was inspected."""
    stop: Event = field(default_factory=Event)

    @property
    def folder(self) -> Path:
        """Where the results are."""
        return self.root / self.id

    @property
    def upload(self) -> Path:
        """The uploaded file, under its own name, which the column ``input`` of the tables repeats."""
        return self.folder / "upload" / self.name

    @property
    def eta(self) -> float | None:
        """Seconds until the present step ends; None where that cannot be told yet."""
        if self.state not in ("reading", "drawing") or self.fraction < 0.05 or monotonic() - self.began < 2:
            return None
        return (monotonic() - self.began) * (1 - self.fraction) / self.fraction

    def enter(self, state: State) -> None:
        """Begin a step."""
        self.state, self.fraction, self.began = state, 0.0, monotonic()

    def advance(self, fraction: float) -> None:
        """Say how much of the step is done; raises ``Cancelled`` if the job was cancelled."""
        if self.stop.is_set():
            raise Cancelled
        self.fraction = min(max(fraction, self.fraction), 1.0)

    def end(self, state: State, message: str = "") -> None:
        """Over: keep results only of what is done, and the upload never."""
        shutil.rmtree(self.upload.parent if state == "done" else self.folder, ignore_errors=True)
        self.fraction, self.message, self.ended, self.state = 1.0, message, monotonic(), state

    def without_folders(self, error: Exception | str) -> str:
        """An error without this machine's folders."""
        return str(error).replace(str(self.upload), self.name).replace(str(self.folder), self.name)


class Queue:
    """Runs jobs one at a time, in the order in which they came."""

    def __init__(
        self, analyzers: Mapping[str, Analyzer], reading: ReadConfig, limits: ServerLimits, root: Path
    ) -> None:
        self.analyzers, self.reading, self.limits, self.root = dict(analyzers), reading, limits, root
        self.jobs: dict[str, WebJob] = {}
        self.coming = 0
        self.changed, self.closed = Condition(), False
        self.thread = Thread(target=self.work, name="mien-serve", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self.thread.start()

    def add(self, job: WebJob) -> None:
        """The upload is there: the job waits for its turn."""
        with self.changed:
            job.state = "waiting"
            self.jobs[job.id] = job
            self.changed.notify()

    def waiting(self) -> list[WebJob]:
        """Jobs that wait, the next one first."""
        return [job for job in list(self.jobs.values()) if job.state == "waiting"]

    @contextmanager
    def reserve(self) -> Iterator[bool]:
        """Keep a place for a job whose upload begins; false where there is none, counting those that are on their way."""
        with self.changed:
            free = len(self.waiting()) + self.coming < self.limits.waiting
            self.coming += free
        try:
            yield free
        finally:
            with self.changed:
                self.coming -= free

    def position(self, job: WebJob) -> int | None:
        """1 for the next one; None for a job that does not wait."""
        waiting = self.waiting()
        return waiting.index(job) + 1 if job in waiting else None

    def remove(self, job: WebJob) -> None:
        """Cancel a job or forget its result, with its files."""
        with self.changed:
            job.stop.set()
            if job.state not in ("reading", "drawing"):
                job.end("cancelled")
                self.jobs.pop(job.id, None)

    def expire(self) -> None:
        """Remove what was kept long enough."""
        now = monotonic()
        for job in list(self.jobs.values()):
            if job.state in OVER and now - job.ended > self.limits.keep:
                self.remove(job)

    def close(self) -> None:
        """Stop, and remove everything."""
        with self.changed:
            self.closed = True
            for job in self.jobs.values():
                job.stop.set()
            self.changed.notify()
        if self.thread.is_alive():
            self.thread.join(timeout=30)
        shutil.rmtree(self.root, ignore_errors=True)

    def work(self) -> None:
        """Run in a thread until the queue is closed."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.closed or self.waiting())
                if self.closed:
                    return
                job = self.waiting()[0]
                job.enter("reading")
            self.run(job)

    def run(self, job: WebJob) -> None:
        """One job to its end, which is never an exception: the next one waits."""
        try:
            self.read(job)
            job.end("done")
        except Cancelled:
            job.end("cancelled")
            self.jobs.pop(job.id, None)
        except (ValueError, OSError, ArithmeticError) as error:
            job.end("failed", job.without_folders(error))
        except Exception as error:
            if is_out_of_memory(error):
                job.end("failed", "the server has no memory left for it; try again later, or a smaller video")
                return
            logger.exception("job %s", job.id)
            job.end(
                "failed",
                f"an error of the program, not of the video: {type(error).__name__}: {job.without_folders(error)}",
            )

    def read(self, job: WebJob) -> None:
        """Analyze a video as `mien analyze` does, with the progress in the job."""
        portraits, length = Portraits(), job.facts.seconds if job.facts else 0.0

        def listen(event: PredictionEvent) -> None:
            job.advance(event.time / length if length else 0.0)
            self.limits.check_length(event.time)
            portraits(event)

        source = source_of(job, self.limits)
        timeline = predict_into(
            job.folder, self.analyzers[job.model], source, self.reading, progress=False, listen=listen
        )
        job.enter("drawing")
        illustrate(timeline, with_progress(source, job, timeline), portraits, job.folder, video=True, progress=False)


def source_of(job: WebJob, limits: ServerLimits) -> Source:
    """The upload as ``open_source`` would give it, decoded beside the server or in it."""
    if not job.upload.is_file():
        raise VideoError(f"{job.upload}: no such file any more; give it again")
    read = partial(frames, allowance=limits.decoding) if limits.isolated else read_frames
    found = job.facts or VideoFacts(0.0, None)
    return Source(" ".join(job.name.split()), lambda: read(job.upload), found.seconds, job.upload, rate=found.rate)


def with_progress(source: Source, job: WebJob, timeline: Timeline) -> Source:
    """The same video; reading it updates the progress of a job."""
    count = max(int(timeline.about["frames"]), 1)

    def read() -> Iterator[Frame]:
        for number, frame in enumerate(source.frames()):
            job.advance(number / count)
            yield frame

    return replace(source, frames=read)
