"""Peak memory of `mien analyze` on a short and a long video, as a real process: python benchmarks/memory.py CLIP MODEL

Both videos repeat CLIP at 10 frames per second; the process is asked by the kernel for its peak resident size.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import av
import cv2
import numpy as np

from mien.video.stream import read_frames

FPS = 10


def repeat(clip: Path, minutes: float, target: Path, width: int = 320) -> None:
    """Write CLIP over and over, scaled to ``width``, as H.264 at 10 frames per second."""
    pictures = [frame.pixels for frame in read_frames(clip)][::3]
    height = 2 * round(width * pictures[0].shape[0] / pictures[0].shape[1] / 2)
    small = [
        np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8) for picture in pictures
    ]
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"  # pyright: ignore
        stream.options = {"crf": "28", "preset": "ultrafast", "threads": "1"}
        for index in range(round(60 * minutes * FPS)):
            frame = av.VideoFrame.from_ndarray(small[index % len(small)], format="rgb24")
            container.mux(stream.encode(frame))  # pyright: ignore
        container.mux(stream.encode())  # pyright: ignore


def peak(video: Path, model: str, folder: Path, flags: list[str]) -> tuple[float, float]:
    """Peak resident MiB of a process that analyzes ``video``, and its seconds."""
    command = [sys.executable, "-m", "mien", "analyze", str(video), "--model", model, "--output", str(folder)]
    began = perf_counter()
    process = subprocess.Popen([*command, "--device", "cpu", *flags], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"mien analyze failed with status {status}")
    return usage.ru_maxrss / 1024, perf_counter() - began


def main() -> None:
    """Print a line per video."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("model")
    parser.add_argument("--minutes", type=float, nargs=2, default=(10, 60))
    arguments, flags = parser.parse_known_args()
    flags = flags or ["--no-overlay"]
    found = []
    with tempfile.TemporaryDirectory() as name:
        for minutes in arguments.minutes:
            video = Path(name) / f"{minutes:g}.mp4"
            repeat(arguments.clip, minutes, video)
            found.append(peak(video, arguments.model, Path(name) / f"out{minutes:g}", flags))
            print(f"{minutes:5g} min: peak {found[-1][0]:7.1f} MiB, {found[-1][1]:.0f} s", flush=True)
    print(f"ratio {found[1][0] / found[0][0]:.3f}")


if __name__ == "__main__":
    main()
