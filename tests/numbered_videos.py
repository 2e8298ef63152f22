"""Videos whose frames say their number, in many containers, and files that are none."""

from __future__ import annotations

import struct
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

BITS = 7


def drawn(number: int, height: int = 32, width: int = 64) -> np.ndarray:
    """A frame that says its number in black and white columns."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    columns = np.repeat(np.array([*bits, 1]) * 255, width // 8)
    return np.broadcast_to(columns[None, :, None], (height, width, 3)).astype(np.uint8)


def number(frame: np.ndarray) -> int:
    """Read the number back."""
    step = frame.shape[1] // 8
    return sum(
        int(frame[:, bit * step + step // 4 : bit * step + 3 * step // 4].mean() > 127) << bit for bit in range(BITS)
    )


def write(path: Path, count: int = 60, codec: str = "libx264", times: list[int] | None = None, **options: str) -> Path:
    """A numbered video; ``times`` are presentation times in 1/1000 s for variable frame rates."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(drawn(i), format="rgb24")
            frame.pts = times[i] if times else i
            frame.time_base = Fraction(1, 1000) if times else Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


FILES: dict[str, dict[str, Any]] = {
    "h264_b_frames.mp4": {"g": "12", "bf": "3"},
    "h264_no_b.mkv": {"g": "25", "bf": "0"},
    "mpeg4.avi": {"codec": "mpeg4", "g": "12"},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "g": "12", "bf": "2"},
    "h264_b_frames.avi": {"g": "12", "bf": "3"},
    "mpeg1.mpg": {"codec": "mpeg1video", "g": "12"},
    "flv1.flv": {"codec": "flv", "g": "12"},
    "vp9.webm": {"codec": "libvpx-vp9", "g": "12"},
}


def tag_rotation(path: Path) -> None:
    """Write the display matrix of a phone held upright (turn by 90 degrees clockwise) into an mp4's track header."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    content[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def audio(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    return path
