"""Paints strokes: a person and a behaviour -> frames.

All outlines of a clip are turned with the head and made pixels together; the loop over frames only fills
polygons (OpenCV, anti-aliased, fixed point), so that one core draws thousands of frames per second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mien.datasets.drawn.behaviour import Behaviour, Curve
from mien.datasets.drawn.strokes import Stroke, strokes
from mien.datasets.drawn.subjects import DrawnPerson, Palette

_SHIFT = 4  # bits of a pixel that OpenCV takes as fraction
_LIT = 160  # value of the light field that leaves a colour as it is
_SHAKE = 32  # pixels by which the grain is larger than a frame


def paint(
    look: DrawnPerson, behaviour: Behaviour, rng: Generator, size: int, nuisance: bool = True
) -> NDArray[np.uint8]:
    """A person and a behaviour of T frames -> uint8 (T, size, size, 3), red green blue.

    ``rng`` draws the background, the direction of the light and the camera noise; without ``nuisance`` these
    are plain, even and none.
    """
    layers = _layers(strokes(look, behaviour.actions), behaviour.pose, size)
    scene = _scene(rng, look.palette, size, nuisance)
    light = _light(rng, look.palette, size, nuisance)
    grain, corners = _grain(rng, size), rng.integers(0, _SHAKE, (len(behaviour.light), 2))
    frames = np.empty((len(behaviour.light), size, size, 3), np.uint8)
    for time, frame in enumerate(frames):
        frame[:] = scene
        for outlines, colours, line in layers:
            if (colour := colours[time]) is None:  # invisible
                continue
            if line:
                cv2.polylines(frame, [outlines[time]], False, colour, 1, cv2.LINE_AA, _SHIFT)
            else:
                cv2.fillPoly(frame, [outlines[time]], colour, cv2.LINE_AA, _SHIFT)
        cv2.multiply(frame, light, frame, scale=behaviour.light[time] / _LIT)
        if nuisance:
            y, x = corners[time]
            cv2.add(frame, grain[y : y + size, x : x + size], frame, dtype=cv2.CV_8U)
    return frames


_Layer = tuple[NDArray[np.int32], Sequence[tuple[float, ...] | None], bool]


def _layers(shapes: Sequence[Stroke], pose: Mapping[str, Curve], size: int) -> list[_Layer]:
    """Strokes -> fixed-point pixels (T, N, 2), one colour per frame, and whether it is a line."""
    counts = [s.points.shape[1] for s in shapes]
    points = np.concatenate([s.points for s in shapes], axis=1)
    lift = np.repeat([s.lift for s in shapes], counts)
    follow = np.repeat([s.follow for s in shapes], counts)
    placed = _turn(points, lift, follow, pose) * (0.41 * size) + (0.5 * size - 0.5, 0.53 * size - 0.5)
    pixels = np.rint(placed * (1 << _SHIFT)).astype(np.int32)
    parts = np.split(pixels, np.cumsum(counts)[:-1], axis=1)
    return [
        (np.ascontiguousarray(part), _colours(shape, len(part)), shape.line)
        for part, shape in zip(parts, shapes, strict=True)
    ]


def _turn(
    points: NDArray[np.float64],
    lift: NDArray[np.float64],
    follow: NDArray[np.float64],
    pose: Mapping[str, Curve],
) -> NDArray[np.float64]:
    """Turn, tilt and move points (T, N, 2) that lie on a head of ellipsoid shape; orthographic camera."""
    x, y = points[..., 0], points[..., 1]
    depth = 0.65 * np.sqrt(np.clip(1 - (x / 0.9) ** 2 - (y / 1.2) ** 2, 0, 1)) + lift
    yaw, pitch, roll = (pose[name][:, None] * follow for name in ("yaw", "pitch", "roll"))
    x, y = x * np.cos(yaw) + depth * np.sin(yaw), y * np.cos(pitch) + depth * np.sin(pitch)
    x, y = x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)
    moved = np.stack((x + pose["x"][:, None], y + pose["y"][:, None]), axis=2)
    return moved * (1 + pose["scale"])[:, None, None]


def _colours(shape: Stroke, frames: int) -> list[tuple[float, ...] | None]:
    """One colour per frame, faded into what lies under it; None where it cannot be seen."""
    if shape.strength is None:
        return [tuple(shape.colour.tolist())] * frames
    strength = np.clip(shape.strength, 0, 1)
    mixed = shape.under + strength[:, None] * (shape.colour - shape.under)
    return [tuple(c) if s > 0.06 else None for c, s in zip(mixed.tolist(), strength.tolist(), strict=True)]


def _scene(rng: Generator, palette: Palette, size: int, nuisance: bool) -> NDArray[np.uint8]:
    """The still background (size, size, 3): a few soft blobs of colour, or paper."""
    base = rng.uniform(50, 210) + rng.normal(0, 22, 3) if palette.paper is None else palette.paper
    bright, tint = (18, 8) if palette.paper is None else (6, 0)
    blobs = rng.normal(0, bright, (4, 4, 1)) + rng.normal(0, tint, (4, 4, 3))
    if not nuisance:
        base, blobs = np.full(3, 150.0) if palette.paper is None else palette.paper, 0 * blobs
    coarse = np.clip(base + blobs, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def _light(rng: Generator, palette: Palette, size: int, nuisance: bool) -> NDArray[np.uint8]:
    """Brightness (size, size, 3) in units of 1 / _LIT: from one side, and a little darker towards the rim."""
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.35) * nuisance
    slope *= 1.0 if palette.paper is None else 0.4
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    field = 1.04 + slope * (np.cos(angle) * x + np.sin(angle) * y) - 0.12 * (x * x + y * y)
    return np.repeat((_LIT * field).clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _grain(rng: Generator, size: int) -> NDArray[np.int16]:
    """Camera noise, 1.5 to 5 grey levels strong; larger than a frame, each of which sees another piece."""
    field = rng.standard_normal((size + _SHAKE, size + _SHAKE, 3), np.float32)
    return np.rint(field * rng.uniform(1.5, 5)).astype(np.int16)
