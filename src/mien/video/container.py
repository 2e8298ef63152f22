"""Opening a file with FFmpeg: as a file and nothing else, its video stream, and whether it holds what it says.

No path is a URL, no file makes FFmpeg open another one, and no frame is larger than ``pixel_limit`` allows. ``IntegrityCheck``
alone decides whether a file is whole: training, ``mien prepare``, ``mien extract-faces`` and ``mien analyze`` share it.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.config import STRICT

EIGHT_K = 8192 * 4320
"""Pixels of the largest frame that is read unless ``limit_pixels`` says otherwise."""

LIMIT_VARIABLE = "MIEN_MAX_PIXELS"
"""Variable of the environment that carries the limit from a command to the processes that decode for it."""

PLAYLISTS = {
    b"#EXTM3U": "an HLS playlist", b"ffconcat": "a list of files to join", b"v=0": "an SDP session",
    b"<MPD": "a DASH playlist", b"[playlist]": "a playlist", b"[Reference]": "a playlist", b"<asx": "a playlist",
}  # fmt: skip
"""How files begin that are no videos but name others; upper or lower case."""

LINKING_FORMATS = {
    "hls", "concat", "dash", "webm_dash_manifest", "imf", "rtp", "rtsp", "sdp", "sap", "vobsub", "mlv", "lavfi", "alsa",
    "oss", "fbdev", "kmsgrab", "video4linux2,v4l2", "avisynth", "vapoursynth",
}  # fmt: skip
"""Formats of FFmpeg that open other files, addresses or devices."""

WITH_DURATION = ("matroska,webm", "flv")
"""Containers whose header says how long all streams last together; FFmpeg ends a cut one without an error."""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class FrameLimit:
    """What the options of every command that reads videos have in common."""

    max_pixels: Annotated[int, Field(ge=1, lt=2**31)] = EIGHT_K
    """Pixels of the largest frame that is read, width times height; a video with larger ones is refused before memory is
    spent on it. The default is 8192 x 4320."""


class VideoError(ValueError):
    """A video that cannot be read; the message names the file, what is wrong and the way out."""


def pixel_limit() -> int:
    """Pixels of the largest frame that is read, as ``limit_pixels`` set it in this process or in the one that started it."""
    return int(os.environ.get(LIMIT_VARIABLE, EIGHT_K))


@contextmanager
def limit_pixels(pixels: int) -> Iterator[None]:
    """Read no frames of more pixels than this, here and in the processes that are started meanwhile."""
    before = os.environ.get(LIMIT_VARIABLE)
    os.environ[LIMIT_VARIABLE] = str(pixels)
    try:
        yield
    finally:
        os.environ.pop(LIMIT_VARIABLE)
        if before is not None:
            os.environ[LIMIT_VARIABLE] = before


def check_pixels(path: Path, width: int, height: int) -> None:
    """Refuse a frame that is larger than ``pixel_limit`` before memory is spent on it."""
    if width * height > pixel_limit():
        raise VideoError(
            f"{path}: frames of {width} x {height} pixels, more than the {pixel_limit()} that are read; shrink the video, "
            "or raise the limit with --max-pixels"
        )


@cache
def formats() -> str:
    """FFmpeg's formats but for those that open other files."""
    return ",".join(sorted(name for name in av.formats_available if not LINKING_FORMATS & {name, *name.split(",")}))


def file_url(path: Path) -> str:
    """A path so that FFmpeg takes it for a file, whatever colons are in it."""
    return f"file:{path}"


def open_container(path: Path) -> InputContainer:
    """Open a file with FFmpeg, or say why not."""
    if not path.exists():
        raise VideoError(f"{path}: no such file; correct the path")
    try:
        if path.stat().st_size == 0:
            raise VideoError(f"{path}: the file is empty (0 bytes); replace or remove it")
        with path.open("rb") as file:
            start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error
    for prefix, name in PLAYLISTS.items():
        if start.startswith(prefix.lower()) or (start.startswith(b"<?xml") and prefix.lower() in start):
            raise VideoError(f"{path}: {name}, which names other files; name the video itself")
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": formats(),
        "pattern_type": "none",
        "max_pixels": str(pixel_limit()),
    }
    try:
        return av.open(file_url(path), options=options, metadata_errors="ignore")
    except (FFmpegError, ValueError) as error:
        raise VideoError(f"{path}: not a video, or cut off so that no player opens it: {reason(error)}") from error


def video_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The video stream that players show; cover pictures do not count, nor does what this FFmpeg cannot decode."""
    cover = Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        raise VideoError(f"{path}: holds no video stream (audio only?); name a video file")
    known = [s for s in streams if s.codec_context is not None]
    if not known:
        raise VideoError(
            f"{path}: its video is in a codec that FFmpeg does not know; convert it to H.264, or remove it"
        )
    best = container.streams.best("video")
    stream = best if isinstance(best, av.VideoStream) and best in known else known[0]
    check_pixels(path, stream.codec_context.width, stream.codec_context.height)
    return stream


def tick(stream: av.VideoStream) -> Fraction:
    """Seconds that a stream's times count in; FFmpeg knows them of whatever it opens."""
    assert stream.time_base is not None
    return stream.time_base


def decoding_threads(stream: av.VideoStream, threads: int) -> None:
    """Set how many threads decode; 0 is all cores."""
    stream.codec_context.thread_count = threads
    stream.codec_context.thread_type = ThreadType.AUTO if threads == 0 else ThreadType.SLICE


def reason(error: Exception) -> str:
    """FFmpeg's words without the file name."""
    return str(getattr(error, "strerror", None) or error)


class IntegrityCheck:
    """Counts the packets of a file as they are read, to compare them with what its header promises."""

    def __init__(self, container: InputContainer, stream: av.VideoStream, path: Path) -> None:
        self.container, self.stream, self.path = container, stream, path
        self.times, self.keys = array("q"), array("q")
        self.packets = self.untimed = 0
        self.end = 0.0

    def demux(self) -> Iterator[av.Packet]:
        """Packets of the video stream, the empty ones that end it too. Raises ``VideoError`` where the file breaks."""
        try:
            for packet in self.container.demux():
                if packet.pts is not None and packet.duration is not None:
                    self.end = max(self.end, float((packet.pts + packet.duration) * packet.time_base))
                if packet.stream is self.stream:
                    self.packets += packet.dts is not None or packet.size > 0
                    if packet.size and not packet.is_discard:
                        self.untimed += packet.pts is None
                        if packet.pts is not None:
                            self.times.append(packet.pts)
                            self.keys.extend([packet.pts] if packet.is_keyframe else [])
                    yield packet
        except FFmpegError as error:
            raise VideoError(f"{self.path}: cut off or damaged: {reason(error)}") from error

    @property
    def counted(self) -> bool:
        """Whether packets do not tell the frames' times: AVI with B-frames has none that are right."""
        reordered = self.container.format.name == "avi" and self.stream.codec_context.has_b_frames
        return bool(reordered or self.untimed or len(set(self.times)) < len(self.times))

    def close(self, frames: int | None = None) -> None:
        """At the end of the file: raise ``VideoError`` if it holds less than it says, or gave fewer ``frames``."""
        if self.packets < self.stream.frames:
            raise VideoError(
                f"{self.path}: cut off: says it has {self.stream.frames} frames, {self.packets} are there; replace it"
            )
        promised = 0.0
        if self.container.format.name in WITH_DURATION:
            promised = (self.container.duration or 0) / av.time_base
        if self.end < promised - max(0.5, 0.02 * promised):  # some writers round what they promise
            raise VideoError(
                f"{self.path}: cut off: says it lasts {promised:.1f} s, ends after {self.end:.1f} s; replace it"
            )
        if frames is not None and not self.counted and frames < len(self.times):
            raise VideoError(f"{self.path}: damaged: {frames} of {len(self.times)} frames can be decoded; replace it")


def decode_frames(
    container: InputContainer, stream: av.VideoStream, path: Path, threads: int = 1
) -> Iterator[av.VideoFrame]:
    """Every frame as the decoder gives it; raises where the file breaks, ends too early or held damaged frames.

    ``threads`` 0 decodes on all cores.
    """
    decoding_threads(stream, threads)
    check = IntegrityCheck(container, stream, path)
    frames = damaged = backwards = 0
    last: int | None = None
    try:
        for packet in check.demux():
            for frame in stream.decode(packet):
                check_pixels(path, frame.width, frame.height)
                frames += 1
                damaged += frame.is_corrupt
                backwards += last is not None and frame.pts is not None and frame.pts <= last
                last = frame.pts if frame.pts is not None else last
                yield frame
    except FFmpegError as error:
        raise VideoError(f"{path}: decoding fails after {frames} frames: {reason(error)}") from error
    if not frames:
        raise VideoError(f"{path}: no frame can be decoded; replace or remove it")
    check.close(frames)
    if backwards and not check.counted:
        raise VideoError(f"{path}: damaged: the times of {backwards} of {frames} frames run backwards; replace it")
    if damaged:
        raise VideoError(f"{path}: {damaged} damaged frames among {frames}; replace it, or use it knowing that")
