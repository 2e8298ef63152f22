"""From faces on frames to the clips that a model reads, one pass, a window's worth of pictures per face in memory.

A *run* is an unbroken stretch of one face in one shot. Its *steps* are its frames or, where the clip rule samples by time
(``clip.fps``), the frames nearest to every 1 / fps seconds since it began. Windows start at every ``hop``-th step, and one
always ends with the run, so that every frame of it is covered; a run shorter than a window repeats its last frame, as
training does. Which windows there are depends on the run alone, not on batches or on other faces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mien.faces.face import Face, FrameFaces, Pixels
from mien.faces.quality import clip_sharpness
from mien.video.clips import ClipConfig
from mien.video.rates import nearest_frames, nearest_step
from mien.video.views import view_indices


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """One face on one frame of a run."""

    frame: int
    time: float
    """Seconds."""
    face: Face
    picture: Pixels
    """The crop (size, size, 3) that the model sees."""

    @property
    def valid(self) -> bool:
        """Whether the face was seen here; a bridged one is a guess between two sure places."""
        return self.face.state != "bridged"


@dataclass(frozen=True, eq=False)
class Window:
    """A clip of one face for the model, and where it comes from."""

    face_id: int
    run: int
    place: int
    """First frame of the window within its run."""
    crops: tuple[FaceCrop, ...]
    """Every frame that the window covers, whether or not the model looks at it."""
    indices: np.ndarray
    """Which of ``crops`` the model looks at (segments, frames)."""

    @cached_property
    def sharpness(self) -> float:
        """Of what the model looks at, as the limit of a calibration measures it."""
        return clip_sharpness(self.crops[i].picture for i in self.indices.ravel())

    @property
    def video(self) -> Tensor:
        """uint8 (segments, 3, T, size, size)."""
        pictures = np.stack([self.crops[i].picture for i in self.indices.ravel()])
        return torch.from_numpy(pictures).unflatten(0, self.indices.shape).permute(0, 4, 1, 2, 3).contiguous()


@dataclass(frozen=True, eq=False)
class FrameEvent:
    """What changes with one frame: who is on it, which windows are complete with it, which runs ended before it."""

    frame: int
    time: float
    shot: int
    reason: str | None
    faces: tuple[tuple[int, FaceCrop], ...] = ()
    """(run, crop) in rising order of face id."""
    windows: tuple[Window, ...] = ()
    ended: tuple[int, ...] = ()
    open: Mapping[int, int] = field(default_factory=dict)
    """Per run on this frame, the first place in it that a later window may cover."""


@dataclass
class FaceRun:
    """An unbroken stretch of one face, as far as the next windows need it."""

    number: int
    face_id: int
    shot: int
    start: float
    """Seconds at its first frame."""
    recent: deque[FaceCrop] = field(default_factory=deque)
    at: deque[int] = field(default_factory=deque)
    """The step that each of ``recent`` is nearest to."""
    taken: deque[int] = field(default_factory=deque)
    """Places in the run of the frames that the last steps take."""
    length: int = 0
    """Frames so far."""
    steps: int = 0
    """Steps so far."""
    emitted: int = -1
    """Step at which the last window starts."""

    @property
    def base(self) -> int:
        """Place in the run of the first of ``recent``."""
        return self.length - len(self.recent)


@dataclass
class Windower:
    """Follows every face and gives windows as they become complete."""

    clip: ClipConfig
    segments: int
    hop: int
    """Steps between the starts of windows."""
    runs: dict[int, FaceRun] = field(default_factory=dict)
    count: int = 0
    frames: int = 0
    """Frames seen."""

    @property
    def span(self) -> int:
        """Steps that a window covers."""
        return self.segments * ((self.clip.frames - 1) * self.clip.stride + 1)

    def add_frame(self, frame_faces: FrameFaces, pictures: Sequence[Pixels]) -> FrameEvent:
        """One frame with the crops of its faces, in the order of ``frame_faces.faces``."""
        self.frames += 1
        present = {face.id for face in frame_faces.faces}
        over = [r for r in self.runs.values() if r.face_id not in present or self.must_end(r, frame_faces)]
        windows = [window for run in over for window in self.end_run(run)]
        faces = []
        for face, picture in zip(frame_faces.faces, pictures, strict=True):
            run = self.runs.get(face.id) or self.start_run(face.id, frame_faces)
            crop = FaceCrop(frame_faces.frame.index, frame_faces.frame.time, face, picture)
            faces.append((run.number, crop))
            windows.extend(self.add_crop(run, crop))
        frame, ended = frame_faces.frame, tuple(run.number for run in over)
        still = {self.runs[face.id].number: self.runs[face.id].base for face in frame_faces.faces}
        return FrameEvent(
            frame.index, frame.time, frame_faces.shot, frame_faces.reason, tuple(faces), tuple(windows), ended, still
        )

    def finish(self) -> FrameEvent:
        """The windows of the runs that end with the video; the frame number is -1, there is no frame."""
        over = list(self.runs.values())
        windows = tuple(window for run in over for window in self.end_run(run))
        return FrameEvent(-1, 0.0, 0, None, (), windows, tuple(run.number for run in over))

    def must_end(self, run: FaceRun, frame_faces: FrameFaces) -> bool:
        """Whether a run cannot go on with this frame: another shot, or a pause longer than a window of seconds."""
        fps = self.clip.fps
        paused = fps > 0 and frame_faces.frame.time - run.recent[-1].time > self.span / fps
        return run.shot != frame_faces.shot or paused

    def start_run(self, face_id: int, frame_faces: FrameFaces) -> FaceRun:
        """Start a run."""
        run = FaceRun(self.count, face_id, frame_faces.shot, frame_faces.frame.time)
        self.runs[face_id] = run
        self.count += 1
        return run

    def add_crop(self, run: FaceRun, crop: FaceCrop) -> Iterator[Window]:
        """One more frame of a run, and the windows that it completes."""
        fps = self.clip.fps
        run.recent.append(crop)
        run.at.append(nearest_step(crop.time - run.start, fps) if fps else run.length)
        run.length += 1
        # By time, a later frame may be nearer to the same step, which is complete when a frame of the next one comes.
        yield from self.step(run, run.at[-1] if fps else run.length)
        while run.steps >= self.span and run.at[0] < run.steps - self.span and run.base < run.taken[0]:
            run.recent.popleft()
            run.at.popleft()

    def step(self, run: FaceRun, steps: int) -> Iterator[Window]:
        """Take the steps up to that many, with the windows that they complete."""
        while run.steps < steps:
            run.taken.append(self.frame_of(run, run.steps))
            run.steps += 1
            if len(run.taken) > self.span:
                run.taken.popleft()
            start = run.steps - self.span
            if start >= 0 and start % self.hop == 0:
                yield self.window(run, start)

    def frame_of(self, run: FaceRun, step: int) -> int:
        """Place in the run of the frame that a step takes."""
        if not self.clip.fps:
            return step
        times = [crop.time for crop in run.recent]
        return run.base + int(nearest_frames(times, run.start + step / self.clip.fps))

    def end_run(self, run: FaceRun) -> Iterator[Window]:
        """End a run: its last windows, and the one that ends with it, unless there is one already."""
        del self.runs[run.face_id]
        yield from self.step(run, run.at[-1] + 1)
        last = max(run.steps - self.span, 0)
        if run.emitted != last:
            yield self.window(run, last)

    def window(self, run: FaceRun, start: int) -> Window:
        """The window over the most recent steps: every frame nearest to one of them, and those that they take."""
        run.emitted = start
        taken = np.array(run.taken) - run.base
        inside = [i for i, step in enumerate(run.at) if start <= step < start + self.span]
        first, last = min([*inside, taken[0]]), max([*inside, taken[-1]])
        indices = view_indices(len(taken), self.clip.frames, self.clip.stride, self.segments)
        crops = tuple(run.recent)[first : last + 1]
        return Window(run.face_id, run.number, run.base + first, crops, taken[indices] - first)
