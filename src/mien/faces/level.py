"""Five points of tilted heads: a second look at each face, enlarged and turned until its eyes are level.

YuNet puts the points of a tilted head where those of an upright one would be, the more so the smaller the face: a tilt
of 45 degrees gives a roll of 4 where a face is 64 pixels wide, of 20 where it is 192 (benchmarks/results/roll.md). So
each face is cut out at that size, turned by what is known of its tilt, and searched again; the tilt that is left there turns
the next try. At the start of a shot and then at intervals, turns to either side are tried as well. Between second looks
the points keep their places in the box. Scores stay those of the first look: turned and enlarged, much that is no face
scores like one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.crop import roll, unit_square
from mien.faces.detectors import Detection, Detector
from mien.faces.face import Box, Pixels, Points

SMALLEST = 20
"""Longer side in pixels of a face below which a second look tells nothing."""
EVERY = 4
"""Frames from one second look at a face to the next."""
TURNS = tuple(np.radians((-45.0, 45.0)))
"""Turns in radians that are tried beside what is known of a face's tilt."""
LEVEL, STEPS = float(np.radians(4)), 4
"""Tilt in radians that is left alone, and how often a face is turned further at most where its tilt is not known yet."""
GAIN = 1.4
"""Of a tilt that is left, the detector reports about 1 / GAIN."""
UPRIGHT, TILTED = np.radians((10.0, 20.0))
"""Up to the one the box is the detector's, from the other on that of the second look; in between a mixture."""


@dataclass(frozen=True, eq=False)
class Level:
    """Tilt, points and box of a face by a second look, in terms of the detector's box (shares of its sides, from its corner)."""

    turn: float
    """Tilt of the head in radians, clockwise in the picture."""
    points: Points
    box: NDArray[np.float64]
    """(x, y, width, height)."""

    def apply(self, face: Detection) -> Detection:
        """A detection of the same face with points, and for a tilted head a box, in these places."""
        corner, sides = np.array(face.box[:2]), np.array(face.box[2:])
        share = float(np.clip((abs(self.turn) - UPRIGHT) / (TILTED - UPRIGHT), 0, 1))
        x, y, width, height = (1 - share) * np.array([0.0, 0.0, 1.0, 1.0]) + share * self.box
        box = (*map(float, corner + sides * (x, y)), float(sides[0] * width), float(sides[1] * height))
        points = (corner + sides * self.points).astype(np.float32)
        return replace(face, box=box, landmarks=points)


def level(pixels: Pixels, face: Detection, detector: Detector, known: float, tilted: bool) -> Level | None:
    """The second look at a face of a frame; None if the detector has no points or does not see it again.

    ``known``: its tilt in radians as far as that is known already; ``tilted``: try turns to either side of it as well.
    """
    if face.landmarks is None or not detector.level_side or max(face.box[2:]) < SMALLEST:
        return None
    tries = [known, *(known + turn for turn in TURNS)] if tilted else [known]
    looks = [seen for turn in tries if (seen := search_turned(pixels, face.box, turn, detector)) is not None]
    if not looks:
        return None
    seen = max(looks, key=lambda seen: seen[0].score)
    for _ in range(STEPS if tilted else 1):
        if abs(seen[2]) <= LEVEL:
            break
        again = search_turned(pixels, face.box, seen[1] + GAIN * seen[2], detector)
        if again is None:
            break
        seen = again
    found, _, _ = seen
    assert found.landmarks is not None
    corner, sides = np.array(face.box[:2]), np.array(face.box[2:])
    box = np.concatenate([(np.array(found.box[:2]) - corner) / sides, np.array(found.box[2:]) / sides])
    points = ((found.landmarks - corner) / sides).astype(np.float32)
    return Level(roll(found.landmarks), points, box)


def search_turned(pixels: Pixels, box: Box, turn: float, detector: Detector) -> tuple[Detection, float, float] | None:
    """The face in ``box`` searched in a square turned by ``turn``: as found, in the frame; the turn; the tilt left."""
    side = max(box[2], box[3])
    matrix = detector.level_side * unit_square(box, side, turn)
    size = (detector.level_side, detector.level_side)
    picture = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    found = [face for face in detector.search(picture.astype(np.uint8, copy=False)) if central(face.box, size[0])]
    if not found:
        return None
    face = max(found, key=lambda face: face.score)
    assert face.landmarks is not None
    back = np.linalg.inv(matrix[:, :2])
    x, y, width, height = face.box
    centre = back @ (np.array([x + width / 2, y + height / 2]) - matrix[:, 2])
    width, height = width * side / size[0], height * side / size[0]
    points = ((face.landmarks - matrix[:, 2]) @ back.T).astype(np.float32)
    here = (float(centre[0]) - width / 2, float(centre[1]) - height / 2, width, height)
    return Detection(here, face.score, points), turn, roll(face.landmarks)


def central(box: Box, side: int) -> bool:
    """Whether a face fills about the square it was looked for in, and no other face beside it is meant."""
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    return max(abs(x - side / 2), abs(y - side / 2)) < 0.25 * side and 0.5 * side < max(box[2:]) < 1.5 * side
