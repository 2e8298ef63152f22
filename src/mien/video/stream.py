"""Every frame of a video once, in the order shown, with its true time: what following faces reads.

``decode`` finds frames by index after a scan of all packets; a stream goes through a file of any length once and holds
one frame at a time, also of a file that breaks in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.video.container import decode_frames, open_container, tick, video_stream
from mien.video.decode import ImageFolder, open_video
from mien.video.packet_table import FOLDER_FPS
from mien.video.pictures import Frames, RgbConverter, Size


@dataclass(frozen=True, slots=True)
class Frame:
    """One shown frame of a video."""

    index: int
    """Place among the shown frames, from 0; the same as in ``decode.open_video``."""
    time: float
    """Presentation time in seconds, from the container."""
    pixels: Frames
    """RGB as shown, uint8 (H, W, 3), contiguous; all frames of a video have the size of the first."""


def read_frames(
    path: Path, start: float | None = None, end: float | None = None, threads: int = 1, size: Size | None = None
) -> Iterator[Frame]:
    """Every decoded frame of a file or of a folder of images, or those with start <= time < end (seconds).

    ``threads`` 0 decodes on all cores; ``size`` (height, width) scales the frames. Frames without a usable time follow the
    one before at the average rate.

    Raises ``VideoError`` naming the file and the reason: at once where nothing can be read, after the last frame before
    the break where a file is damaged or holds less than it says.
    """
    if path.is_dir():
        folder = ImageFolder(path)
        inside = np.flatnonzero((folder.timestamps >= (start or 0)) & (folder.timestamps < (end or np.inf)))
        for index in inside.tolist():
            yield Frame(index, float(folder.timestamps[index]), folder.read([index], size)[0])
        return
    with open_container(path) as container:
        stream = video_stream(container, path)
        # AVI keeps no presentation times, and with B-frames those that FFmpeg makes up are out of order.
        counted = container.format.name == "avi" and stream.codec_context.has_b_frames
        step = 1 / float(stream.average_rate or stream.guessed_rate or FOLDER_FPS)
        time, converter = -step, None
        # What lies before ``start`` is decoded too: it alone tells the frames' numbers.
        for index, frame in enumerate(decode_frames(container, stream, path, threads)):
            stated = None if counted or frame.pts is None else float(frame.pts * tick(stream))
            time = stated if stated is not None and stated > time else time + step
            converter = converter or RgbConverter.like(frame, path)
            if time >= (end or np.inf):
                return
            if time >= (start or -np.inf):
                pixels = converter(frame, size or (converter.height, converter.width))
                yield Frame(index, time, np.ascontiguousarray(pixels))


PROBE = (16, 16)
"""Height and width at which frames are decoded to see whether they can be."""


def checked_frame_times(path: Path, decode: bool) -> NDArray[np.float64]:
    """Times (N,) of the frames of a video file or folder of images, in seconds; ``VideoError`` if it is broken.

    A file is broken where its packets are fewer than it says, or end before it says; with ``decode``, also where a frame
    cannot be decoded or is damaged. Training checks files so before it starts, ``mien prepare`` with ``decode``;
    ``mien extract-faces`` and ``mien analyze`` come to the same in passing.
    """
    with open_video(path) as video:
        times = video.timestamps
    if decode or path.is_dir():
        for _ in read_frames(path, size=PROBE):
            pass
    return times
