"""What a drawn face does: seven expressions, speech, blinks, gaze and head motion as curves over time.

``act`` turns (generator, person, expression) into a ``Behaviour``: one curve per face action, the head pose
and the light. An expression takes 70 to 88 % of the clip, however long that is; the rates of blinks and
syllables suppose 25 frames per second. Two pairs of expressions show *the same frames in another order*, so
that no still frame can tell them apart:

* **surprise and fear** pass through the same faces (brows up, eyes wide, jaw open). Surprise comes fast and
  goes slowly; fear is the same clip backwards: it creeps in and drops.
* **anger and disgust** pass through the same faces (brows down, nose wrinkled, lip raised). Anger rises once
  and is held; disgust recoils twice: its pulses are the even and then the odd frames of anger's single
  swell.

What disturbs (head motion, light, gaze, blinks, speech) is drawn without looking at the expression, is
stationary, and is the same process forwards and backwards, so it says nothing about which of a pair is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Curve = NDArray[np.float64]
"""One value per frame, shape (T,)."""

EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
"""Class names in the project's order (alphabetical)."""

TRAITS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
"""Trait scores in [0, 1], in this order."""

MOTION_PAIRS = (("surprise", "fear"), ("anger", "disgust"))
"""Pairs whose clips hold the same frames in another order."""

_STARTLE = {"brow_inner": 1.0, "brow_outer": 0.85, "lid": 1.0, "jaw": 0.95, "stretch": -0.8}
_SNARL = {"brow_inner": -1.0, "brow_outer": 0.15, "furrow": 1.0, "squint": 0.6, "nose": 1.0, "lip_raise": 1.0}
APEX: Mapping[str, Mapping[str, float]] = {
    "anger": {**_SNARL, "smile": -0.55, "lid": -0.15},
    "disgust": {**_SNARL, "smile": -0.55, "lid": -0.15},
    "fear": _STARTLE,
    "happiness": {"smile": 1.0, "cheek": 1.0, "squint": 0.8, "stretch": 0.6, "jaw": 0.3, "lip_raise": 0.35},
    "neutral": {},
    "sadness": {
        "brow_inner": 0.9,
        "brow_outer": -0.6,
        "furrow": 0.3,
        "lid": -0.5,
        "smile": -1.0,
        "stretch": -0.1,
    },
    "surprise": _STARTLE,
}
"""Face actions at full intensity, in units of the largest natural excursion (about -1 to 1)."""

AFFECT: Mapping[str, tuple[float, float]] = {
    "anger": (-0.7, 0.75),
    "disgust": (-0.75, 0.35),
    "fear": (-0.65, 0.8),
    "happiness": (0.85, 0.5),
    "neutral": (0.0, 0.0),
    "sadness": (-0.7, -0.45),
    "surprise": (0.25, 0.8),
}
"""Valence and arousal at full intensity, in [-1, 1]."""

ACTIONS = (
    "brow_inner", "brow_outer", "furrow", "lid", "squint", "cheek", "nose", "smile", "stretch", "jaw",
    "lip_raise", "blink", "gaze_x", "gaze_y",
)  # fmt: skip
"""Names of the action curves: raising is positive; ``stretch`` is negative for pursed lips."""

UNITS: Mapping[str, tuple[str, int]] = {
    "brow_raise": ("brow_inner", 1),
    "brow_lower": ("brow_inner", -1),
    "brow_furrow": ("furrow", 1),
    "lid_raise": ("lid", 1),
    "squint": ("squint", 1),
    "cheek_raise": ("cheek", 1),
    "nose_wrinkle": ("nose", 1),
    "lip_raise": ("lip_raise", 1),
    "smile": ("smile", 1),
    "lip_corner_down": ("smile", -1),
    "pucker": ("stretch", -1),
    "jaw_drop": ("jaw", 1),
}
"""What a clip shows or does not, as annotators of action units write it: a face action and its direction."""

POSE = ("yaw", "pitch", "roll", "x", "y", "scale")
"""Names of the pose curves: radians, radians, radians, face units, face units, factor - 1."""


@dataclass(frozen=True)
class Habits:
    """How one person behaves, whatever they feel; each number in [0, 1]."""

    talk: float
    mobility: float
    blinking: float
    warmth: float
    shyness: float
    accent: Mapping[str, float]
    """Factor per face action (about 0.85 to 1.15) by which this person differs from the average."""


@dataclass(frozen=True)
class Behaviour:
    """All that moves in one clip of T frames."""

    actions: Mapping[str, Curve]
    pose: Mapping[str, Curve]
    light: Curve
    """Gain of the light, about 1."""
    envelope: Curve
    """Intensity of the expression in [0, 1]."""
    valence: Curve
    """In [-1, 1]."""
    arousal: Curve
    """In [-1, 1]."""
    traits: Mapping[str, float]
    """Five scores in [0, 1]."""


def draw_habits(rng: Generator) -> Habits:
    """Draw a person's habits."""
    talk, mobility, blinking, warmth, shyness = rng.uniform(size=5)
    accent = {name: float(rng.uniform(0.85, 1.15)) for name in ACTIONS}
    return Habits(talk, mobility, blinking, warmth, shyness, accent)


def draw_behaviour(rng: Generator, person: Habits, expression: str, frames: int, nuisance: bool = True) -> Behaviour:
    """Play one expression in ``frames`` frames; without ``nuisance`` only the expression moves.

    Equal generators give equal timing, intensity and disturbance for every expression.
    """
    timing, disturbing = rng.spawn(2)
    envelope = profile(timing, expression, frames)
    actions = {name: np.zeros(frames) for name in ACTIONS}
    for name, amount in APEX[expression].items():
        actions[name] += amount * person.accent[name] * envelope
    pose = {name: np.zeros(frames) for name in POSE}
    light, speech = np.ones(frames), np.zeros(frames)
    if nuisance:
        speech = _disturb(disturbing, person, actions, pose)
        light = 1 + disturbing.normal(0, 0.06) + 0.04 * wander(disturbing, frames, 12)
    valence, arousal = _affect(expression, envelope, speech, pose)
    traits = _traits(actions, pose, speech)
    return Behaviour(actions, pose, light, envelope, valence, arousal, traits)


def visible_units(actions: Mapping[str, Curve]) -> dict[str, bool]:
    """Which of ``UNITS`` a clip shows: an action passes half of its largest natural excursion in a tenth of the frames."""
    return {unit: bool(np.quantile(sign * actions[name], 0.9) > 0.5) for unit, (name, sign) in UNITS.items()}


def profile(rng: Generator, expression: str, frames: int) -> Curve:
    """Intensity (T,) in [0, 1]: onset, apex and offset of an expression, all inside the clip.

    The same generator gives the expressions of a pair the same values in another order.
    """
    length = 2 * round(frames * rng.uniform(0.7, 0.88) / 2)
    start = int(rng.integers(0, frames - length + 1))
    strength, quick, hold = rng.uniform(0.7, 1.0), rng.uniform(0.1, 0.18), rng.uniform(0.1, 0.2)
    shape = rng.integers(3)  # of those expressions whose motion says nothing
    if expression in ("surprise", "fear"):
        swell, backwards = _swell(length, quick, hold), expression == "fear"
    elif expression in ("anger", "disgust"):
        swell, backwards = _swell(length, 0.25 + quick / 2, 0.2 + hold), False
    else:
        swell, backwards = _swell(length, 0.33 if shape == 2 else quick + 0.05, hold + 0.1), shape == 1
    if expression == "disgust":
        swell = np.concatenate((swell[0::2], swell[1::2]))
    envelope = np.zeros(frames)
    envelope[start : start + length] = strength * swell * (expression != "neutral")
    return envelope[::-1].copy() if backwards else envelope


def _swell(length: int, onset: float, hold: float) -> Curve:
    """One rise, apex and fall over ``length`` frames; ``onset`` and ``hold`` are shares of it."""
    time = (np.arange(length) + 0.5) / length
    ramp = np.clip(np.minimum(time / onset, (1 - time) / (1 - onset - hold)), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def wander(rng: Generator, frames: int, slowness: float) -> Curve:
    """A smooth stationary curve (T,) of variance about 1, the same process forwards and backwards."""
    reach = int(3 * slowness)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / slowness) ** 2)
    noise = rng.standard_normal(frames + 2 * reach)
    return np.convolve(noise, kernel / np.linalg.norm(kernel), "valid")


def _disturb(rng: Generator, person: Habits, actions: dict[str, Curve], pose: dict[str, Curve]) -> Curve:
    """Add head motion, gaze, blinks, twitches and speech in place -> how much is spoken (T,) in [0, 1]."""
    frames = len(actions["jaw"])
    sway = 0.4 + 0.9 * person.mobility
    for name, resting, moving in (
        ("yaw", 0.10, 0.07), ("pitch", 0.05, 0.05), ("roll", 0.035, 0.03),
        ("x", 0.03, 0.02), ("y", 0.03, 0.02), ("scale", 0.03, 0.01),
    ):  # fmt: skip
        pose[name] += rng.normal(0, resting) + moving * sway * wander(rng, frames, 6)
    for name in ("gaze_x", "gaze_y"):
        steps = np.cumsum(rng.random(frames) < 0.04)
        actions[name] += (0.2 + 0.5 * person.shyness) * rng.standard_normal(frames + 1)[steps]
    for name in ("brow_inner", "brow_outer", "squint", "smile", "stretch", "nose"):
        actions[name] += 0.06 * wander(rng, frames, 4) + rng.normal(0, 0.05)
    actions["smile"] += 0.2 * (person.warmth - 0.5)
    actions["blink"] += _blinks(rng, frames, 0.004 + 0.03 * person.blinking)
    speech = _speech(rng, frames) * (rng.random() < 0.15 + 0.6 * person.talk)
    actions["jaw"] += 0.4 * speech * rng.uniform(0.6, 1.0)
    actions["stretch"] += 0.3 * speech * wander(rng, frames, 2)
    return speech


def _blinks(rng: Generator, frames: int, rate: float) -> Curve:
    """Closedness (T,) in [0, 1] with ``rate`` symmetric blinks per frame."""
    starts = (rng.random(frames + 4) < rate).astype(float)
    return np.minimum(np.convolve(starts, (0.5, 1.0, 1.0, 1.0, 0.5), "valid"), 1.0)


def _speech(rng: Generator, frames: int) -> Curve:
    """Opening of a talking mouth (T,) in [0, 1]: about four syllables a second, with pauses."""
    syllables = np.clip(np.abs(wander(rng, frames, 1.6)) * 0.7, 0, 1)
    return syllables / (1 + np.exp(-4 * (wander(rng, frames, 8) + 0.7)))


def _affect(expression: str, envelope: Curve, speech: Curve, pose: Mapping[str, Curve]) -> tuple[Curve, Curve]:
    """Valence and arousal (T,): the expression's, by intensity; speaking and moving also arouse."""
    valence, arousal = AFFECT[expression]
    moving = cv2.blur(_speed(pose)[None], (9, 1))[0]
    speaking = cv2.blur(speech[None], (9, 1))[0]
    excited = -0.15 + envelope * (arousal + 0.15) + 0.35 * speaking + 3.0 * moving
    return np.clip(valence * envelope, -1, 1), np.clip(excited, -1, 1)


def _speed(pose: Mapping[str, Curve]) -> Curve:
    """Head rotation (T,) in radians per frame, all axes together."""
    return np.hypot(np.gradient(pose["yaw"]), np.hypot(np.gradient(pose["pitch"]), np.gradient(pose["roll"])))


def _traits(actions: Mapping[str, Curve], pose: Mapping[str, Curve], speech: Curve) -> dict[str, float]:
    """Five scores from what was done in a clip: logistic sums of behaviours, each scaled to vary by about 1.

    Only what can be seen counts: smiling, talking, head motion, blinking, tense or raised brows, stray gaze.
    """
    smile = 3 * (np.maximum(actions["smile"], 0).mean() - 0.15)
    talk = 5 * (speech.mean() - 0.15)
    motion = 90 * (_speed(pose).mean() - 0.014)
    blink = 12 * (actions["blink"].mean() - 0.06)
    tension = 3 * (actions["furrow"].mean() + np.maximum(actions["brow_inner"], 0).mean() - 0.25)
    raised = 6 * (np.maximum(actions["brow_outer"], 0).mean() - 0.1)
    stray = 2 * (np.hypot(actions["gaze_x"], actions["gaze_y"]).mean() - 0.5)
    scores = {
        "openness": raised + 0.7 * motion + 0.4 * smile,
        "conscientiousness": -motion - stray - 0.4 * talk,
        "extraversion": talk + 0.7 * smile + 0.6 * motion,
        "agreeableness": smile - tension - 0.4 * stray,
        "neuroticism": blink + 0.8 * tension + 0.5 * stray - 0.4 * smile,
    }
    return {name: float(1 / (1 + np.exp(-scores[name]))) for name in TRAITS}
