"""How fast ``mien extract-faces`` is end to end (decode, detect, follow, crop, write), and how much memory it takes.

    python benchmarks/faces.py speed VIDEO ... [--cores 2] [--size 640x360 1280x720] [--every 1 3]
    python benchmarks/faces.py memory VIDEO --minutes 30 [--every 10]

``speed`` brings each video to each size, loops it to ``--seconds``, and cuts as many copies at once as there are cores;
frames per second of CPU time are one core's, whatever else the machine does, those by the clock all cores' together.
``memory`` loops a video, its uneven frame times included, to the length asked for and prints the peak memory (resident
set, megabytes) of the process that cuts it, as JSON, beside that of a tenth of the length.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import av
import cv2

from mien.faces.cut import CutConfig, VideoSource, cut
from mien.faces.detectors import DetectConfig
from mien.faces.follow import FollowConfig
from mien.video.stream import read_frames
from mien.video.writer import TICK


def looped(source: Path, path: Path, seconds: float, size: tuple[int, int]) -> Path:
    """A video at ``size`` (height, width), over and over until ``seconds`` are full, with its own frame times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast"})
        (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
        stream.codec_context.time_base, stream.codec_context.thread_count = TICK, 1
        packets, times = [], []
        for frame in read_frames(source):
            picture = av.VideoFrame.from_ndarray(frame.pixels, "rgb24").reformat(size[1], size[0])
            picture.pts, picture.time_base = round(frame.time / TICK), TICK
            times.append(picture.pts)
            packets += stream.encode(picture)
        packets += stream.encode()
        period = 2 * times[-1] - times[-2] - times[0]
        once = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in packets]
        for turn in range(round(seconds / (period * TICK)) or 1):
            for content, pts, dts, key in once:
                packet = av.Packet(content)
                packet.pts, packet.dts = pts + turn * period, dts + turn * period
                packet.stream, packet.time_base, packet.is_keyframe = stream, TICK, key
                container.mux(packet)
    return path


def settings(every: int) -> CutConfig:
    """Defaults, with detection on every n-th frame."""
    return CutConfig(DetectConfig().resolved(), FollowConfig(every=every))


def speed(a: argparse.Namespace) -> None:
    """The table of frames per second."""
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print(
        "| video | size | detection on | frames/s per core (CPU time) | frames/s by the clock |\n|---|---|---|---|---|"
    )
    for video in a.video:
        for size in a.size:
            for every in a.every:
                core, clock = timed(a, video, size, every)
                cells = (
                    video.name,
                    size,
                    "every frame" if every == 1 else f"every {every}.",
                    f"{core:.0f}",
                    f"{clock:.0f}",
                )
                print("| " + " | ".join(cells) + " |", flush=True)


def timed(a: argparse.Namespace, video: Path, size: str, every: int) -> tuple[float, float]:
    """Frames per second of CPU time, and of wall time with one copy per core at once."""
    width, height = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        path = looped(video, Path(folder) / "looped.mkv", a.seconds, (height, width))
        command = [sys.executable, __file__, "once", str(path), "--every", str(every), "--folder"]
        runs = [
            subprocess.Popen([*command, f"{folder}/{i}"], stdout=subprocess.PIPE, text=True) for i in range(a.cores)
        ]
        said = [json.loads(run.communicate()[0]) for run in runs]
    frames = sum(one["frames"] for one in said)
    return frames / sum(one["cpu"] for one in said), frames / max(one["wall"] for one in said)


def memory(a: argparse.Namespace) -> None:
    """Peak memory of a long and a short video."""
    width, height = map(int, a.size[0].split("x"))
    result = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (a.minutes / 10, a.minutes):
            path = looped(a.video[0], Path(folder) / "looped.mkv", 60 * minutes, (height, width))
            command = [sys.executable, __file__, "once", str(path), "--every", str(a.every[0]), "--folder", folder]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            result.append({"minutes": minutes} | json.loads(said))
    print(json.dumps(result))


def once(a: argparse.Namespace) -> None:
    """Cut one video in this process."""
    config = settings(a.every[0])
    config.detector.build()
    cv2.setNumThreads(1)
    cpu, wall = time.process_time(), time.perf_counter()
    record = cut(VideoSource("once", "once", a.video[0]), Path(a.folder) / "store", config)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    scale = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    clips = sum(track.path is not None for track in record.tracks)
    said = {"status": record.status, "frames": record.frames, "clips": clips, "megabytes": round(peak, 1)}
    print(json.dumps(said | {"cpu": round(cpu, 3), "wall": round(wall, 3)}))


def main() -> None:
    """Choose what to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory", "once"))
    parser.add_argument("video", type=Path, nargs="+")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--size", nargs="+", default=["640x360", "1280x720"])
    parser.add_argument("--every", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--folder", default=".")
    a = parser.parse_args()
    {"speed": speed, "memory": memory, "once": once}[a.what](a)


if __name__ == "__main__":
    main()
