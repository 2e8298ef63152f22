"""Videos in every codec at hand, and ways to break their files: what the attacks on reading share."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (64, 64)
"""Height and width of the drawn videos."""

KINDS: dict[str, dict[str, str]] = {
    "h264.mp4": {"codec": "libx264", "g": "12", "bf": "2", "movflags": "faststart"},
    "h264_late.mp4": {"codec": "libx264", "g": "12", "bf": "0"},
    "h264_keys.mp4": {"codec": "libx264", "g": "1", "bf": "0", "movflags": "faststart"},
    "h264_pieces.mp4": {"codec": "libx264", "g": "12", "movflags": "frag_keyframe+empty_moov"},
    "h264.mov": {"codec": "libx264", "g": "12", "bf": "2"},
    "h264.mkv": {"codec": "libx264", "g": "12", "bf": "2"},
    "h264.flv": {"codec": "libx264", "g": "12", "bf": "0"},
    "h264.avi": {"codec": "libx264", "g": "12", "bf": "2"},
    "h264.ts": {"codec": "libx264", "g": "12", "bf": "2"},
    "hevc.mp4": {"codec": "libx265", "g": "12", "x265-params": "log-level=none:pools=1:frame-threads=1"},
    "vp8.webm": {"codec": "libvpx", "g": "12"},
    "vp9.webm": {"codec": "libvpx-vp9", "g": "12", "cpu-used": "8"},
    "av1.mkv": {"codec": "libsvtav1", "g": "12", "preset": "12"},
    "mpeg4.avi": {"codec": "mpeg4", "g": "12"},
    "mpeg4_b.avi": {"codec": "mpeg4", "g": "12", "bf": "2"},
    "mpeg4.mp4": {"codec": "mpeg4", "g": "12"},
    "mjpeg.avi": {"codec": "mjpeg"},
    "mjpeg.mkv": {"codec": "mjpeg"},
    "mpeg1.mpg": {"codec": "mpeg1video", "g": "12"},
    "mpeg2.mpg": {"codec": "mpeg2video", "g": "12"},
    "flv1.flv": {"codec": "flv", "g": "12"},
    "wmv2.wmv": {"codec": "wmv2", "g": "12"},
    "gif.gif": {"codec": "gif"},
    "png.mov": {"codec": "png"},
    "ffv1.mkv": {"codec": "ffv1"},
}
"""File name -> codec and options."""


def drawn(frames: int = 25) -> np.ndarray:
    """A moving pattern (N, H, W, 3): no two frames alike."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = [np.stack([x * 4 + 9 * t, y * 5 + 5 * t, x * y // 8 + 3 * t], axis=-1) for t in range(frames)]
    return (np.stack(waves) % 256).astype(np.uint8)


def write(folder: Path) -> list[Path]:
    """The videos of all kinds whose encoder is there, with sound where the container takes it."""
    return [path for name, options in KINDS.items() if (path := write_one(folder / name, dict(options)))]


def write_one(path: Path, options: dict[str, str]) -> Path | None:
    """One video; None without its encoder."""
    codec, flags = options.pop("codec"), options.pop("movflags", None)
    if codec not in av.codecs_available:
        return None
    form = {".ts": "mpegts", ".wmv": "asf"}.get(path.suffix)
    pixels = {"mjpeg": "yuvj420p", "gif": "rgb8", "png": "rgb24"}.get(codec, "yuv420p")
    with av.open(str(path), "w", format=form, options={"movflags": flags} if flags else {}) as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options)
        stream.height, stream.width, stream.pix_fmt = *SIZE, pixels  # type: ignore[attr-defined]
        for picture in drawn():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))  # type: ignore[attr-defined]
        container.mux(stream.encode())  # type: ignore[attr-defined]
    return path


Mutation = Callable[[bytearray, np.random.Generator], bytes]


def place(content: bytearray, rng: np.random.Generator) -> int:
    """Somewhere in a file; in one of three cases in its first kilobyte, where most of what counts stands."""
    return int(rng.integers(min(len(content), 1024 if rng.random() < 1 / 3 else len(content))))


def cut(content: bytearray, rng: np.random.Generator) -> bytes:
    """The end is missing."""
    return bytes(content[: max(1, int(len(content) * rng.uniform(0.02, 0.999)))])


def lose(content: bytearray, rng: np.random.Generator) -> bytes:
    """A stretch is missing."""
    at, length = place(content, rng), int(rng.integers(1, max(2, len(content) // 3)))
    return bytes(content[:at] + content[at + length :])


def blank(content: bytearray, rng: np.random.Generator) -> bytes:
    """A stretch is zeros, as after a failed download."""
    at, length = place(content, rng), int(rng.integers(1, max(2, len(content) // 4)))
    content[at : at + length] = bytes(len(content[at : at + length]))
    return bytes(content)


def scatter(content: bytearray, rng: np.random.Generator) -> bytes:
    """Single bytes are wrong."""
    for _ in range(int(rng.integers(1, 12))):
        content[place(content, rng)] = int(rng.integers(256))
    return bytes(content)


def flip(content: bytearray, rng: np.random.Generator) -> bytes:
    """One bit is wrong."""
    content[place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(content)


def repeat(content: bytearray, rng: np.random.Generator) -> bytes:
    """A stretch stands twice."""
    at, length = place(content, rng), int(rng.integers(1, max(2, len(content) // 4)))
    return bytes(content[: at + length] + content[at:])


def noise(content: bytearray, rng: np.random.Generator) -> bytes:
    """A stretch is noise."""
    at, length = place(content, rng), int(rng.integers(1, max(2, len(content) // 4)))
    content[at : at + length] = rng.bytes(len(content[at : at + length]))
    return bytes(content)


MUTATIONS: tuple[Mutation, ...] = (cut, cut, lose, blank, scatter, scatter, flip, repeat, noise)


def mutant(whole: Path, number: int, folder: Path) -> Path:
    """Mutant ``number`` of a whole file, a function of its name and number alone."""
    rng = np.random.default_rng([number, *whole.name.encode()])
    change = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
    path = folder / f"{whole.stem}-{number:04d}-{change.__name__}{whole.suffix}"
    path.write_bytes(change(bytearray(whole.read_bytes()), rng))
    return path
