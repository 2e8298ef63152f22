"""Frames of a video file or of a folder of images, by index, with their true times.

``open_video`` reads frames by index, straight at the size asked for, rotation tags applied; ``table`` tells where they
are.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image

from mien.video.container import VideoError, check_pixels, decoding_threads, open_container, reason, video_stream
from mien.video.packet_table import FOLDER_FPS, FrameTable, scan
from mien.video.pictures import Frames, Region, RgbConverter, Size

__all__ = [
    "FOLDER_FPS", "IMAGES", "VIDEOS", "Frames", "Reader", "Region", "Size", "VideoError", "ends_in", "natural_key", "open_video", "scan",
]  # fmt: skip

IMAGES = (".jpg", ".jpeg", ".png")
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".flv", ".mpg", ".mpeg", ".m4v", ".wmv", ".gif")


def ends_in(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file's name has one of these suffixes, in any case; ``...mp4`` has one, ``.mp4`` is only called so.

    (What ``os.path.splitext`` says of the first differs from ``Path.suffix``, and that from one Python to the next.)
    """
    return any(name.lower().endswith(suffix) and len(name) > len(suffix) for suffix in suffixes)


DecodedFrame = Callable[[Size, Region], Frames]
"""A frame as decoded: its picture, RGB (H, W, 3) at a size, of a region."""


class Reader(ABC):
    """An open video: ``len``, ``timestamps`` and ``read``. Use as a context manager."""

    path: Path
    timestamps: NDArray[np.float64]
    height: int
    width: int
    """Size as shown, after rotation."""

    def __len__(self) -> int:
        return len(self.timestamps)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""

    def read(
        self, indices: Sequence[int] | NDArray[np.int64], size: Size | None = None, region: Region | None = None
    ) -> Frames:
        """Frames at ``indices`` (any order, repeats allowed; each is decoded once) -> uint8 (N, H, W, 3).

        ``region`` (all of the frame if None) is cut out and scaled to ``size`` (its own size if None) in one step.
        """
        wanted = sorted({int(i) for i in indices})
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self):
            raise IndexError(f"{self.path} has {len(self)} frames, asked for {wanted[0]} to {wanted[-1]}")
        region = region or (0, 0, self.height, self.width)
        size = size or (region[2], region[3])
        pictures = {index: convert(size, region) for index, convert in self.decoded_frames(wanted)}
        return np.stack([pictures[int(i)] for i in indices])

    @abstractmethod
    def decoded_frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, DecodedFrame]]:
        """(index, frame as decoded, which may outlive the open file) for rising indices."""


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
        self.open()
        first = next(self.frames, None)
        if first is None:
            raise VideoError(f"{path}: no frame can be decoded; replace or remove it")
        self.frames = chain([first], self.frames)
        self.pictures = RgbConverter.like(first, self.path)
        self.height, self.width = self.pictures.height, self.pictures.width

    def close(self) -> None:
        self.container.close()

    def rewind(self) -> None:
        """Stand before the first frame again."""
        self.close()
        self.open()

    def open(self) -> None:
        """Stand before the first frame of the file."""
        self.container = open_container(self.path)
        self.stream = video_stream(self.container, self.path)
        decoding_threads(self.stream, self.threads)
        self.frames, self.next, self.sought = self.decode(), 0, False

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
                self.frames, self.next, self.sought = chain([first], frames), here, True
                return
        self.rewind()

    def decoded_frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, DecodedFrame]]:
        for index in wanted:
            key = self.keyframe(index)
            if index < self.next or key > self.next:
                self.seek(key)
            try:
                frame = self.advance(index)
            except VideoError:
                if not self.sought:
                    raise
                self.rewind()  # where a keyframe does not lead to the frame, the way from the start may
                frame = self.advance(index)
            # no method of this reader, which would keep its decoder, megabytes, in memory
            yield index, partial(self.pictures, frame)

    def keyframe(self, index: int) -> int:
        """The last frame at or before ``index`` that decoding can start at."""
        return 0 if self.table.counted else int(self.table.keyframes[self.table.keyframes <= index].max(initial=0))

    def advance(self, index: int) -> av.VideoFrame:
        """Decode up to frame ``index``."""
        for frame in self.frames:
            here = self.next if self.table.counted else self.index_of(frame)
            if here is None:
                continue
            self.next = here + 1
            if here == index and frame.is_corrupt:
                raise VideoError(f"{self.path}: frame {index} is damaged; replace the file, or remove its rows")
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


class ImageFolder(Reader):
    """A folder of jpg or png frames in natural order (2.jpg before 10.jpg), at 25 frames per second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = sorted((f for f in path.iterdir() if ends_in(f.name, IMAGES)), key=natural_key)
        if not self.files:
            raise VideoError(f"{path}: a folder without jpg or png frames; name a video file or a folder of frames")
        self.timestamps = np.arange(len(self.files), dtype=np.float64) / FOLDER_FPS
        first = self.load(0)
        self.height, self.width = first.height, first.width

    def close(self) -> None:
        """Nothing is held open between images."""

    def decoded_frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, DecodedFrame]]:
        for index in wanted:
            yield index, partial(self.picture, self.load(index))

    def picture(self, frame: Image.Image, size: Size, region: Region) -> Frames:
        y, x = frame.height / self.height, frame.width / self.width  # an image of another size is shown like the first
        top, left, height, width = region[0] * y, region[1] * x, region[2] * y, region[3] * x
        how = Image.Resampling.BOX if size[0] < height or size[1] < width else Image.Resampling.BICUBIC
        return np.asarray(frame.resize((size[1], size[0]), how, box=(left, top, left + width, top + height)))

    def load(self, index: int) -> Image.Image:
        """One image as RGB."""
        try:
            with Image.open(self.files[index]) as image:
                check_pixels(self.files[index], image.width, image.height)
                return image.convert("RGB")
        except VideoError:
            raise
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise VideoError(
                f"{self.files[index]}: not a readable image ({error}); replace it, or remove the folder's rows"
            ) from error


class FramesInMemory(Reader):
    """Frames of a video in memory as they were decoded; reading them gives what reading the video would."""

    def __init__(self, reader: Reader, indices: Sequence[int] | NDArray[np.int64]) -> None:
        """Decode the frames at rising ``indices``; here they are numbered from 0."""
        self.path, self.height, self.width = reader.path, reader.height, reader.width
        self.indices = np.asarray(indices)
        self.timestamps = reader.timestamps[self.indices]
        self.frames = [frame for _, frame in reader.decoded_frames(self.indices.tolist())]

    def __reduce__(self) -> tuple[Callable[..., FramesInMemory], tuple[Path, NDArray[np.int64]]]:
        """Sent to another process, the frames are decoded there again: FFmpeg's frames cannot be sent."""
        return decode_in_memory, (self.path, self.indices)

    def close(self) -> None:
        """The frames stay."""

    def decoded_frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, DecodedFrame]]:
        for index in wanted:
            yield index, self.frames[index]


def decode_in_memory(path: Path, indices: NDArray[np.int64]) -> FramesInMemory:
    """Frames of a video, decoded and held."""
    with open_video(path) as reader:
        return FramesInMemory(reader, indices)


def natural_key(path: Path) -> list[int | str]:
    """Sort key by which frame_2 comes before frame_10."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", path.name))]
