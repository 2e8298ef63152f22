"""From faces on frames to the clips that a model reads, one pass, a window's worth of pictures per face in memory.

A *run* is an unbroken stretch of one face in one shot. Windows start at every ``hop``-th of its frames, and one always
ends with it, so that every frame of a run is covered; a run shorter than a window repeats its last frame, as training
does. Which windows there are depends on the run alone, not on batches or on other faces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mien.faces.face import Face, Pixels, Sighting
from mien.video.clips import ClipConfig
from mien.video.views import view_indices


@dataclass(frozen=True, eq=False)
class Appearance:
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
    seen: tuple[Appearance, ...]
    """Every frame that the window covers, whether or not the model looks at it."""
    indices: np.ndarray
    """Which of ``seen`` the model looks at (segments, frames)."""

    @property
    def video(self) -> Tensor:
        """uint8 (segments, 3, T, size, size)."""
        pictures = np.stack([self.seen[i].picture for i in self.indices.ravel()])
        return torch.from_numpy(pictures).unflatten(0, self.indices.shape).permute(0, 4, 1, 2, 3).contiguous()


@dataclass(frozen=True, eq=False)
class Seen:
    """What one frame brought: who is on it, which windows are complete with it, which runs ended before it."""

    frame: int
    time: float
    shot: int
    reason: str | None
    faces: tuple[tuple[int, Appearance], ...] = ()
    """(run, appearance) in rising order of face id."""
    windows: tuple[Window, ...] = ()
    ended: tuple[int, ...] = ()


@dataclass
class Run:
    """An unbroken stretch of one face, as far as the next windows need it."""

    number: int
    face_id: int
    shot: int
    recent: deque[Appearance]
    length: int = 0
    emitted: int = -1
    """Place of the last window."""


@dataclass
class Windower:
    """Follows every face and gives windows as they become complete."""

    clip: ClipConfig
    segments: int
    hop: int
    """Frames between the starts of windows."""
    runs: dict[int, Run] = field(default_factory=dict)
    count: int = 0
    frames: int = 0
    """Frames seen."""

    @property
    def span(self) -> int:
        """Frames that a window covers."""
        return self.segments * ((self.clip.frames - 1) * self.clip.stride + 1)

    def see(self, sighting: Sighting, pictures: Sequence[Pixels]) -> Seen:
        """One frame with the crops of its faces, in the order of ``sighting.faces``."""
        self.frames += 1
        present = {face.id for face in sighting.faces}
        over = [r for r in self.runs.values() if r.face_id not in present or r.shot != sighting.shot]
        windows = [window for run in over for window in self.end(run)]
        faces = []
        for face, picture in zip(sighting.faces, pictures, strict=True):
            run = self.runs.get(face.id) or self.begin(face.id, sighting.shot)
            appearance = Appearance(sighting.frame.index, sighting.frame.time, face, picture)
            run.recent.append(appearance)
            run.length += 1
            faces.append((run.number, appearance))
            start = run.length - self.span
            if start >= 0 and start % self.hop == 0:
                windows.append(self.window(run, start))
        frame, ended = sighting.frame, tuple(run.number for run in over)
        return Seen(frame.index, frame.time, sighting.shot, sighting.reason, tuple(faces), tuple(windows), ended)

    def finish(self) -> Seen:
        """The windows of the runs that end with the video; the frame number is -1, there is no frame."""
        over = list(self.runs.values())
        windows = tuple(window for run in over for window in self.end(run))
        return Seen(-1, 0.0, 0, None, (), windows, tuple(run.number for run in over))

    def begin(self, face_id: int, shot: int) -> Run:
        """A run starts."""
        run = Run(self.count, face_id, shot, deque(maxlen=self.span))
        self.runs[face_id] = run
        self.count += 1
        return run

    def end(self, run: Run) -> list[Window]:
        """A run is over: the window that ends with it, unless there is one already."""
        del self.runs[run.face_id]
        last = max(run.length - self.span, 0)
        return [] if run.emitted == last else [self.window(run, last)]

    def window(self, run: Run, place: int) -> Window:
        """The window over the most recent frames."""
        run.emitted = place
        seen = tuple(run.recent)
        indices = view_indices(len(seen), self.clip.frames, self.clip.stride, self.segments)
        return Window(run.face_id, run.number, place, seen, indices)
