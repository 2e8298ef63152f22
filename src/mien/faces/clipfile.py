"""The video file of one followed face: every frame a keyframe, so that any frame decodes alone.

H.264 in MP4, because it plays in every player and browser; ``benchmarks/results/loader.md`` has it beside Motion JPEG,
which reads a little faster and plays in few. No B-frames and no CABAC, which cost readers more than they save here.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import av
from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.faces.face import Pixels
from mien.video.container import file_url

TICK = Fraction(1, 90_000)
"""Seconds per tick of a clip's clock: times are kept to 11 microseconds, so variable frame rates survive."""
NOMINAL = 30
"""Frames per second written where a format wants a number; the true times stand beside every frame."""


@dataclass(frozen=True, config=STRICT)
class ClipFileConfig:
    """How clips are encoded."""

    codec: Literal["h264", "mjpeg"] = "h264"
    """h264 plays everywhere; mjpeg (.mkv) reads faster, is larger and plays in fewer players."""
    quality: Annotated[int, Field(ge=0, le=40)] | None = None
    """Quantiser, lower is better and larger; left out: 16 for h264 (rate factor), 3 for mjpeg."""

    shortest: Annotated[int, Field(ge=1)] = 16
    """Runs of fewer frames get no clip file; their rows are kept."""

    @property
    def level(self) -> int:
        """The quantiser in use."""
        return self.quality if self.quality is not None else {"h264": 16, "mjpeg": 3}[self.codec]

    @property
    def suffix(self) -> str:
        """Of the clip's file name."""
        return ".mp4" if self.codec == "h264" else ".mkv"


class ClipFile:
    """Writes one clip frame by frame; times count from its first frame."""

    def __init__(self, path: Path, size: int, config: ClipFileConfig) -> None:
        self.path = path
        self.start: float | None = None
        self.frames = 0
        if config.codec == "h264":
            name, pixels, form, flags = "libx264", "yuv420p", "mp4", {"movflags": "+faststart"}
            options = {"preset": "veryfast", "tune": "fastdecode", "g": "1", "crf": str(config.level)}
        else:
            name, pixels, form, flags = "mjpeg", "yuvj420p", "matroska", {}
            options = {"qmin": str(config.level), "qmax": str(config.level)}
        self.container = av.open(file_url(path), "w", format=form, options=flags)
        self.stream: Any = self.container.add_stream(name, rate=NOMINAL, options=options)
        self.stream.width = self.stream.height = size + size % 2  # colour is stored at half size
        self.stream.pix_fmt = pixels
        self.stream.codec_context.thread_count = 1
        self.stream.codec_context.time_base = TICK

    def write(self, picture: Pixels, time: float) -> None:
        """Append a frame (size, size, 3) shown at ``time``, in seconds of the source."""
        if self.start is None:
            self.start = time
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = round((time - self.start) / TICK), TICK
        self.container.mux(self.stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        if self.frames:
            self.container.mux(self.stream.encode(None))
        self.container.close()
