"""The strokes of a face: a person's looks and a clip's face actions -> outlines over time, back to front.

Face units: origin between eyes and mouth, x to the right, y down, the chin of an average face at y = 1.
Outlines are (T, N, 2). Face actions come as (T, 1), so that they broadcast against the N points of a curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.datasets.drawn.behaviour import Curve
from mien.datasets.drawn.subjects import Colour, DrawnFace, DrawnPerson, Palette

Array = NDArray[np.float64]
Actions = Mapping[str, Array]
"""Face actions by name, (T, 1) each."""

_SIDES = (-1.0, 1.0)
_ROUND = np.linspace(0, 2 * np.pi, 14, endpoint=False)
_ALONG = np.linspace(-1, 1, 15)


@dataclass(frozen=True)
class Stroke:
    """One outline of a clip, filled with a colour or drawn as a thin line."""

    points: Array
    """(T, N, 2) as (x, y) in face units."""
    colour: Colour
    strength: Curve | None = None
    """Opacity (T,) in [0, 1] against ``under``; None: opaque."""
    under: Colour = field(default_factory=lambda: np.zeros(3))
    line: bool = False
    """Whether only the outline is drawn, open."""
    lift: float = 0.0
    """Height above the skin in face units: what sticks out moves more when the head turns."""
    follow: float = 1.0
    """Share of the head's rotation that it makes."""


def strokes(look: DrawnPerson, actions: Mapping[str, Curve]) -> list[Stroke]:
    """All strokes of a clip of T frames in painter's order."""
    f, p = look.face, look.palette
    a = {name: curve[:, None] for name, curve in actions.items()}
    drawn = [*_back(f, p, a), *_skin(f, p, a)]
    drawn += [stroke for side in _SIDES for stroke in _cheek(f, p, a, side)]
    drawn += [*_nose(f, p, a), *_beard(f, p, a), *_mouth(f, p, a)]
    drawn += [stroke for side in _SIDES for stroke in _eye(f, p, a, side)]
    drawn += [*_forehead(f, p, a), *(_brow(f, p, a, side) for side in _SIDES), *_front_hair(f, p, a)]
    return drawn + (_glasses(f, a) if f.glasses else [])


def _xy(x: Array | float, y: Array | float, like: Array) -> Array:
    """Coordinates that broadcast -> (T, N, 2) with T as in ``like`` (T, 1)."""
    x, y, _ = np.broadcast_arrays(x, y, like)
    return np.stack((x, y), axis=2)


def _band(x: Array, top: Array, bottom: Array) -> Array:
    """What lies between two curves over the same x, (T, N) after broadcasting -> outline (T, 2N, 2)."""
    x, top, bottom = np.broadcast_arrays(x, top, bottom)
    return np.stack((np.hstack((x, x[:, ::-1])), np.hstack((top, bottom[:, ::-1]))), axis=2)


def _ribbon(x: Array, y: Array, half: Array | float) -> Array:
    """A curve (T, N) with half a thickness -> outline (T, 2N, 2)."""
    return _band(x, y - half, y + half)


def _contour(p: Palette, points: Array, lift: float = 0.0, follow: float = 1.0) -> list[Stroke]:
    """A pencil line around an outline, where the style has pencil lines."""
    closed = np.concatenate((points, points[:, :1]), axis=1)
    return [] if p.pencil is None else [Stroke(closed, p.pencil, line=True, lift=lift, follow=follow)]


def _hatching(p: Palette, start: Array, stop: Array) -> list[Stroke]:
    """A zigzag between two edges (T, N, 2), where the style has pencil lines."""
    zigzag = np.stack((start, stop), axis=2).reshape(len(start), -1, 2)
    return [] if p.pencil is None else [Stroke(zigzag, p.pencil, line=True)]


def _oval(f: DrawnFace, a: Actions) -> Array:
    """The outline of the face from the right temple down around, the jaw lowering its chin -> (T, 32, 2)."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    x = f.width * np.sign(c) * np.abs(c) ** (2 / f.square) * (1 - f.taper * np.clip(s, 0, 1) ** 2)
    y = np.sign(s) * np.abs(s) ** (2 / f.square)
    return _xy(x, y + 0.13 * a["jaw"] * np.clip(y, 0, 1) ** 2, a["jaw"])


def _back(f: DrawnFace, p: Palette, a: Actions) -> list[Stroke]:
    """Behind the face: long hair, shoulders, neck, ears."""
    drawn = []
    if f.long_hair:
        angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        y = 1.14 * np.sin(angle) * np.where(np.sin(angle) > 0, f.long_hair, 1)
        hair = _xy((f.width + 0.2) * np.cos(angle), y, a["jaw"])
        drawn += [Stroke(hair, p.hair_back, lift=-0.3), *_contour(p, hair, lift=-0.3)]
    neck = _xy(np.array([-0.36, 0.36, 0.4, -0.4]), np.array([0.6, 0.6, 1.2, 1.2]), a["jaw"])
    drawn += [Stroke(neck, p.shade(0.82), follow=0.25), *_contour(p, neck, follow=0.25)]
    x, y = np.array([-1.6, -1.3, -0.5, 0.5, 1.3, 1.6]), np.array([2.0, 1.25, 1.07, 1.07, 1.25, 2.0])
    body = _xy(x, y, a["jaw"])
    drawn += [Stroke(body, p.clothes, follow=0.25), *_contour(p, body, follow=0.25)]
    for side in _SIDES:
        ear = _xy(side * (f.width + 0.01) + 0.09 * np.cos(_ROUND), 0.02 + 0.19 * np.sin(_ROUND), a["jaw"])
        drawn += [Stroke(ear, p.shade(0.88), lift=-0.15), *_contour(p, ear, lift=-0.15)]
    return drawn


def _skin(f: DrawnFace, p: Palette, a: Actions) -> list[Stroke]:
    """The face itself."""
    oval = _oval(f, a)
    return [Stroke(oval, p.skin), *_contour(p, oval)]


def _beard(f: DrawnFace, p: Palette, a: Actions) -> list[Stroke]:
    """A beard between the chin and a line over the mouth."""
    if not f.beard:
        return []
    u = np.linspace(-1, 1, 9)
    edge = _xy(u * f.width * 0.78, f.mouth_y - 0.02 - 0.3 * np.abs(u) ** 4, a["jaw"])
    tone = p.skin + (p.hair - p.skin) * (0.35 + 0.5 * f.beard)
    return [Stroke(np.concatenate((_oval(f, a)[:, :17], edge), axis=1), tone)]


def _cheek(f: DrawnFace, p: Palette, a: Actions, side: float) -> list[Stroke]:
    """Blush, the fold from nose to mouth, and the bag that a raised cheek pushes up."""
    cheek, nose = a["cheek"], a["nose"]
    radius = 0.15 + 0.04 * cheek
    x, y = side * 0.56 * f.width, 0.26 - 0.08 * cheek
    blush = _xy(x + radius * np.cos(_ROUND), y + 0.75 * radius * np.sin(_ROUND), cheek)
    u = np.linspace(0, 1, 6)
    x = side * (f.nose_width + 0.06 + (f.mouth_width + 0.05 - f.nose_width) * u**1.5 + 0.03 * cheek)
    y = f.nose_y - 0.06 * nose + (f.mouth_y - f.nose_y - 0.02) * u - 0.06 * cheek * u
    fold = _ribbon(x, y, 0.012 + 0.012 * np.sin(np.pi * u))
    v = np.linspace(-1, 1, 7)
    y = f.eye_y + 0.17 - 0.05 * cheek + 0.04 * (1 - v * v)
    bag = _ribbon(side * f.eye_x + 0.19 * v, y, 0.013 * (1 - v * v) + 0.002)
    return [
        Stroke(blush, p.blush, (0.35 + 0.65 * cheek)[:, 0], p.skin),
        Stroke(fold, p.shade(0.55), 0.8 * np.maximum(cheek, nose)[:, 0], p.skin),
        Stroke(bag, p.shade(0.55), 0.8 * cheek[:, 0], p.skin),
    ]


def _nose(f: DrawnFace, p: Palette, a: Actions) -> list[Stroke]:
    """Bridge, wings and nostrils; wrinkles across the bridge when it is drawn up."""
    up, width = a["nose"], f.nose_width
    tip = f.nose_y - 0.07 * up
    u, v, w = np.linspace(0, np.pi, 9), np.linspace(0, 1, 4), np.linspace(-1, 1, 5)
    bridge = _ribbon(0.06 - 0.02 * v + 0.05 * v**3, -0.12 + (tip + 0.06) * v, 0.012)
    wings = _ribbon(width * (1 + 0.25 * up) * np.cos(u), tip - 0.04 + 0.07 * np.sin(u), 0.016)
    drawn = [Stroke(bridge, p.shade(0.86), lift=0.06), Stroke(wings, p.shade(0.74), lift=0.12)]
    for side in _SIDES:
        x = side * width * (0.5 + 0.15 * up) + 0.04 * np.cos(_ROUND)
        y = tip + 0.012 + (0.02 + 0.012 * up) * np.sin(_ROUND)
        drawn.append(Stroke(_xy(x, y, up), p.shade(0.45), lift=0.12))
    for row in range(3):
        wrinkle = _ribbon(0.11 * w, -0.10 + 0.075 * row - 0.03 * (1 - w * w) + 0 * up, 0.015)
        drawn.append(Stroke(wrinkle, p.shade(0.5), up[:, 0], p.skin, lift=0.05))
    return drawn


def _mouth(f: DrawnFace, p: Palette, a: Actions) -> list[Stroke]:
    """Lips around the open mouth with teeth and tongue; a moustache above."""
    jaw, smile, up = np.clip(a["jaw"], 0, 1.2), a["smile"], np.clip(a["lip_raise"], 0, 1.2)
    arch, oval = 1 - _ALONG**2, np.sqrt(1 - _ALONG**2)
    grin = np.clip(smile, 0, 1)
    x = f.mouth_width * (1 + 0.34 * np.clip(a["stretch"], -1.2, 1.2) + 0.10 * grin) * _ALONG
    middle = f.mouth_y - 0.17 * smile * (_ALONG**2 - 0.35)
    top = middle - 0.06 * jaw * oval - 0.085 * up * arch
    bottom = middle + 0.30 * jaw * (oval + grin * (arch - oval)) + 0.035 * up * arch  # an O, or a laugh
    lip = f.lip * oval + 0.006
    upper = top - lip * (1 - 0.25 * up) + 0.012 * np.exp(-30 * _ALONG**2)
    lips = _band(x * 1.03, upper, bottom + 1.15 * lip)
    teeth = _band(x * 0.9, top, np.minimum(top + (0.05 + 0.09 * up + 0.05 * grin) * oval, bottom))
    tongue = _band(x * 0.8, np.maximum(bottom - 0.13 * jaw * arch, top), bottom)
    hang = np.sqrt(1 - np.abs(_ALONG))
    moustache = Stroke(_band(x * 1.1, upper - 0.10 * hang, upper + 0.015), p.hair, lift=0.03)
    return [
        *([moustache] if f.moustache else []),
        Stroke(lips, p.lips, lift=0.02),
        *_contour(p, lips, lift=0.02),
        Stroke(_band(x, top, np.maximum(bottom, top + 0.012)), p.mouth),
        Stroke(tongue, p.tongue, np.clip(jaw * 3 - 0.5, 0, 1)[:, 0], p.mouth),
        Stroke(teeth, p.white, np.clip(np.maximum(jaw, up) * 5 - 0.3, 0, 1)[:, 0], p.mouth),
    ]


def _lids(f: DrawnFace, a: Actions, side: float, u: Array) -> tuple[Array, Array]:
    """Upper and lower lid (T, N) of one eye at places u from its left to its right corner, -1 to 1."""
    arch = np.clip(1 - u * u, 0, 1) ** 0.7
    corner = f.eye_y - f.slant * u * side
    low = corner + 0.75 * f.eye_height * (1 - 0.75 * a["squint"] + 0.25 * np.maximum(a["lid"], 0)) * arch
    high = corner - f.eye_height * np.maximum(1 + 0.7 * a["lid"] - 0.25 * a["squint"], 0.1) * arch
    high = high + np.clip(a["blink"], 0, 1) * (low - high)
    return np.minimum(high, low), low


def _eye(f: DrawnFace, p: Palette, a: Actions, side: float) -> list[Stroke]:
    """Eyeball, iris and pupil cut off by the lids, the lash line and the lower lid."""
    u = np.linspace(-1, 1, 11)
    centre = side * f.eye_x
    high, low = _lids(f, a, side, u)
    drawn = [Stroke(_band(centre + f.eye_width * u, high, low), p.white, lift=0.03)]
    for radius, colour in ((0.49, p.iris), (0.23, np.full(3, 12.0))):
        x = centre + 0.035 * a["gaze_x"] + radius * f.eye_width * np.cos(_ROUND)
        y = f.eye_y + 0.02 * a["gaze_y"] + radius * f.eye_width * np.sin(_ROUND)
        seen = np.clip(y, *_lids(f, a, side, (x - centre) / f.eye_width))
        drawn.append(Stroke(_xy(x, seen, x), colour, lift=0.03))
    lash = Stroke(_ribbon(centre + f.eye_width * u, high, 0.020), p.lash, lift=0.04)
    return [*drawn, Stroke(_ribbon(centre + f.eye_width * u, low, 0.009), p.shade(0.6), lift=0.03), lash]


def _forehead(f: DrawnFace, p: Palette, a: Actions) -> list[Stroke]:
    """Lines across the forehead over raised brows, and two upright ones between drawn brows."""
    raised, drawn = np.maximum(a["brow_inner"], 0), []
    u = np.linspace(-1, 1, 7)
    for row in range(2):
        y = f.brow_y - 0.20 - 0.09 * row - 0.03 * (1 - u * u) - 0.03 * raised
        drawn.append(Stroke(_ribbon(0.36 * u, y, 0.012), p.shade(0.7), raised[:, 0], p.skin))
    for side in _SIDES:
        x = side * 0.05 + np.array([-0.013, 0.013, 0.013, -0.013])
        y = f.brow_y + np.array([-0.08, -0.08, 0.14, 0.14]) + 0.05 * np.maximum(-a["brow_inner"], 0)
        drawn.append(Stroke(_xy(x, y, raised), p.shade(0.5), a["furrow"][:, 0], p.skin))
    return drawn


def _brow(f: DrawnFace, p: Palette, a: Actions, side: float) -> Stroke:
    """One brow; its inner and its outer end move each on their own."""
    u = np.linspace(0, 1, 8)
    raised = 0.18 * a["brow_inner"] * (1 - u) + 0.16 * a["brow_outer"] * u
    arch = f.brow_arch + 0.03 * np.maximum(a["brow_outer"], 0)
    x = side * (0.13 - 0.05 * a["furrow"] + (f.eye_x + f.eye_width - 0.10 + 0.02 * a["furrow"]) * u)
    y = f.brow_y - raised - arch * np.sin(np.pi * u)
    return Stroke(_ribbon(x, y, f.brow_thickness * (1 - 0.55 * u)), p.brow, lift=0.04)


def _front_hair(f: DrawnFace, p: Palette, a: Actions) -> list[Stroke]:
    """Hair over the skull down to the hairline; in pencil, hatched."""
    angle = np.linspace(np.pi * 0.98, np.pi * 2.02, 25)
    skull = _xy((f.width + 0.08) * np.cos(angle), 1.13 * np.sin(angle), a["jaw"])
    u = np.linspace(-1, 1, 25)
    line = f.hairline + 0.55 * np.abs(u) ** 5 - 0.10 * np.exp(-12 * (u - f.parting) ** 2)
    edge = _xy(f.width * 0.97 * u, line, a["jaw"])
    cap = np.concatenate((skull, edge[:, ::-1]), axis=1)
    return [Stroke(cap, p.hair), *_hatching(p, skull[:, 1:-1] * 0.98, edge[:, 1:-1]), *_contour(p, cap)]


def _glasses(f: DrawnFace, a: Actions) -> list[Stroke]:
    """Two rims and a bridge before the face."""
    angle, colour = np.linspace(0, 2 * np.pi, 17), np.full(3, 40.0)
    drawn = []
    for side in _SIDES:
        rim = _xy(side * f.eye_x + 0.25 * np.cos(angle), f.eye_y + 0.03 + 0.21 * np.sin(angle), a["jaw"])
        drawn.append(Stroke(rim, colour, line=True, lift=0.1))
    x, y = np.array([-1, -0.4, 0.4, 1]) * (f.eye_x - 0.25), f.eye_y + np.array([0, -0.03, -0.03, 0])
    return [*drawn, Stroke(_xy(x, y, a["jaw"]), colour, line=True, lift=0.12)]
