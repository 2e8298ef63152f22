"""What is explained: windows of one face, found, followed and cropped as `mien analyze` does; its pictures again, larger.

A video is gone through twice: once to find faces and windows, keeping where they are and no pictures, and once more for
the pictures of the windows that are explained, so that memory does not depend on the video's length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.faces.crop import CropConfig
from mien.faces.face import Face, FrameFaces, Pixels
from mien.inference.analyzer import Analyzer
from mien.inference.pipeline import PredictionEvent, frame_events
from mien.inference.predict import ReadConfig, predict_into
from mien.inference.profiling import Profile
from mien.inference.sources import Source
from mien.inference.timeline import Timeline
from mien.inference.windows import Window
from mien.video.clips import ClipConfig, Indices

UNSEEN = np.zeros((1, 1, 3), np.uint8)
"""Stands for a picture that is not kept."""


@dataclass(frozen=True)
class FaceWindows:
    """The frames of one face that a set of windows covers; ``pictures`` shows them at any size."""

    source: Source
    reading: ReadConfig
    clip: ClipConfig
    face_crop: CropConfig | None
    windows: Sequence[Window]
    """In order of time, without pictures."""

    @property
    def faces(self) -> Mapping[int, Face]:
        """The face on every frame that is covered, by the frame's number."""
        return {seen.frame: seen.face for window in self.windows for seen in window.crops}

    def pictures(self, size: int, numbers: Iterable[int] | None = None) -> Iterator[tuple[int, float, Pixels]]:
        """Number, time in seconds and crop (size, size, 3) of the covered frames, or of some of them, in order."""
        faces = self.faces if numbers is None else {n: self.faces[n] for n in numbers}
        watcher, last = self.reading.cropper_for(replace(self.clip, size=size), self.face_crop), max(faces)
        for frame in self.source.frames():
            if frame.index in faces:
                face = faces[frame.index]
                yield frame.index, frame.time, watcher.picture(FrameFaces(frame, (face,), 0, None), face)
            if frame.index >= last:
                return

    def read(self) -> WindowClips:
        """What the model sees of them."""
        numbers = np.concatenate([frame_numbers(window) for window in self.windows])
        found = {n: (time, crop) for n, time, crop in self.pictures(self.clip.size, np.unique(numbers).tolist())}
        video = np.stack([[found[n][1] for n in row] for row in numbers.tolist()])  # S T H W 3
        times = np.array([[found[n][0] for n in row] for row in numbers.tolist()])
        return WindowClips(torch.from_numpy(video).permute(0, 4, 1, 2, 3).contiguous(), numbers, times)


@dataclass(frozen=True)
class WindowClips:
    """The clips of the windows that are explained; a model that joins segments has several of each window."""

    clips: Tensor
    """uint8 (S, 3, T, size, size)."""
    frames: Indices
    """Numbers of their frames in the video (S, T)."""
    times: NDArray[np.float64]
    """Times of their frames in seconds (S, T)."""


def frame_numbers(window: Window) -> Indices:
    """Numbers of the frames (segments, T) that a model sees of a window."""
    return np.array([seen.frame for seen in window.crops])[window.indices]


def without_pictures(window: Window) -> Window:
    """Where a window is, in little memory."""
    return replace(window, crops=tuple(replace(crop, picture=UNSEEN) for crop in window.crops))


def read_face(
    analyzer: Analyzer, source: Source, reading: ReadConfig, face: int | None
) -> tuple[Timeline, list[Window]]:
    """What `mien analyze` says of a video, and the windows of a face, by default the one seen longest.

    Raises ``ValueError`` where there is no such face.
    """
    windows: list[Window] = []

    def keep(event: PredictionEvent) -> None:
        windows.extend(without_pictures(window) for window, _ in event.windows)

    with TemporaryDirectory(prefix="mien-") as folder:
        timeline = predict_into(Path(folder), analyzer, source, reading, listen=keep)
    return timeline, windows_of_face(windows, int(timeline.face(face)["face_id"]), source.name)


def find_windows(
    source: Source, reading: ReadConfig, clip: ClipConfig, face_crop: CropConfig | None, face: int | None
) -> list[Window]:
    """The windows of a face, by default the one seen longest, for a model that says nothing of them."""
    reading = reading.resolved()
    windower = reading.windower_for(clip, 1)
    seen = frame_events(source.frames(), reading.cropper_for(clip, face_crop), windower, Profile())
    frames, windows = dict[int, int](), list[Window]()
    for one in seen:
        windows.extend(map(without_pictures, one.windows))
        for _, appearance in one.faces:
            frames[appearance.face.id] = frames.get(appearance.face.id, 0) + appearance.valid
    if not frames:
        raise ValueError(f"{source.name}: no face is seen; for a clip that is cropped to one face: --faces whole")
    return windows_of_face(windows, max(frames, key=lambda key: frames[key]) if face is None else face, source.name)


def windows_of_face(windows: Sequence[Window], face: int, name: str) -> list[Window]:
    """The windows of a face in order of time."""
    found = [window for window in windows if window.face_id == face]
    if not found:
        there = sorted({window.face_id for window in windows})
        raise ValueError(f"{name}: no face {face}; there are {', '.join(map(str, there))}")
    return sorted(found, key=lambda window: window.crops[0].frame)


def evenly_spaced(windows: Sequence[Window], count: int) -> list[Window]:
    """So many windows, spread evenly; 1 is the middle one, 0 all."""
    if count == 0 or count >= len(windows):
        return list(windows)
    if count == 1:
        return [windows[(len(windows) - 1) // 2]]
    return [windows[i] for i in np.linspace(0, len(windows) - 1, count).round().astype(int)]
