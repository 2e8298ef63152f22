"""Anything that shows faces over time, as one thing: a file, a folder of frames, a camera, a file-like object, an array.

``open_source`` takes what a person has at hand; ``Source.frames()`` gives its frames once, in order, with their times.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from time import monotonic
from typing import BinaryIO, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.names import to_text
from mien.video.decode import FOLDER_FPS, VideoError
from mien.video.metadata import claimed_duration, claimed_rate
from mien.video.rates import rate_name, rate_of
from mien.video.stream import Frame, read_frames

Video = str | Path | int | BinaryIO | NDArray[np.uint8] | Iterable[Frame]
"""A file, a folder of frames, a camera's number, an open binary file, frames (N, H, W, 3) RGB, or ``Frame`` objects."""


@runtime_checkable
class Readable(Protocol):
    """What is taken for an open binary file."""

    def read(self, size: int = ..., /) -> bytes: ...


@dataclass(frozen=True)
class Source:
    """A video as the analysis sees it."""

    name: str
    """What stands in the column ``input``."""
    frames: Callable[[], Iterator[Frame]]
    """Starts reading; a camera goes on until it is closed."""
    duration: float | None = None
    """Seconds, as far as the container says; None where it does not."""
    path: Path | None = None
    """The file or folder, where there is one: it can be read again, and marks a job that is gone on with."""
    repeatable: bool = True
    """Whether ``frames`` may be called twice."""
    rate: float | None = None
    """Frames per second on average, as far as the container says; None where it does not."""

    def between(self, start: float | None, end: float | None) -> Source:
        """The same video from ``start`` (included) to ``end`` (excluded) in seconds; frames keep their numbers and times."""
        if start is None and end is None:
            return self

        def inside() -> Iterator[Frame]:
            for frame in self.frames():
                if end is not None and frame.time >= end:
                    return
                if start is None or frame.time >= start:
                    yield frame

        return replace(self, frames=inside, duration=end if end is not None else self.duration)

    def rates(self) -> dict[str, int]:
        """The frame rate, as far as it is known, as a count of one clip."""
        return {} if self.rate is None else {rate_name(self.rate): 1}

    def fingerprint(self) -> list[int] | None:
        """Size in bytes and time of change of the file, by which a job knows it again; None for what is no file."""
        if self.path is None:
            return None
        state = self.path.stat()
        return [state.st_size, state.st_mtime_ns]


@contextmanager
def open_source(video: Video, timestamps: Sequence[float] | None = None, threads: int = 1) -> Iterator[Source]:
    """A ``Source`` for whatever a person gives; temporary files are gone afterwards.

    ``timestamps`` (seconds, rising, one per frame) belong to arrays, which have no times of their own; without them an
    array counts 25 frames per second. Raises ``VideoError`` for what cannot be read.
    """
    if timestamps is not None and not isinstance(video, np.ndarray):
        raise VideoError("timestamps go with an array of frames; other videos bring their own times")
    if isinstance(video, int):
        yield Source(f"camera {video}", lambda: camera(video), repeatable=False)
    elif isinstance(video, str | Path):
        path = Path(video)
        if not path.exists():
            raise VideoError(f"{path}: no such file or folder; correct the path")
        yield file_source(to_text(path.name), path, threads, path)
    elif isinstance(video, np.ndarray):
        times = checked_times(video, timestamps)
        yield Source(
            "array",
            lambda: map(Frame, count(), times.tolist(), map(np.ascontiguousarray, video)),
            duration=float(times[-1]),
            rate=rate_of(times),
        )
    elif isinstance(video, Readable):
        with tempfile.TemporaryDirectory(prefix="mien-") as folder:
            copy = Path(folder, "video")  # in which any container can seek
            with copy.open("wb") as target:
                shutil.copyfileobj(video, target)
            yield file_source(to_text(Path(str(getattr(video, "name", ""))).name or "video"), copy, threads)
    else:
        yield Source("frames", lambda: iter(video), repeatable=isinstance(video, Sequence))


def file_source(name: str, file: Path, threads: int, path: Path | None = None) -> Source:
    """A file or a folder of frames; ``path`` unless it is temporary."""
    read = partial(read_frames, file, threads=threads)
    return Source(name, read, claimed_duration(file), path, rate=claimed_rate(file))


def checked_times(frames: NDArray[np.uint8], timestamps: Sequence[float] | None) -> NDArray[np.float64]:
    """Times (N,) of an array of frames; wrong shapes and falling times are errors."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise VideoError(f"an array of frames is uint8 (N, H, W, 3) in RGB, this is {frames.dtype} {frames.shape}")
    if timestamps is None:
        return np.arange(len(frames)) / FOLDER_FPS
    times = np.asarray(timestamps, dtype=np.float64)
    if times.shape != (len(frames),):
        raise VideoError(f"{len(frames)} frames need as many timestamps, given {times.shape}")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise VideoError("timestamps must be finite seconds that rise from frame to frame")
    return times


def camera(number: int) -> Iterator[Frame]:
    """Frames of a camera as they come; time counts from the first one, on this machine's clock."""
    device = cv2.VideoCapture(number)
    try:
        if not device.isOpened():
            raise VideoError(f"camera {number} does not open; it is absent, in use, or you may not read /dev/video*")
        began, index = 0.0, 0
        while True:
            there, picture = device.read()
            if not there:
                return
            began = began or monotonic()
            yield Frame(index, monotonic() - began, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))  # pyright: ignore
            index += 1
    finally:
        device.release()
