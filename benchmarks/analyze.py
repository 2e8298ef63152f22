"""Analyze every video of a folder and check that every frame is accounted for: python benchmarks/analyze.py MEDIA MODEL OUT

Writes what `mien analyze` writes for each video below OUT, and accounts.csv: frames decoded against frames in the table.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

import mien
from mien.inference.predict import ReadConfig, predict_into
from mien.inference.sources import open_source
from mien.reports.portraits import Portraits
from mien.reports.timeline_report import illustrate
from mien.video.decode import VIDEOS, open_video


def main() -> None:
    """Print and write a line per video."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("media", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--overlay", action="store_true")
    given = parser.parse_args()
    analyzer = mien.load(given.model, "cpu")
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "accounts.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("video", "decoded", "rows_of_frames", "largest_time_error_ms", "with_face", "faces", "windows", "complete", "seconds", "cpu_seconds", "video_seconds"))  # fmt: skip
        for path in sorted(p for p in given.media.rglob("*") if p.suffix.lower() in VIDEOS):
            table.writerow(
                account(analyzer, path, given.out / path.relative_to(given.media).with_suffix(""), given.overlay)
            )
            file.flush()


def account(analyzer: mien.Analyzer, path: Path, folder: Path, overlay: bool) -> tuple[object, ...]:
    """Analyze one video and compare its table with an independent reading of its frames."""
    portraits, began, busy = Portraits(), perf_counter(), process_time()
    with open_source(path) as source:
        timeline = predict_into(folder, analyzer, source, ReadConfig(), listen=portraits, progress=False)
        took, worked = perf_counter() - began, process_time() - busy
        illustrate(timeline, source, portraits, folder, overlay, False)
    frames = timeline.frames.drop_duplicates("frame")
    with open_video(path) as reader:
        times = reader.timestamps
    same = len(times) == len(frames)
    error = float(np.abs(frames["timestamp"].to_numpy(float) - times).max()) * 1000 if same else float("nan")
    seen = timeline.frames[timeline.frames["success"] == 1]
    reasons = timeline.frames[timeline.frames["success"] == 0]["reason"].notna().all()
    complete = same and bool((np.diff(frames["frame"]) == 1).all()) and bool(reasons)
    row = (path.name, len(times), len(frames), round(error, 3), seen["frame"].nunique(), seen["face_id"].nunique())
    row += (len(timeline.windows), complete, round(took, 2), round(worked, 2), round(float(times[-1] - times[0]), 2))
    print(*row, flush=True)
    return row


if __name__ == "__main__":
    main()
