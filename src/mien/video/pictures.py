"""From decoded frames to RGB: scaled as shown, cut to a region and scaled in one step."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from mien.video.container import VideoError, reason

Size = tuple[int, int]
"""Height and width in pixels."""
Region = tuple[int, int, int, int]
"""Top, left, height and width of a part of a frame as shown, in its pixels."""
Frames = NDArray[np.uint8]
"""RGB frames (N, H, W, 3)."""


class RgbConverter:
    """Turns a video's decoded frames into RGB. ``height`` and ``width`` are those of a frame as shown.

    A frame of another size than the first is taken for the same picture at another scale, as players do.
    """

    def __init__(self, rotation: int, height: int, width: int, path: Path) -> None:
        """``rotation``: 0, 90, 180 or 270 degrees against the clock from stored to shown; ``path`` is for errors."""
        self.rotation, self.height, self.width, self.path = rotation, height, width, path
        self.reformatter = VideoReformatter()
        self.cutters: dict[tuple[int | str, ...], Graph] = {}

    @classmethod
    def like(cls, first: av.VideoFrame, path: Path) -> RgbConverter:
        """For a video with this first frame."""
        rotation = int(first.rotation) % 360
        stored = (first.height, first.width)
        height, width = stored[::-1] if rotation in (90, 270) else stored
        return cls(rotation, height, width, path)

    def __call__(self, frame: av.VideoFrame, size: Size, region: Region | None = None) -> Frames:
        """RGB (H, W, 3) at ``size`` of a region (all of the frame if None) of a frame.

        Shrinking averages over what falls on a pixel, enlarging is bicubic. One thread: PyAV's threads cost more than
        they give at these sizes.
        """
        try:
            if region is not None and region != (0, 0, self.height, self.width):
                frame = self.crop(frame, region)
            return self.rgb(frame, size)
        except (FFmpegError, ValueError, MemoryError) as error:
            raise VideoError(f"{self.path}: a frame cannot be scaled into RGB: {reason(error)}; convert it") from error

    def rgb(self, frame: av.VideoFrame, size: Size) -> Frames:
        """All of a frame (H, W, 3) at ``size``, scaled as shown."""
        height, width = size[::-1] if self.rotation in (90, 270) else size
        enlarge = height >= frame.height and width >= frame.width  # OpenCV is twice as fast at that
        tall, wide = (frame.height, frame.width) if enlarge else (height, width)
        scaled = self.reformatter.reformat(frame, wide, tall, "rgb24", interpolation=Interpolation.AREA, threads=1)
        rgb = np.asarray(scaled.to_ndarray(), np.uint8)
        if (tall, wide) != (height, width):
            rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        return np.rot90(rgb, self.rotation // 90) if self.rotation else rgb

    def crop(self, frame: av.VideoFrame, region: Region) -> av.VideoFrame:
        """A part of a frame in the decoder's own format; no pixel is copied."""
        top, left, height, width = stored_region(region, (self.height, self.width), self.rotation)
        tall, wide = (self.width, self.height) if self.rotation in (90, 270) else (self.height, self.width)
        if (frame.height, frame.width) != (tall, wide):
            y, x = frame.height / tall, frame.width / wide
            top, left = min(int(top * y), frame.height - 1), min(int(left * x), frame.width - 1)
            height = min(max(round(height * y), 1), frame.height - top)
            width = min(max(round(width * x), 1), frame.width - left)
        key = (frame.width, frame.height, frame.format.name, top, left, height, width)
        if key not in self.cutters:
            self.cutters = {key: crop_filter(frame, (top, left, height, width))}  # one at a time: a clip has one region
        self.cutters[key].push(frame)
        return self.cutters[key].vpull()


def crop_filter(frame: av.VideoFrame, region: Region) -> Graph:
    """A filter that cuts a region out of frames like this one."""
    top, left, height, width = region
    graph = Graph()
    graph.threads = 1  # starting threads costs more than a crop, which only moves pointers
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1)
    )
    crop = graph.add("crop", f"{width}:{height}:{left}:{top}:exact=1")
    sink = graph.add("buffersink")
    source.link_to(crop)
    crop.link_to(sink)
    graph.configure()
    return graph


def stored_region(region: Region, shown: Size, rotation: int) -> Region:
    """Where a region of the frame as shown lies in the frame as stored."""
    (top, left, height, width), (tall, wide) = region, shown
    if rotation == 90:
        return left, tall - top - height, width, height
    if rotation == 180:
        return tall - top - height, wide - left - width, height, width
    if rotation == 270:
        return wide - left - width, top, width, height
    return region
