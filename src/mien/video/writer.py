"""The one writer of video files: pictures with the times at which they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray

from mien.video.container import file_url

TICK = Fraction(1, 90_000)
"""Seconds per tick of a file's clock: times are kept to 11 microseconds, so variable frame rates survive."""
NOMINAL = Fraction(30)
"""Frames per second written where a format wants a number; the true times stand beside every frame."""
FILM = MappingProxyType({"crf": "21", "preset": "veryfast"})
"""x264's options for films that people look at."""


class VideoWriter:
    """H.264 in MP4, which with ``faststart`` players show before they have all of it; any other codec in Matroska.

    A context manager. What an error leaves is no whole file: write under another name (``files.write_whole``) where that
    matters.
    """

    def __init__(
        self, path: Path, options: Mapping[str, str] = FILM, size: tuple[int, int] | None = None, codec: str = "libx264",
        rate: Fraction = NOMINAL, tick: Fraction = TICK, threads: int = 1, faststart: bool = True,
    ) -> None:  # fmt: skip
        """``options`` are the encoder's, ``size`` (width, height) in even pixels, by default that of the first picture."""
        mp4 = codec == "libx264"
        form, flags = "mp4" if mp4 else "matroska", {"movflags": "+faststart"} if mp4 and faststart else {}
        self.start: float | None = None
        self.frames, self.tick = 0, tick
        self.container = av.open(file_url(path), "w", format=form, options=flags)
        stream = self.container.add_stream(codec, rate=rate, options=dict(options))
        assert isinstance(stream, av.VideoStream)
        self.stream = stream
        self.stream.pix_fmt = "yuv420p" if mp4 else "yuvj420p"
        self.stream.codec_context.thread_count = threads
        self.stream.codec_context.time_base = tick
        self.size = size
        if size is not None:
            self.stream.width, self.stream.height = size

    def write(self, picture: NDArray[np.uint8], time: float) -> None:
        """Append an RGB picture (H, W, 3) shown at ``time`` in seconds; times count from the first."""
        if self.start is None:
            self.start = time
            if self.size is None:
                self.stream.height, self.stream.width = picture.shape[:2]
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = round((time - self.start) / self.tick), self.tick
        self.container.mux(self.stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        if self.frames:
            self.container.mux(self.stream.encode(None))
        self.container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self.close()
        else:
            self.container.close()
