"""Persons to draw: proportions and colours of a face, in one of two styles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Colour = NDArray[np.float64]
"""Red, green, blue in 0..255, shape (3,)."""

STYLES = ("cartoon", "sketch")
"""``cartoon`` paints flat colours under a soft light; ``sketch`` draws grey pencil lines on paper, with a
longer face and smaller eyes."""

_SKINS = np.array(
    [(255, 224, 196), (241, 194, 150), (224, 172, 120), (198, 134, 86), (141, 90, 54), (100, 64, 40)], float
)
_HAIRS = np.array([(36, 28, 26), (70, 44, 28), (120, 74, 36), (200, 160, 90), (168, 72, 32), (150, 150, 155)], float)
_IRISES = np.array([(70, 44, 24), (60, 110, 150), (70, 120, 70), (40, 40, 40), (110, 84, 40)], float)


@dataclass(frozen=True)
class DrawnFace:
    """Proportions of one person in face units (the chin is at y = 1)."""

    width: float
    taper: float
    """How much narrower the face is at the chin, in [0, 1]."""
    square: float
    """Exponent of the outline: 2 is an ellipse, more is squarer."""
    eye_x: float
    eye_y: float
    eye_width: float
    eye_height: float
    slant: float
    """How far the outer corner of the eye stands above its middle."""
    brow_y: float
    brow_thickness: float
    brow_arch: float
    nose_width: float
    nose_y: float
    mouth_y: float
    mouth_width: float
    lip: float
    """Thickness of a lip."""
    hairline: float
    parting: float
    long_hair: float
    """How far down hair hangs; 0 is short hair."""
    beard: float
    """Density of the beard in [0, 1]; 0 is none."""
    moustache: bool
    glasses: bool


@dataclass(frozen=True)
class Palette:
    """Colours of one person in one style."""

    skin: Colour
    hair: Colour
    hair_back: Colour
    brow: Colour
    iris: Colour
    lips: Colour
    blush: Colour
    lash: Colour
    white: Colour
    """Of eyes and teeth."""
    mouth: Colour
    """Inside of the mouth."""
    tongue: Colour
    clothes: Colour
    paper: Colour | None = None
    """What the background is made of; None: any colours."""
    pencil: Colour | None = None
    """Contours and hatching are drawn with it; None: there are none."""

    def shade(self, factor: float) -> Colour:
        """Skin in the shade, for lines and folds."""
        return self.skin * factor


@dataclass(frozen=True)
class DrawnPerson:
    """What one person looks like."""

    face: DrawnFace
    palette: Palette


def draw_person(rng: Generator, style: str) -> DrawnPerson:
    """Draw a person in one of ``STYLES``."""
    face = _face(rng, **_PROPORTIONS[style])
    return DrawnPerson(face, _coloured(rng) if style == "cartoon" else _pencilled(rng))


_PROPORTIONS: Mapping[str, Mapping[str, float]] = {
    "cartoon": {"breadth": 0.83, "eyes": 1.0, "apart": 1.0},
    "sketch": {"breadth": 0.71, "eyes": 0.8, "apart": 0.92},
}


def _face(rng: Generator, breadth: float, eyes: float, apart: float) -> DrawnFace:
    """Draw proportions; ``breadth`` is the mean half width, ``eyes`` and ``apart`` scale the eyes."""
    u = rng.uniform
    beard = float(rng.random() < 0.25) * u(0.5, 1.0)
    return DrawnFace(
        width=breadth * u(0.92, 1.08),
        taper=u(0.12, 0.34),
        square=u(2.0, 2.6),
        eye_x=u(0.30, 0.37) * apart,
        eye_y=u(-0.14, -0.06),
        eye_width=u(0.15, 0.20) * eyes,
        eye_height=u(0.10, 0.14) * eyes,
        slant=u(-0.02, 0.03),
        brow_y=u(-0.42, -0.36),
        brow_thickness=u(0.03, 0.065),
        brow_arch=u(0.0, 0.07),
        nose_width=u(0.10, 0.17),
        nose_y=u(0.20, 0.27),
        mouth_y=u(0.53, 0.60),
        mouth_width=u(0.26, 0.34) * apart,
        lip=u(0.035, 0.075),
        hairline=u(-0.84, -0.66),
        parting=u(-0.5, 0.5),
        long_hair=float(rng.random() < 0.45) * u(0.6, 1.2),
        beard=beard,
        moustache=bool(rng.random() < (0.7 if beard else 0.08)),
        glasses=bool(rng.random() < 0.25),
    )


def _coloured(rng: Generator) -> Palette:
    """Skin, hair and clothes as painted."""
    skin = _between(_SKINS, rng.uniform(0, len(_SKINS) - 1))
    hair = np.minimum(_HAIRS[rng.integers(len(_HAIRS))] * rng.uniform(0.85, 1.15), 255)
    return Palette(
        skin=skin,
        hair=hair,
        hair_back=hair * 0.8,
        brow=hair * 0.8,
        iris=_IRISES[rng.integers(len(_IRISES))],
        lips=skin * (0.80, 0.52, 0.52) * rng.uniform(0.9, 1.1),
        blush=skin * (0.96, 0.78, 0.76),
        lash=hair * 0.4,
        white=np.array((250.0, 250, 246)),
        mouth=np.array((86.0, 24, 28)),
        tongue=np.array((205.0, 96, 100)),
        clothes=rng.uniform(50, 200) + rng.normal(0, 25, 3).clip(-50, 50),
    )


def _pencilled(rng: Generator) -> Palette:
    """The same in greys: light where a pencil leaves paper, dark where it presses."""
    paper, hair = rng.uniform(205, 232), rng.uniform(90, 190)
    return Palette(
        skin=_grey(paper + 10),
        hair=_grey(hair),
        hair_back=_grey(hair * 0.85),
        brow=_grey(rng.uniform(40, 90)),
        iris=_grey(rng.uniform(60, 150)),
        lips=_grey(rng.uniform(150, 190)),
        blush=_grey(paper - 12),
        lash=_grey(30),
        white=_grey(250),
        mouth=_grey(40),
        tongue=_grey(120),
        clothes=_grey(paper - rng.uniform(10, 60)),
        paper=_grey(paper),
        pencil=_grey(min(hair * 0.55, 75)),
    )


def _between(palette: NDArray[np.float64], place: float) -> Colour:
    """The colour at a place in [0, N - 1] on the path through a palette (N, 3)."""
    return np.array([np.interp(place, np.arange(len(palette)), channel) for channel in palette.T])


def _grey(value: float) -> Colour:
    return np.full(3, value)
