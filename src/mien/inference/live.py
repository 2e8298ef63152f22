"""A camera, read as it shows: the newest frame always, values as soon as they are known, late frames dropped and counted.

One thread takes frames from the source and keeps only the newest. The other finds faces on it, and every ``every`` seconds
gives the model the last few seconds of each face, sampled at the steps that the model was trained on whatever the camera's
rate and however many frames were dropped. *Latency* is the time from a frame leaving the source to its values; what they
describe is the middle of a window that ended then, half a window (``lag``) earlier.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass as config_dataclass

from mien.config import STRICT
from mien.faces.face import FrameFaces
from mien.inference.window_prediction import WindowPrediction
from mien.inference.windows import FaceCrop, Window
from mien.video.stream import Frame

if TYPE_CHECKING:
    from mien.inference.analyzer import Analyzer
    from mien.inference.predict import ReadConfig


@config_dataclass(frozen=True, config=STRICT)
class LiveConfig:
    """How a camera is read."""

    every: PositiveFloat = 0.5
    """Seconds from one reading of the model to the next, at least."""
    rate: NonNegativeFloat = 0.0
    """Frames per second in which the model's steps are counted; 0 takes clip.fps of the model, else the rate that most of
    its training videos had, else, where its card does not say, 25."""
    seconds: PositiveFloat | None = None
    """Stop after so long; left out: when the camera ends, or on Ctrl-C."""

    def frame_rate(self, analyzer: Analyzer) -> float:
        """Frames per second in which a model's steps are counted."""
        rates = analyzer.card.rates or {"25": 1}
        return self.rate or analyzer.clip.fps or float(max(rates, key=lambda rate: rates[rate]))


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """The predictions for one frame, and how late they are."""

    number: int
    """Of the frame in the source."""
    faces: FrameFaces
    """Faces; frames that were looked at are numbered anew in it."""
    predictions: dict[int, WindowPrediction]
    """By face id; empty on frames on which the model was not asked."""
    latency: float
    """Seconds from the frame leaving the source to these values."""
    dropped: int
    """Frames dropped so far."""


@dataclass
class LiveStatistics:
    """How a live analysis went."""

    shown: int = 0
    """Frames that the source gave."""
    read: int = 0
    """Frames on which faces were looked for."""
    lag: float = 0.0
    """Seconds from the middle of a window to its end: how old what the values describe is, beside the latency."""
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    """Seconds, of the frames on which the model was asked."""

    @property
    def dropped(self) -> int:
        """Frames never looked at, because newer ones were there."""
        return self.shown - self.read

    def sentence(self) -> str:
        """One line for a person."""
        if not self.latencies:
            return f"{self.shown} frames, {self.dropped} dropped; no face was there to be read"
        middle, late = np.quantile(list(self.latencies), [0.5, 0.95])
        return (
            f"{self.shown} frames, {self.dropped} dropped; values {1000 * middle:.0f} ms after the frame (95 %: "
            f"{1000 * late:.0f} ms), describing the moment {self.lag:.2f} s before it"
        )


class NewestFrame:
    """Takes frames from a source as they come and keeps the last one."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self.frames, self.waiting, self.count = frames, None, 0
        self.done, self.error = False, None
        self.changed = Condition()
        self.thread = Thread(target=self.fill, daemon=True)
        self.thread.start()

    def fill(self) -> None:
        """Run in a thread until the source ends or ``close`` is called."""
        source = iter(self.frames)
        try:
            for frame in source:
                with self.changed:
                    if self.done:
                        return
                    self.waiting, self.count = (frame, monotonic()), self.count + 1
                    self.changed.notify()
        except (ValueError, OSError) as error:
            self.error = error
        finally:
            if isinstance(source, Generator):
                source.close()
            with self.changed:
                self.done = True
                self.changed.notify()

    def __iter__(self) -> Iterator[tuple[Frame, float]]:
        """(frame, when it left the source), always the newest; waits for one."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting is not None or self.done)
                newest, self.waiting = self.waiting, None
            if newest is None:
                break
            yield newest
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Tell the thread to stop at the next frame."""
        with self.changed:
            self.done = True


class RecentCrops:
    """The last crops of each face, from which windows are cut at even steps of time."""

    def __init__(self, analyzer: Analyzer, rate: float) -> None:
        clip = analyzer.clip
        count = analyzer.task.segments * clip.frames
        self.steps = np.arange(count)[::-1] * clip.stride / rate
        self.shape, self.length = (analyzer.task.segments, clip.frames), float(self.steps[0])
        self.faces: dict[int, deque[FaceCrop]] = {}

    def add(self, time: float, appearances: Iterable[FaceCrop]) -> None:
        """Add the faces of a frame, forget what is too old."""
        for appearance in appearances:
            self.faces.setdefault(appearance.face.id, deque()).append(appearance)
        for face, crops in list(self.faces.items()):
            while crops and crops[0].time < time - self.length - 1:
                crops.popleft()
            if not crops:
                del self.faces[face]

    def window(self, face: int) -> Window:
        """The window that ends with the newest frame of a face; where it is shorter, its first frame is repeated."""
        crops = tuple(self.faces[face])
        times = np.array([c.time for c in crops])
        wanted = times[-1] - self.steps
        nearest = np.abs(times[:, None] - wanted[None]).argmin(axis=0)
        return Window(face, 0, 0, crops, nearest.reshape(self.shape))


def live(
    analyzer: Analyzer,
    frames: Iterable[Frame],
    reading: ReadConfig,
    config: LiveConfig,
    statistics: LiveStatistics | None = None,
) -> Iterator[LiveFrame]:
    """Moments of a source that shows frames by the clock, for as long as it does; ``statistics`` counts along.

    Faces are followed without looking ahead, so that nothing waits for frames to come.
    """
    reading.refuse_identity("a camera")
    statistics = statistics if statistics is not None else LiveStatistics()
    at_once = replace(reading.follow, lookahead=1, smoothing=0.0)
    now = reading if reading.faces == "whole" else replace(reading, follow=at_once)
    cropper, recent = now.cropper(analyzer), RecentCrops(analyzer, config.frame_rate(analyzer))
    newest = NewestFrame(frames)
    statistics.lag, began, asked = recent.length / 2, monotonic(), -np.inf
    left: dict[int, tuple[int, float]] = {}

    def arriving() -> Iterator[Frame]:
        for frame, when in newest:
            left[statistics.read] = (frame.index, when)
            statistics.read, statistics.shown = statistics.read + 1, newest.count
            yield replace(frame, index=statistics.read - 1)

    try:
        for frame_faces in cropper.frames_with_faces(arriving()):
            frame = frame_faces.frame
            number, when = left.pop(frame.index)
            pictures = [(face, cropper.picture(frame_faces, face)) for face in frame_faces.faces]
            recent.add(frame.time, [FaceCrop(frame.index, frame.time, face, picture) for face, picture in pictures])
            predictions: dict[int, WindowPrediction] = {}
            if frame_faces.faces and frame.time - asked >= config.every:
                asked = frame.time
                windows = [recent.window(face.id) for face in frame_faces.faces]
                outputs = analyzer.read_windows(windows, reading.coverage)
                predictions = dict(zip([face.id for face in frame_faces.faces], outputs, strict=True))
                statistics.latencies.append(monotonic() - when)
            statistics.shown = newest.count
            yield LiveFrame(number, frame_faces, predictions, monotonic() - when, statistics.dropped)
            if config.seconds is not None and monotonic() - began >= config.seconds:
                return
    finally:
        newest.close()
