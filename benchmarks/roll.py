"""How well the tilt of a head is found, on faces turned by known angles.

python benchmarks/roll.py [--media ../shared/media] [--model FILE] [--angles -60 -45 ... 60] [--pictures DIR]
python benchmarks/roll.py --speed VIDEO ...

Every still and one frame of every clip, at most 640 pixels long, is turned about its middle by each angle and searched
thoroughly, as the first frame of a shot is. Errors are against what is found in the same picture unturned, plus the
angle: the truth where heads are upright there, and how much the answer depends on the tilt where not. "detector": its
own five points; "second look": those of ``mien.faces.level``. "points": mean distance of the five points from where they
should be, in distances of the eyes. ``--pictures`` writes a sheet of ``loose`` crops with either, a pair per face.
``--speed`` follows the first frames of videos, 640 x 360, without and with second looks: frames per second of CPU time.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mien.faces.crop import CropConfig, crop_transform, roll
from mien.faces.detectors import DetectConfig, Detection, Detector
from mien.faces.face import Pixels, Points
from mien.faces.follow import FollowConfig, follow
from mien.faces.level import level
from mien.video.stream import read_frames

ANGLES = (-60, -45, -30, -20, -10, 0, 10, 20, 30, 45, 60)
CLIPS = (".flv", ".mp4", ".mpg", ".mkv", ".mov", ".gif")
LONGEST = 640
FRAME = 20
SPEED_FRAMES = 90


@dataclass
class Errors:
    """What was found at one angle."""

    angle: float
    faces: int = 0
    found: int = 0
    raw: list[float] = field(default_factory=list)
    now: list[float] = field(default_factory=list)
    points: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    def cells(self) -> list[str]:
        """A row of the table."""
        errors = [f"{np.median(e):.1f} / {np.percentile(e, 90):.1f} / {np.max(e):.1f}" for e in (self.raw, self.now)]
        points = [f"{np.median(p):.3f}" for p in self.points]
        return [f"{self.angle:g}", str(self.faces), str(self.found), *errors, *points]


def pictures(media: Path) -> list[Pixels]:
    """The stills and one frame of each clip."""
    found = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((media / "stills").glob("*.jpg"))]
    for path in sorted(p for p in media.glob("*/*") if p.suffix in CLIPS):
        for frame in read_frames(path):
            if frame.index == FRAME:
                found.append(frame.pixels)
                break
    return [shrunk(picture) for picture in found]


def shrunk(picture: Pixels) -> Pixels:
    """At most ``LONGEST`` pixels long."""
    scale = min(1.0, LONGEST / max(picture.shape[:2]))
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def turned(picture: Pixels, degrees: float) -> tuple[Pixels, np.ndarray]:
    """A picture turned clockwise in a square that holds it, its border going on; and the matrix (2, 3)."""
    height, width = picture.shape[:2]
    side = int(np.hypot(height, width)) + 1
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = np.concatenate([turn, (side / 2 - turn @ (width / 2, height / 2))[:, None]], axis=1)
    tilted = cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(tilted, np.uint8), matrix


def upright(picture: Pixels, face: Detection, detector: Detector) -> Detection:
    """The face with what a second look tells."""
    seen = level(picture, face, detector, 0.0, True)
    return face if seen is None else seen.apply(face)


def measure(picture: Pixels, angle: float, detector: Detector, errors: Errors, rows: list[Pixels]) -> None:
    """Compare one picture turned by an angle with the same unturned."""
    straight, at = turned(picture, 0)
    tilted, to = turned(picture, angle)
    move = to @ np.linalg.inv(np.vstack([at, [0, 0, 1]]))
    found = detector.detect(tilted)
    for face in detector.detect(straight):
        if face.score < detector.strong:
            continue
        errors.faces += 1
        base = upright(straight, face, detector)
        middle = move[:, :2] @ points_of(face).mean(0) + move[:, 2]
        near = [f for f in found if np.linalg.norm(points_of(f).mean(0) - middle) < 0.5 * max(face.box[2:])]
        if not near:
            continue
        again = upright(tilted, near[0], detector)
        errors.found += near[0].score >= detector.strong
        for one, first, rolls, points in (
            (near[0], face, errors.raw, errors.points[0]),
            (again, base, errors.now, errors.points[1]),
        ):
            seen, before = points_of(one), points_of(first)
            rolls.append(abs(np.degrees(off(roll(seen) - roll(before) - np.radians(angle)))))
            points.append(distance(seen, np.asarray(before @ move[:, :2].T + move[:, 2], np.float32)))
        rows.append(np.hstack([cut(tilted, near[0]), cut(tilted, again)]))


def points_of(face: Detection) -> Points:
    """The five points of a face; this measurement is of detectors that find them."""
    assert face.landmarks is not None
    return face.landmarks


def off(angle: float) -> float:
    """An angle in radians between -pi and pi."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def distance(points: Points, truth: Points) -> float:
    """Mean distance of points, in distances of the eyes."""
    return float(np.linalg.norm(points - truth, axis=1).mean() / np.linalg.norm(truth[1] - truth[0]))


def cut(picture: Pixels, face: Detection) -> Pixels:
    """The crop that training reads."""
    where = crop_transform(face.box, face.landmarks, CropConfig(size=96))
    return np.asarray(cv2.warpAffine(picture, where, (96, 96)), np.uint8)


def speed(video: Path, detector: Detector) -> None:
    """Rows of frames per second of CPU time, the better of two runs, decoding left out."""
    frames = [
        replace(frame, pixels=cv2.resize(frame.pixels, (640, 360), interpolation=cv2.INTER_AREA))
        for frame in islice(read_frames(video), SPEED_FRAMES)
    ]
    side = detector.level_side
    for every in (1, 3):
        rates, faces = [], 0
        for detector.level_side in (0, side):
            seconds = []
            for _ in range(2):
                began = time.process_time()
                faces = sum(len(sighting.faces) for sighting in follow(frames, detector, FollowConfig(every=every)))
                seconds.append(time.process_time() - began)
            rates.append(f"{len(frames) / min(seconds):.0f}")
        cells = [video.name, f"{faces / len(frames):.1f}", str(every), *rates]
        print("|".join(["", *cells, ""]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path("../shared/media"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--angles", type=float, nargs="+", default=ANGLES)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--speed", type=Path, nargs="+")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    detector = DetectConfig(name="yunet", model=options.model).build()
    if options.speed:
        head = ["video", "faces a frame", "detection on every n-th frame", "without second looks", "with"]
        print("|".join(["", *head, ""]), "|".join(["", *["--:"] * len(head), ""]), sep="\n")
        for video in options.speed:
            speed(video, detector)
        return
    everything = pictures(options.media)
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, OpenCV {cv2.__version__}")
    print(f"`python {' '.join(sys.argv)}`: {len(everything)} pictures\n")
    head = [
        "turned by", "faces", "surely found", "roll error, detector: median / 90 % / max",
        "roll error, second look", "points, detector", "points, second look",
    ]  # fmt: skip
    print("|".join(["", *head, ""]), "|".join(["", *["--:"] * len(head), ""]), sep="\n")
    for angle in options.angles:
        errors, rows = Errors(angle), []
        for picture in everything:
            measure(picture, angle, detector, errors, rows)
        print("|".join(["", *errors.cells(), ""]), flush=True)
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            sheet = [np.vstack(rows[i::6][: len(rows) // 6]) for i in range(6)]
            cv2.imwrite(str(options.pictures / f"{angle:g}.png"), np.hstack(sheet)[..., ::-1])


if __name__ == "__main__":
    main()
