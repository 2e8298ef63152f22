"""A long video through ``mien analyze``: every frame has its row, and memory grows by that of its table alone.

The video is a clip over and over, its packets copied: an hour of it costs no more to make than a minute.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from slow.tally import TRACEBACK, Tally, end, start
from toy_models import pictures, write_model, write_video

RATE = 25
GROWTH = 1.05
"""How many times as much memory the second half may take at its peak as the first,"""
ROW = 1.5e-3
"""and megabytes more for each row: the table is read as a whole when it is summed up at the end."""
EVERY = 0.5
"""Seconds between two measurements of memory."""
Memory = list[tuple[float, float]]
"""(seconds since the start, megabytes of the command and all it started)."""


def looped(source: Path, path: Path, seconds: float) -> tuple[Path, int]:
    """A clip over and over until ``seconds`` are full, without encoding it anew; and its number of frames."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        inside = old.streams.video[0]
        outside = new.add_stream_from_template(inside)
        packets = old.demux(inside)
        once = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in packets if p.pts is not None and p.dts is not None]
        times = sorted(pts for _, pts, _, _ in once)
        assert inside.time_base is not None
        period = times[-1] + (times[1] - times[0]) - times[0]
        turns = max(1, round(seconds / float(period * inside.time_base)))
        for turn in range(turns):
            for content, pts, dts, key in once:
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.is_keyframe = pts + turn * period, dts + turn * period, key
                packet.stream, packet.time_base = outside, inside.time_base
                new.mux(packet)
    return path, turns * len(once)


def attack(tally: Tally, seconds: float, folder: Path, source: Path | None = None, limit: float = 1e9) -> Memory:
    """Analyze ``seconds`` of video, of a drawn clip unless ``source`` names one; what memory it took over time."""
    clip = source or write_video(folder / "clip.mp4", pictures(4 * RATE, size=128))
    video, frames = looped(clip, folder / f"long{clip.suffix}", seconds)
    faces = "find" if source else "whole"
    output = folder / "analysis"
    arguments = [
        "analyze", str(video), "--model", str(write_model(folder / "model")), "--output", str(output),
        "--faces", faces, "--device", "cpu", "--no-pictures",
    ]  # fmt: skip
    tally.tried += 1
    memory, log = [], folder / "log"
    began = time.monotonic()
    with log.open("wb") as words, start(*arguments, output=words) as process:
        while process.poll() is None:
            memory.append((time.monotonic() - began, resident(process.pid)))
            if time.monotonic() - began > limit:
                tally.hang(f"analyze of {seconds:g} s of video: still running after {limit:g} s")
                end(process)
            time.sleep(EVERY)
    text = log.read_text(errors="replace")
    tally.scan(text, "analyze")
    if process.returncode != 0 and TRACEBACK not in text:
        tally.lose(f"exit code {process.returncode}: {text[-500:]}")
    with (output / "frames.csv").open(newline="") as table:
        rows = {int(row["frame"]) for row in csv.DictReader(table)}
    if rows != set(range(frames)):
        tally.lose(f"{frames - len(rows)} of {frames} frames have no row")
    first, second = halves(memory)
    if second > GROWTH * first + ROW * frames:
        tally.lose(f"memory grows: {first:.0f} MB at most in the first half, {second:.0f} MB in the second")
    tally.note = f"{frames} frames; memory at most {first:.0f} MB in the first half, {second:.0f} MB in the second"
    return memory


def halves(memory: Memory) -> tuple[float, float]:
    """The most memory before and after the middle of the time."""
    values = np.array([megabytes for _, megabytes in memory])
    middle = max(1, len(values) // 2)
    return float(values[:middle].max()), float(values[middle:].max(initial=0))


def resident(parent: int) -> float:
    """Resident memory of a session, in megabytes."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            session = int((process / "stat").read_text().rpartition(")")[2].split()[3])
            if session == parent:
                total += int((process / "statm").read_text().split()[1]) * 4096
        except (OSError, IndexError):  # it ended meanwhile
            continue
    return total / 1e6


def plot(memory: Sequence[tuple[float, float]], path: Path) -> None:
    """Memory over time as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    minutes, megabytes = np.array(memory).T
    axes.plot(minutes / 60, megabytes, linewidth=1)
    axes.set(xlabel="minutes", ylabel="resident memory, MB", ylim=(0, None), title="mien analyze on a long video")
    figure.savefig(path, dpi=120)
