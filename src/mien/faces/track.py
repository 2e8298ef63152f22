"""One face over time: its places on the frames of one shot, and what it looked like."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.faces.appearance import Descriptor
from mien.faces.detectors import Detection
from mien.faces.face import Box, Points
from mien.faces.level import Level
from mien.faces.motion import Move

RECENT = 0.2
"""Seconds over which a face's speed is taken."""


@dataclass(frozen=True, eq=False)
class Place:
    """A face on one frame."""

    time: float
    box: Box
    landmarks: Points | None
    score: float
    detected: bool

    def moved(self, move: Move, time: float) -> Place:
        """The same face after a move, no longer detected."""
        turn, shift = move[:, :2], move[:, 2]
        centre = turn @ centre_of(self.box) + shift
        scale = float(np.hypot(move[0, 0], move[1, 0]))
        width, height = scale * self.box[2], scale * self.box[3]
        box = (float(centre[0]) - width / 2, float(centre[1]) - height / 2, width, height)
        points = None if self.landmarks is None else (self.landmarks @ turn.T + shift).astype(np.float32)
        return Place(time, box, points, self.score, False)


@dataclass(eq=False)
class Track:
    """One face in one shot, without a long gap."""

    places: dict[int, Place]
    """By frame index; those before the window are dropped."""
    template: NDArray[np.float32]
    """Its face when last detected."""
    opening: bool
    """Whether it was there on the first frame of its shot."""
    level: Level | None = None
    """The last second look, for the tilt of its head; None without one."""
    levelled: int = 0
    """Index of the frame of the last second look."""
    hits: int = 1
    """Strong detections so far."""
    runs: int = 1
    """Frames so far on which the detector ran."""
    last_detection: Place = field(init=False)
    """The last detection."""
    speed: tuple[float, float] = (0.0, 0.0)
    """Pixels per second over the last ``RECENT`` seconds."""
    isolated: bool = True
    """Whether no other face touched it when it was last detected."""
    descriptors: deque[Descriptor] = field(default_factory=lambda: deque(maxlen=8))
    id: int | None = None
    ended: bool = False

    def __post_init__(self) -> None:
        self.last_detection = self.last

    @property
    def last(self) -> Place:
        """The newest place."""
        return self.places[max(self.places)]

    def add_detection(self, index: int, place: Place, strong: bool, alone: bool, template: NDArray[np.float32]) -> None:
        """Add a detection. It counts for the speed only if no other face touches it: of a half hidden one, half is found."""
        self.places[index] = self.last_detection = place
        self.template = template
        self.hits += strong
        self.isolated = alone
        if alone:
            first = next(p for p in sorted(self.places.values(), key=lambda p: p.time) if place.time - p.time <= RECENT)
            x, y = (centre_of(place.box) - centre_of(first.box)) / max(place.time - first.time, 1e-6)
            self.speed = float(x), float(y)

    def expected(self, time: float) -> Box:
        """Where the box should be now: the last place, moved on at its recent speed."""
        return moved_box(self.last.box, self.speed, time - self.last.time)


def moved_box(box: Box, speed: tuple[float, float], seconds: float) -> Box:
    """A box after so many seconds at a speed in pixels per second."""
    return box[0] + speed[0] * seconds, box[1] + speed[1] * seconds, box[2], box[3]


def centre_of(box: Box) -> NDArray[np.float64]:
    """Middle of a box (x, y)."""
    return np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])


def size_of(box: Box) -> float:
    """Geometric mean of width and height."""
    return float(np.sqrt(max(box[2] * box[3], 1e-6)))


def covered_share(a: Box, b: Box) -> float:
    """Area that two boxes share, as a share of the smaller one."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height) / max(min(a[2] * a[3], b[2] * b[3]), 1e-6)


def box_distance(a: Box, b: Box) -> float:
    """Distance of two boxes in box sizes, plus their difference in size."""
    sizes = size_of(a), size_of(b)
    shift = float(np.linalg.norm(centre_of(a) - centre_of(b))) / (0.5 * sum(sizes))
    return shift + 0.7 * abs(float(np.log(sizes[0] / sizes[1])))


def without_duplicates(found: list[Detection]) -> list[Detection]:
    """Detections, best first, without those that lie mostly on a better one."""
    kept: list[Detection] = []
    for face in found:
        if all(covered_share(face.box, other.box) < 0.6 for other in kept):
            kept.append(face)
    return kept


def is_isolated(face: Detection, found: list[Detection]) -> bool:
    """Whether no other detection touches a face, with a quarter to spare: of a half hidden face only half is found."""
    return all(other is face or not boxes_touch(other.box, face.box) for other in found)


def boxes_touch(a: Box, b: Box) -> bool:
    """Whether two boxes, made larger by a quarter, touch."""
    x, y = np.abs(centre_of(a) - centre_of(b))
    return bool(x < 0.625 * (a[2] + b[2]) and y < 0.625 * (a[3] + b[3]))
