"""Where the frames of a video file are.

``scan`` reads the packets of a file (no decoding) and gives its frame table: one presentation time per shown frame,
right for variable frame rates, edit lists and start offsets. AVI with B-frames has no usable times, nor have files with
missing or repeated ones: their frames are counted by decoding from the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from mien.video.container import IntegrityCheck, VideoError, decode_frames, open_container, tick, video_stream

__all__ = ["FOLDER_FPS", "FrameTable", "VideoError", "open_container", "scan", "video_stream"]

FOLDER_FPS = 25.0
"""Frames per second that a folder of images, which has no times, is taken to have."""


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


def scan(path: Path) -> FrameTable:
    """Read a file's packets (no decoding) into its frame table. Raises ``VideoError``, also for files that are cut off."""
    with open_container(path) as container:
        stream = video_stream(container, path)
        if (table := from_index(container, stream)) is not None:
            return table
        check = IntegrityCheck(container, stream, path)
        for _ in check.demux():
            pass
        check.close()
        if check.counted:
            return count(path)
        if not check.times:
            raise VideoError(f"{path}: no frame in its video stream; replace or remove it")
        pts = np.sort(np.array(check.times, dtype=np.int64))
        keys = np.searchsorted(pts, np.sort(np.array(check.keys, dtype=np.int64)))
        return FrameTable(pts.astype(np.float64) * float(tick(stream)), pts, keys.astype(np.int64))


def from_index(container: InputContainer, stream: av.VideoStream) -> FrameTable | None:
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
    return FrameTable(times.astype(np.float64) * float(tick(stream)), times, np.arange(len(times), dtype=np.int64))


def count(path: Path) -> FrameTable:
    """Frame table of a file whose packets tell no times: decode it and count."""
    with open_container(path) as container:
        stream = video_stream(container, path)
        rate = float(stream.average_rate or stream.guessed_rate or FOLDER_FPS)
        frames = sum(1 for _ in decode_frames(container, stream, path))
    return FrameTable(np.arange(frames, dtype=np.float64) / rate, np.array([], np.int64), np.array([0]))
