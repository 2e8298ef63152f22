"""Clips per second and core: 16-frame training clips from a store of faces against the same from the original files.

    mien extract-faces VIDEOS --output faces
    python benchmarks/loader.py faces VIDEOS [--clips 300] [--size 160] [--stride 4]

A second table has clips as training changes them, a third the codecs a clip may be written in. Each reader draws the same
moments of the same videos, one process, one thread, times by the CPU clock, so that other work on the machine counts little. From the originals the whole frame is read at the training size: an optimist's baseline, for
training on faces would also have to find and crop them. ``store`` and ``PyAV`` are what training uses (``ClipDataset``),
``PyAV plainly`` is the usual loop (seek, decode to full-size RGB), decord its ``get_batch`` (left out if not installed).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

from mien.faces.clipfile import ClipFile, ClipFileConfig
from mien.interfaces import Clip
from mien.video.clips import ClipConfig, ClipDataset, central_square, open_clip, read_scaled, train_indices
from mien.video.decode import open_video
from mien.video.transforms import AugmentConfig

Draw = Callable[[Path, Path, float], np.ndarray]
"""(clip in the store, original, place in [0, 1)) -> frames (T, S, S, 3)."""


def from_dataset(path: Path, place: float, config: ClipConfig) -> np.ndarray:
    """A clip as training reads it."""
    with open_clip(Clip(path)) as (reader, inside):
        chosen = inside[indices(len(inside), place, config)]
        return central_square(read_scaled(reader, chosen, config), config)


def plainly(path: Path, place: float, config: ClipConfig) -> np.ndarray:
    """The usual PyAV loop: seek to a time, decode, convert what is wanted at full size, resize."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        fps, seconds = float(stream.average_rate or 25), (container.duration or 0) / 1e6
        wanted = indices(max(1, int(seconds * fps)), place, config)
        if wanted[0]:
            container.seek(int(wanted[0] / fps / stream.time_base), stream=stream)
        pictures: dict[int, np.ndarray] = {}
        for frame in container.decode(stream):
            assert frame.pts is not None
            index = round(float(frame.pts * stream.time_base - (stream.start_time or 0) * stream.time_base) * fps)
            if index in wanted:
                pictures[index] = cv2.resize(frame.to_ndarray(format="rgb24"), (config.size, config.size))
            if index >= wanted[-1]:
                break
        return np.stack(list(pictures.values()))


def by_decord(path: Path, place: float, config: ClipConfig) -> np.ndarray:
    """decord at the training size."""
    decord = importlib.import_module("decord")  # an old library that mien does not need
    reader = decord.VideoReader(str(path), width=config.size, height=config.size, num_threads=1)
    return reader.get_batch(indices(len(reader), place, config)).asnumpy()


def indices(length: int, place: float, config: ClipConfig) -> np.ndarray:
    """As ``train_indices``, from a given place."""

    class Fixed:
        def integers(self, low: int, high: int) -> int:
            return int(place * high)

    return train_indices(length, config.frames, config.stride, Fixed())  # type: ignore[arg-type]


def measure(draw: Callable[[Path, float], np.ndarray], jobs: list[tuple[Path, float]]) -> tuple[float, float, int]:
    """CPU seconds, wall seconds and failures of drawing all clips."""
    failed, cpu, wall = 0, time.process_time(), time.perf_counter()
    for path, place in jobs:
        try:
            draw(path, place)
        except Exception:  # a reader that cannot read a format is marked down, not out
            failed += 1
    return time.process_time() - cpu, time.perf_counter() - wall, failed


def augmented(store: list[Path], originals: list[Path], count: int) -> None:
    """The table of training clips as the recipes change them, drawn in the source and decoded straight to."""
    print("\n| changed as in | read from | ms of CPU time a clip |\n|---|---|---|")
    crops = AugmentConfig(scales=(), area=(0.3, 1.0), ratio=(0.75, 1.35), flip=0.5)
    for name, changes, size in (
        ("nothing", AugmentConfig.none(), 160),
        ("svfap_pretrain", AugmentConfig(), 160),
        ("svfap_finetune", AugmentConfig.finetune(), 160),
        ("vjepa_pretrain", crops, 224),
    ):
        for kind, paths in (("store", store), ("originals", originals)):
            dataset = ClipDataset([Clip(path) for path in paths], ClipConfig(size=size), changes, seed=0)
            began = time.process_time()
            for number in range(count):
                dataset[divmod(number, len(paths))]
            print(f"| {name} | {kind} | {1000 * (time.process_time() - began) / count:.1f} |", flush=True)


def codecs(videos: list[Path], config: ClipConfig) -> None:
    """The table of clip codecs: what writing and reading costs, how large and how true they are."""
    print(
        "\n| codec, quantiser | write, ms a frame | kB a frame | PSNR, dB | clips/s of CPU time |\n|---|---|---|---|---|"
    )
    squares = [whole_square(video) for video in videos]
    for codec, quality in (("h264", 12), ("h264", 16), ("h264", 20), ("mjpeg", 2), ("mjpeg", 3), ("mjpeg", 5)):
        file = ClipFileConfig(codec=codec, quality=quality)  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{i}{file.suffix}" for i in range(len(squares))]
            began = time.process_time()
            for path, pictures in zip(paths, squares, strict=True):
                encode(path, pictures, file)
            spent = time.process_time() - began
            frames, size = sum(map(len, squares)), sum(path.stat().st_size for path in paths)
            places = np.random.default_rng(0).random(100)
            jobs = [(paths[i % len(paths)], place) for i, place in enumerate(places)]
            cpu, _, failed = measure(lambda path, place: from_dataset(path, place, config), jobs)
            noise = np.mean([fidelity(path, pictures) for path, pictures in zip(paths, squares, strict=True)])
        assert not failed
        cells = (f"{codec} {quality}", f"{1000 * spent / frames:.2f}", f"{size / frames / 1000:.1f}", f"{noise:.1f}")
        print("| " + " | ".join(cells) + f" | {len(jobs) / cpu:.0f} |", flush=True)


def whole_square(video: Path) -> np.ndarray:
    """The middle square of a video at 224 px (T, 224, 224, 3)."""
    config = ClipConfig(size=224)
    with open_clip(Clip(video)) as (reader, inside):
        return central_square(read_scaled(reader, inside[:200], config), config)


def encode(path: Path, pictures: np.ndarray, config: ClipFileConfig) -> None:
    """Write pictures as a clip at 30 frames per second."""
    clip = ClipFile(path, 224, config)
    for i, picture in enumerate(pictures):
        clip.write(picture, i / 30)
    clip.close()


def fidelity(path: Path, pictures: np.ndarray) -> float:
    """Mean PSNR in dB over every tenth picture."""
    with open_video(path) as reader:
        read = reader.read(range(0, len(pictures), 10))
    errors = ((read.astype(float) - pictures[::10]) ** 2).mean((1, 2, 3))
    return float((10 * np.log10(255**2 / errors)).mean())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--stride", type=int, default=4)
    a = parser.parse_args()
    config = ClipConfig(frames=16, stride=a.stride, size=a.size)
    cv2.setNumThreads(1)
    table = pd.read_csv(a.store / "manifest.csv").sample(a.clips, replace=True, random_state=0)
    places = np.random.default_rng(0).random(a.clips)
    cut = [(a.store / path, place) for path, place in zip(table["path"], places, strict=True)]
    whole = [(a.videos / name, place) for name, place in zip(table["input"], places, strict=True)]
    readers = {
        "store": (lambda path, place: from_dataset(path, place, config), cut),
        "original, PyAV": (lambda path, place: from_dataset(path, place, config), whole),
        "original, PyAV plainly": (lambda path, place: plainly(path, place, config), whole),
        "original, decord": (lambda path, place: by_decord(path, place, config), whole),
    }
    if importlib.util.find_spec("decord") is None:
        del readers["original, decord"]
    print(f"{date.today()}, {platform.machine()}, load {os.getloadavg()[0]:.1f}; {a.clips} clips of 16 frames, stride")
    print(f"{a.stride}, {a.size} px, of {table['input'].nunique()} videos; one process, one thread\n")
    print(
        "| read from | clips/s of CPU time | clips/s of wall time | failures | store is faster by |\n|---|---|---|---|---|"
    )
    first = 0.0
    for name, (draw, jobs) in readers.items():
        draw(*jobs[0])
        cpu, wall, failed = measure(draw, jobs)
        first = first or cpu
        print(f"| {name} | {a.clips / cpu:.1f} | {a.clips / wall:.1f} | {failed} | {cpu / first:.1f} |", flush=True)
    names = sorted(set(table["input"]))
    augmented([path for path, _ in cut], [path for path, _ in whole], a.clips)
    codecs([a.videos / name for name in names[:: max(1, len(names) // 6)]], config)


if __name__ == "__main__":
    main()
