"""Frames of a video file or of a folder of images, by index, with their true times.

``open_video`` reads frames by index, straight at the size asked for, rotation tags applied; ``table`` tells where they
are.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mien.video.table import FOLDER_FPS, FrameTable, VideoError, open_container, reason, scan, video_stream

__all__ = ["FOLDER_FPS", "IMAGES", "Frames", "Reader", "Size", "VideoError", "natural", "open_video", "scan", "upright"]

Size = tuple[int, int]
"""Height and width in pixels."""
Frames = NDArray[np.uint8]
"""RGB frames (N, H, W, 3)."""

IMAGES = (".jpg", ".jpeg", ".png")


class Reader(ABC):
    """An open video: ``len``, ``timestamps`` and ``read``. Use as a context manager."""

    path: Path
    timestamps: NDArray[np.float64]
    height: int
    width: int
    """Size as shown, after rotation."""
    corrupt: int = 0
    """Frames decoded so far that the decoder marked as damaged."""

    def __len__(self) -> int:
        return len(self.timestamps)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""

    def read(self, indices: Sequence[int] | NDArray[np.int64], size: Size | None = None) -> Frames:
        """Frames at ``indices`` (any order, repeats allowed; each is decoded once) -> uint8 (N, H, W, 3)."""
        wanted = sorted({int(i) for i in indices})
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self):
            raise IndexError(f"{self.path} has {len(self)} frames, asked for {wanted[0]} to {wanted[-1]}")
        found = dict(self.walk(wanted, size or (self.height, self.width)))
        return np.stack([found[int(i)] for i in indices])

    @abstractmethod
    def walk(self, wanted: Sequence[int], size: Size) -> Iterator[tuple[int, Frames]]:
        """(index, frame) for rising indices."""


def open_video(path: Path, table: FrameTable | None = None, threads: int = 1) -> Reader:
    """Open a video file or a folder of frames; ``table`` saves the scan, ``threads`` 0 decodes on all cores.

    Raises ``VideoError`` for whatever cannot be read.
    """
    if path.is_dir():
        return ImageFolder(path)
    return VideoFile(path, table if table is not None else scan(path), threads)


class VideoFile(Reader):
    """A file that FFmpeg decodes."""

    def __init__(self, path: Path, table: FrameTable, threads: int) -> None:
        self.path, self.table, self.timestamps, self.threads = path, table, table.timestamps, threads
        self.reformatter = VideoReformatter()
        self.rewind()
        first = next(self.frames, None)
        if first is None:
            raise VideoError(f"{path}: no frame can be decoded; replace or remove it")
        self.frames = chain([first], self.frames)
        self.rotation = int(first.rotation) % 360
        shape = (first.height, first.width)
        self.height, self.width = shape[::-1] if self.rotation in (90, 270) else shape

    def close(self) -> None:
        self.container.close()

    def rewind(self) -> None:
        """Open the file (again) and stand before its first frame."""
        self.container = open_container(self.path)
        self.stream = video_stream(self.container, self.path)
        self.stream.codec_context.thread_count = self.threads
        self.stream.codec_context.thread_type = "AUTO" if self.threads == 0 else "SLICE"
        self.frames, self.next = self.decode(), 0

    def decode(self) -> Iterator[av.VideoFrame]:
        """Decoded frames from where the file stands."""
        try:
            yield from self.container.decode(self.stream)
        except FFmpegError as error:
            raise VideoError(f"{self.path}: decoding fails after frame {self.next}: {reason(error)}") from error

    def seek(self, index: int) -> None:
        """Stand before keyframe ``index``, or before the first frame where a format does not get there."""
        if index > 0:
            self.container.seek(int(self.table.pts[index]), stream=self.stream, backward=True)
            frames = self.decode()
            first = next(frames, None)
            here = None if first is None else self.index_of(first)
            if first is not None and here is not None and here <= index:
                self.frames, self.next = chain([first], frames), here
                return
        self.container.close()
        self.rewind()

    def walk(self, wanted: Sequence[int], size: Size) -> Iterator[tuple[int, Frames]]:
        for index in wanted:
            key = self.keyframe(index)
            if index < self.next or key > self.next:
                self.seek(key)
            yield index, self.picture(self.advance(index), size)

    def keyframe(self, index: int) -> int:
        """The last frame at or before ``index`` that decoding can start at."""
        return 0 if self.table.counted else int(self.table.keyframes[self.table.keyframes <= index].max(initial=0))

    def advance(self, index: int) -> av.VideoFrame:
        """Decode up to frame ``index``."""
        for frame in self.frames:
            self.corrupt += frame.is_corrupt
            here = self.next if self.table.counted else self.index_of(frame)
            if here is None:
                continue
            self.next = here + 1
            if here == index:
                return frame
            if here > index:
                break
        raise VideoError(
            f"{self.path}: frame {index} of {len(self)} cannot be decoded; the file is cut off or damaged. "
            "Replace it, or remove its rows"
        )

    def index_of(self, frame: av.VideoFrame) -> int | None:
        """Which shown frame this is, by its time; None for frames that the file hides."""
        if frame.pts is None:
            return None
        index = int(np.searchsorted(self.table.pts, frame.pts))
        return index if index < len(self) and self.table.pts[index] == frame.pts else None

    def picture(self, frame: av.VideoFrame, size: Size) -> Frames:
        """RGB at ``size`` (H, W), upright."""
        return upright(frame, size, self.rotation, self.reformatter)


def upright(frame: av.VideoFrame, size: Size, rotation: int, reformatter: VideoReformatter) -> Frames:
    """RGB at ``size`` (H, W) as shown, turned by ``rotation`` (0, 90, 180, 270 degrees).

    One thread: PyAV's threads cost more than they give at these sizes.
    """
    height, width = size[::-1] if rotation in (90, 270) else size
    shrink = height < frame.height or width < frame.width
    how = Interpolation.AREA if shrink else Interpolation.BICUBIC
    rgb: Any = reformatter.reformat(frame, width, height, "rgb24", interpolation=how, threads=1).to_ndarray()
    return np.rot90(rgb, rotation // 90) if rotation else rgb


class ImageFolder(Reader):
    """A folder of jpg or png frames in natural order (2.jpg before 10.jpg), at 25 frames per second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = sorted((f for f in path.iterdir() if f.suffix.lower() in IMAGES), key=natural)
        if not self.files:
            raise VideoError(f"{path}: a folder without jpg or png frames; name a video file or a folder of frames")
        self.timestamps = np.arange(len(self.files), dtype=np.float64) / FOLDER_FPS
        self.height, self.width = self.load(0, None).shape[:2]

    def close(self) -> None:
        """Nothing is held open between images."""

    def walk(self, wanted: Sequence[int], size: Size) -> Iterator[tuple[int, Frames]]:
        for index in wanted:
            yield index, self.load(index, size)

    def load(self, index: int, size: Size | None) -> Frames:
        """One image as RGB."""
        try:
            with Image.open(self.files[index]) as image:
                rgb = image.convert("RGB")
                return np.asarray(rgb if size is None else rgb.resize((size[1], size[0]), Image.Resampling.BOX))
        except (OSError, UnidentifiedImageError, SyntaxError) as error:
            raise VideoError(
                f"{self.files[index]}: not a readable image ({error}); replace it, or remove the folder's rows"
            ) from error


def natural(path: Path) -> list[Any]:
    """Sort key by which frame_2 comes before frame_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
