"""The video file of one followed face: every frame a keyframe, so that any frame decodes alone.

H.264 in MP4, because it plays in every player and browser; ``benchmarks/results/loader.md`` has it beside Motion JPEG,
which reads a little faster and plays in few. No B-frames and no CABAC, which cost readers more than they save here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.video.writer import VideoWriter


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


class ClipFile(VideoWriter):
    """One clip, every frame a keyframe."""

    def __init__(self, path: Path, size: int, config: ClipFileConfig) -> None:
        self.path, level = path, str(config.level)
        side = size + size % 2  # colour is stored at half size
        if config.codec == "h264":
            options = {"preset": "veryfast", "tune": "fastdecode", "g": "1", "crf": level}
            super().__init__(path, options, (side, side))
        else:
            super().__init__(path, {"qmin": level, "qmax": level}, (side, side), "mjpeg")
