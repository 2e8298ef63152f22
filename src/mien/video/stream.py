"""Every frame of a video once, in the order shown, with its true time: what following faces reads.

``decode`` finds frames by index after a scan of all packets; a stream goes through a file of any length once and holds
one frame at a time, also of a file that breaks in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from mien.video.decode import ImageFolder
from mien.video.pictures import Frames, Pictures
from mien.video.table import FOLDER_FPS, VideoError, open_container, reason, video_stream

WITH_DURATION = ("matroska,webm", "flv")
"""Containers whose header says how long all streams last together; FFmpeg ends a cut one without a word."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One shown frame of a video."""

    index: int
    """Place among the shown frames, from 0; the same as in ``decode.open_video``."""
    time: float
    """Presentation time in seconds, from the container."""
    pixels: Frames
    """RGB as shown, uint8 (H, W, 3), contiguous; all frames of a video have the size of the first."""


def read_frames(path: Path, start: float | None = None, end: float | None = None, threads: int = 1) -> Iterator[Frame]:
    """Every decoded frame of a file or of a folder of images, or those with start <= time < end (seconds).

    ``threads`` 0 decodes on all cores.

    Raises ``VideoError`` naming the file and the reason: at once where nothing can be read, after the last frame before
    the break where a file is damaged or holds less than it says.
    """
    if path.is_dir():
        folder = ImageFolder(path)
        inside = np.flatnonzero((folder.timestamps >= (start or 0)) & (folder.timestamps < (end or np.inf)))
        for index in inside.tolist():
            yield Frame(index, float(folder.timestamps[index]), folder.read([index])[0])
        return
    with open_container(path) as container:
        stream = video_stream(container, path)
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO" if threads == 0 else "SLICE"
        yield from convert(timed(decode(container, stream, path), container, stream), start or -np.inf, end or np.inf)


def decode(container: Any, stream: Any, path: Path) -> Iterator[av.VideoFrame]:
    """Frames as the decoder gives them; raises where the file breaks, ends too early or held damaged frames."""
    packets = frames = damaged = 0
    end = 0.0
    try:
        for packet in container.demux():
            if packet.pts is not None and packet.duration is not None:
                end = max(end, float((packet.pts + packet.duration) * packet.time_base))
            if packet.stream is not stream:
                continue
            packets += packet.dts is not None or packet.size > 0
            for frame in packet.decode():
                frames += 1
                damaged += frame.is_corrupt
                yield frame
    except FFmpegError as error:
        raise VideoError(f"{path}: decoding fails after {frames} frames: {reason(error)}") from error
    if not frames:
        raise VideoError(f"{path}: no frame can be decoded; replace or remove it")
    if packets < stream.frames:
        raise VideoError(f"{path}: cut off: says it has {stream.frames} frames, {packets} are there; replace it")
    promised = (container.duration or 0) / av.time_base if container.format.name in WITH_DURATION else 0.0
    if end < promised - max(0.5, 0.02 * promised):  # some writers round what they promise
        raise VideoError(f"{path}: cut off: says it lasts {promised:.1f} s, ends after {end:.1f} s; replace it")
    if damaged:
        raise VideoError(f"{path}: {damaged} damaged frames among {frames}; replace it, or use it knowing that")


def timed(frames: Iterator[av.VideoFrame], container: Any, stream: Any) -> Iterator[tuple[float, av.VideoFrame]]:
    """(seconds, frame). Frames without a usable time follow the one before at the average rate.

    AVI keeps no presentation times, and with B-frames those that FFmpeg makes up are out of order.
    """
    counted = container.format.name == "avi" and stream.codec_context.has_b_frames
    step = 1 / float(stream.average_rate or stream.guessed_rate or FOLDER_FPS)
    last = -step
    for frame in frames:
        given = None if counted or frame.pts is None else float(frame.pts * stream.time_base)
        last = given if given is not None and given > last else last + step
        yield last, frame


def convert(frames: Iterator[tuple[float, av.VideoFrame]], start: float, end: float) -> Iterator[Frame]:
    """Pixels of decoded frames, upright. What lies before ``start`` is decoded too: it alone tells the frames' numbers."""
    pictures: Pictures | None = None
    for index, (time, frame) in enumerate(frames):
        pictures = pictures or Pictures.like(frame)
        if time >= end:
            return
        if time >= start:
            yield Frame(index, time, np.ascontiguousarray(pictures(frame, (pictures.height, pictures.width))))
