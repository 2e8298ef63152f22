"""How many times faster than real time `mien analyze` is, end to end: python benchmarks/realtime.py CLIP [seconds]

Repeats CLIP forth and back at 640x360 and 30 frames per second and reads it with an untrained TPSBT-small (speed does not
depend on weights), 16 frames, every 4th, 160 pixels, detection on every frame, windows every 16 frames. Prints the share
of each stage. To see two cores: taskset -c 0,1 env OMP_NUM_THREADS=2 python benchmarks/realtime.py CLIP
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import av
import cv2
import torch

import mien
from mien.encoders.tpsbt import TPSBTConfig
from mien.engine.distributed import session
from mien.inference.predict import ReadConfig, predict_into
from mien.inference.profiling import Profile
from mien.inference.sources import open_source
from mien.models.card import ModelCard
from mien.modules.pixels import PixelsConfig
from mien.tasks.classification import ClassificationConfig
from mien.video.clips import ClipConfig
from mien.video.stream import read_frames

NAMES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def small(folder: Path) -> Path:
    """An untrained SVFAP-S in a folder."""
    encoder, task, clip = TPSBTConfig.sized("small"), ClassificationConfig(), ClipConfig()
    model = task.build(encoder.build(clip.frames, clip.size), PixelsConfig(), NAMES)
    ModelCard(encoder, clip, PixelsConfig(), task=task, names=NAMES).save(folder, model)
    return folder


def film(clip: Path, seconds: float, target: Path) -> None:
    """CLIP forth and back at 640x360, 30 frames per second."""
    pictures = [cv2.resize(f.pixels, (640, 360), interpolation=cv2.INTER_AREA) for f in read_frames(clip)]
    pictures = [*pictures, *pictures[::-1]]
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"  # pyright: ignore
        stream.options = {"crf": "23", "preset": "veryfast", "threads": "2"}
        for i in range(round(30 * seconds)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pictures[i % len(pictures)], format="rgb24")))  # pyright: ignore
        container.mux(stream.encode())  # pyright: ignore


def main() -> None:
    """Print the shares, the wall clock's factor and the processor time."""
    clip, seconds = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    with tempfile.TemporaryDirectory() as name, session("cpu"):
        folder = Path(name)
        film(clip, seconds, folder / "film.mp4")
        analyzer = mien.load(small(folder / "model"), "cpu")
        for every in (1, 3):
            config = ReadConfig(follow={"every": every})  # pyright: ignore
            profile, began, busy = Profile(), perf_counter(), process_time()
            with open_source(folder / "film.mp4") as source:
                predict_into(folder / f"out{every}", analyzer, source, config, progress=False, profile=profile)
            took, worked = perf_counter() - began, process_time() - busy
            print(f"detection on every {every}. frame, {torch.get_num_threads()} threads:")
            print("\n".join(profile.lines(seconds)))
            print(
                f"wall {seconds / took:.2f} times real time; processor time {worked:.1f} s for {seconds:.0f} s of video"
            )


if __name__ == "__main__":
    main()
