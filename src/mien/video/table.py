"""Where the frames of a video file are.

``scan`` reads the packets of a file (no decoding) and gives its frame table: one presentation time per shown frame,
right for variable frame rates, edit lists and start offsets. AVI with B-frames has no usable times, nor have files with
missing or repeated ones: their frames are counted by decoding from the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from numpy.typing import NDArray

FOLDER_FPS = 25.0
"""Frames per second that a folder of images, which has no times, is taken to have."""


class VideoError(ValueError):
    """A video that cannot be read; the message names the file, what is wrong and the way out."""


@dataclass(frozen=True)
class FrameTable:
    """Where the frames of a video file are: all that reading by index needs, small enough to keep for every file."""

    timestamps: NDArray[np.float64]
    """Presentation time of each shown frame in seconds (N,), rising."""
    pts: NDArray[np.int64]
    """The same in the stream's time base; empty where frames must be counted."""
    keyframes: NDArray[np.int64]
    """Indices of the frames that decoding can start at."""

    @property
    def counted(self) -> bool:
        """Whether frames can only be found by decoding from the start and counting."""
        return len(self.pts) == 0


def open_container(path: Path) -> Any:
    """Open a file with FFmpeg, or say why not."""
    if not path.exists():
        raise VideoError(f"{path}: no such file; correct the path")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes); replace or remove it")
    try:
        return av.open(str(path), metadata_errors="ignore")
    except (FFmpegError, ValueError) as error:
        raise VideoError(f"{path}: not a video, or cut off so that no player opens it: {reason(error)}") from error


def video_stream(container: Any, path: Path) -> Any:
    """The video stream that players show; cover pictures do not count."""
    cover = Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        raise VideoError(f"{path}: holds no video stream (audio only?); name a video file")
    best = container.streams.best("video")
    return best if best in streams else streams[0]


def scan(path: Path) -> FrameTable:
    """Read a file's packets (no decoding) into its frame table. Raises ``VideoError``."""
    with open_container(path) as container:
        stream = video_stream(container, path)
        if (table := from_index(container, stream)) is not None:
            return table
        try:
            packets = [(p.pts, p.is_keyframe) for p in container.demux(stream) if p.size and not p.is_discard]
        except FFmpegError as error:
            raise VideoError(f"{path}: cut off or damaged: {reason(error)}") from error
        times = sorted(pts for pts, _ in packets if pts is not None)
        reordered_avi = container.format.name == "avi" and stream.codec_context.has_b_frames
        if reordered_avi or len(times) < len(packets) or len(set(times)) < len(times):
            return count(path)
        if not times:
            raise VideoError(f"{path}: no frame in its video stream; replace or remove it")
        pts = np.array(times, dtype=np.int64)
        keys = np.searchsorted(pts, sorted(p for p, key in packets if key))
        return FrameTable(pts.astype(np.float64) * float(stream.time_base), pts, keys.astype(np.int64))


def from_index(container: Any, stream: Any) -> FrameTable | None:
    """Frame table of a whole MP4 of keyframes alone, from its index: nothing is read but the header."""
    entries = stream.index_entries if "mp4" in container.format.name else []
    if not entries or any(not e.is_keyframe or e.is_discard for e in entries):
        return None
    times = np.array([e.timestamp for e in entries], np.int64)  # decoding times, in this order also those of showing
    # The index does not know of an edit list's shift, nor of a cut-off end.
    shifted = stream.start_time != times[0]
    if shifted or len(times) != stream.frames or entries[-1].pos + entries[-1].size > container.size:
        return None
    if np.any(np.diff(times) <= 0):
        return None
    return FrameTable(times.astype(np.float64) * float(stream.time_base), times, np.arange(len(times), dtype=np.int64))


def count(path: Path) -> FrameTable:
    """Frame table of a file whose packets tell no times: decode it and count."""
    with open_container(path) as container:
        stream = video_stream(container, path)
        rate = float(stream.average_rate or stream.guessed_rate or FOLDER_FPS)
        try:
            frames = sum(1 for _ in container.decode(stream))
        except FFmpegError as error:
            raise VideoError(f"{path}: cut off or damaged: {reason(error)}") from error
    if not frames:
        raise VideoError(f"{path}: no frame can be decoded; replace or remove it")
    return FrameTable(np.arange(frames, dtype=np.float64) / rate, np.array([], np.int64), np.array([0]))


def reason(error: Exception) -> str:
    """FFmpeg's words without the file name."""
    return str(getattr(error, "strerror", None) or error)
