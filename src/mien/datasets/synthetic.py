"""A corpus of drawn faces: known expressions, motion, affect and traits, without any download.

``mien synth OUT`` writes ``OUT/videos/<subject>/<clip>.mp4`` (H.264), ``OUT/manifest.csv`` (a row per clip:
path, subject, fold, style, expression, valence, arousal, five traits, and 1 or 0 for each of twelve face actions),
``OUT/curves.csv`` (a row per frame: valence and arousal), ``OUT/contact_sheet.png`` and ``OUT/synth.json`` (what was asked for).

surprise/fear and anger/disgust are pairs of *the same frames in another order* (``drawn.behaviour``): what
looks at still frames can only guess within a pair. A clip is a function of the seed, the style, its number,
its subject and its expression, whatever else is in the corpus.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from dataclasses import dataclass as plain
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from tyro.conf import Positional

from mien.config import STRICT
from mien.datasets.drawn.behaviour import (
    EXPRESSIONS,
    TRAITS,
    UNITS,
    Behaviour,
    Curve,
    draw_behaviour,
    draw_habits,
    visible_units,
)
from mien.datasets.drawn.painter import paint
from mien.datasets.drawn.subjects import STYLES, draw_person
from mien.files import LOCK, write_whole
from mien.video.writer import VideoWriter

COLUMNS = ("path", "subject", "fold", "style", "expression", "valence", "arousal", *TRAITS, *UNITS)
"""Columns of ``manifest.csv``."""

_OURS = ("synth.json", "manifest.csv", "curves.csv", "contact_sheet.png")


@dataclass(frozen=True, config=STRICT)
class SynthConfig:
    """What to draw and where to put it."""

    output: Positional[Path]
    """Folder of the corpus; made if missing."""
    clips: int = 200
    """Number of videos."""
    subjects: int = 40
    """Number of persons; the clips are dealt to them in turn."""
    size: int = 160
    """Height and width of a frame in pixels; even."""
    frames: int = 48
    """Frames per video; the whole expression lies inside."""
    fps: float = 25.0
    """Frames per second."""
    style: Literal["cartoon", "sketch"] = "cartoon"
    """Painted in colour, or drawn in pencil: two corpora that look different."""
    placement: float = 0.0
    """How badly faces are cropped: each clip is shifted by up to this share of the side, made up to this share larger or
    smaller, and turned by up to 90 degrees times it. At 0 all faces stand alike, which makes raw pixels comparable."""
    label_noise: float = 0.0
    """Share of the clips whose written expression is another one, drawn by chance, as of an annotator who errs; the
    file's name keeps what was drawn."""
    folds: int = 5
    """Number of folds, which count from 1; a person is in one fold only."""
    seed: int = 0
    """Another seed draws other persons and other clips."""
    workers: int = 0
    """Number of processes; 0 is one per core. The result is the same for any number."""
    overwrite: bool = False
    """Whether a drawn corpus that already lies in ``output`` is replaced."""

    def __post_init__(self) -> None:
        if self.size % 2 or self.size < 32:
            raise ValueError(f"size is {self.size}: H.264 needs an even number, a face at least 32")
        if self.frames < 8:
            raise ValueError(f"frames is {self.frames}: an expression needs at least 8")
        if not 1 <= self.folds <= self.subjects:
            raise ValueError(f"folds is {self.folds}: it must be between 1 and subjects ({self.subjects})")
        if self.clips < self.subjects:
            raise ValueError(f"clips is {self.clips}: fewer than subjects ({self.subjects})")
        if not 0 <= self.placement <= 0.5:
            raise ValueError(f"placement is {self.placement}: it must be between 0 and 0.5")
        if not 0 <= self.label_noise <= 1:
            raise ValueError(f"label_noise is {self.label_noise}: a share is between 0 and 1")
        if self.fps <= 0 or self.workers < 0 or self.seed < 0:
            raise ValueError("fps must be above 0, workers and seed at least 0")


@plain(frozen=True)
class ClipPlan:
    """One clip to be drawn."""

    index: int
    subject: int
    expression: str

    @property
    def person(self) -> str:
        return f"s{self.subject:03d}"

    @property
    def path(self) -> Path:
        """Relative to the folder of the corpus."""
        return Path("videos", self.person, f"{self.person}_{self.index:04d}_{self.expression}.mp4")


@plain(frozen=True)
class DrawnClip:
    """A clip that was drawn and written, and what is true of it."""

    take: ClipPlan
    valence: Curve
    arousal: Curve
    traits: dict[str, float]
    units: dict[str, bool]


def clip_behaviour(
    seed: int,
    index: int,
    subject: int,
    expression: str,
    frames: int = 32,
    style: str = "cartoon",
    nuisance: bool = True,
) -> Behaviour:
    """What a person does in a clip: all curves (T,) and the trait scores."""
    style_number = STYLES.index(style)
    person = draw_habits(np.random.default_rng((seed, style_number, subject, 1)))
    return draw_behaviour(np.random.default_rng((seed, style_number, index, 2)), person, expression, frames, nuisance)


def draw_clip(
    seed: int,
    index: int,
    subject: int,
    expression: str,
    frames: int = 32,
    size: int = 64,
    style: str = "cartoon",
    nuisance: bool = True,
) -> NDArray[np.uint8]:
    """Draw one clip in memory -> uint8 (frames, size, size, 3), red green blue.

    ``index`` is the number of the clip: equal numbers give two expressions equal timing, pose and noise.
    Without ``nuisance`` only the expression moves.
    """
    behaviour = clip_behaviour(seed, index, subject, expression, frames, style, nuisance)
    return _picture(behaviour, seed, index, subject, size, style, nuisance)


def _picture(
    behaviour: Behaviour, seed: int, index: int, subject: int, size: int, style: str, nuisance: bool = True
) -> NDArray[np.uint8]:
    """A behaviour (T frames) shown by a person -> uint8 (T, size, size, 3)."""
    style_number = STYLES.index(style)
    person = draw_person(np.random.default_rng((seed, style_number, subject, 0)), style)
    return paint(person, behaviour, np.random.default_rng((seed, style_number, index, 3)), size, nuisance)


def plan(config: SynthConfig) -> list[ClipPlan]:
    """All clips: dealt to the persons in turn, each person going through the expressions in turn."""
    takes = []
    for index in range(config.clips):
        turn, subject = divmod(index, config.subjects)
        takes.append(ClipPlan(index, subject, EXPRESSIONS[(turn + subject) % len(EXPRESSIONS)]))
    return takes


def prepare_folder(config: SynthConfig) -> None:
    """Make the output folder ours: empty but for ``synth.json``, or a ValueError. A corpus that never became whole is
    drawn anew."""
    output = config.output
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file; name a folder for the corpus")
    if output.exists() and any(path.name != LOCK for path in output.iterdir()):
        if not (output / "synth.json").exists():
            raise ValueError(f"{output} is not empty and holds no drawn corpus; choose another folder")
        if not config.overwrite and (output / "manifest.csv").exists():
            raise ValueError(f"{output} holds a drawn corpus; choose another folder or pass --overwrite")
        shutil.rmtree(output / "videos", ignore_errors=True)
        for name in _OURS:
            (output / name).unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    what = {k: v for k, v in asdict(config).items() if k not in ("output", "workers", "overwrite")}
    (output / "synth.json").write_text(json.dumps(what, indent=2) + "\n")


def draw_clips(config: SynthConfig) -> Iterator[DrawnClip]:
    """Draw and write all videos, in order of their numbers, on ``config.workers`` processes."""
    takes = plan(config)
    for folder in {(config.output / take.path).parent for take in takes}:
        folder.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(config.workers or cores, len(takes))
    if workers == 1:
        yield from map(partial(_draw_and_write, config), takes)
        return
    # spawn: a fork of a process that runs threads (torch, OpenCV) may hang
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
        yield from pool.map(partial(_draw_and_write, config), takes, chunksize=8)


def _draw_and_write(config: SynthConfig, take: ClipPlan) -> DrawnClip:
    """Draw one clip and write it as H.264, yuv420p, key frames every 12; one thread, for equal bytes."""
    seed, index, subject = config.seed, take.index, take.subject
    behaviour = clip_behaviour(seed, index, subject, take.expression, config.frames, config.style)
    frames = displace(_picture(behaviour, seed, index, subject, config.size, config.style), config, index)
    rate = Fraction(config.fps).limit_denominator(1001)
    options = {"crf": "20", "preset": "veryfast", "tune": "zerolatency", "g": "12"}
    with VideoWriter(config.output / take.path, options, rate=rate, tick=1 / rate, faststart=False) as video:
        for number, frame in enumerate(frames):
            video.write(frame, float(number / rate))
    return DrawnClip(
        take, behaviour.valence, behaviour.arousal, dict(behaviour.traits), visible_units(behaviour.actions)
    )


def displace(frames: NDArray[np.uint8], config: SynthConfig, index: int) -> NDArray[np.uint8]:
    """Shift, scale and turn a whole clip (T, size, size, 3) by what ``config.placement`` allows."""
    if not config.placement:
        return frames
    rng = np.random.default_rng((config.seed, STYLES.index(config.style), index, 4))
    x, y, scale, turn = config.placement * rng.uniform(-1, 1, 4)
    matrix = cv2.getRotationMatrix2D((config.size / 2, config.size / 2), 90 * turn, 1 + scale)
    matrix[:, 2] += np.array([x, y]) * config.size
    size, edge = (config.size, config.size), cv2.BORDER_REFLECT
    return np.stack([cv2.warpAffine(f, matrix, size, borderMode=edge) for f in frames]).astype(np.uint8)


def write_tables(config: SynthConfig, clips: Iterable[DrawnClip]) -> None:
    """Write ``curves.csv`` and, last, ``manifest.csv``: where there is a manifest, the corpus is whole."""
    clips = list(clips)
    with open(config.output / "curves.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("path", "frame", "valence", "arousal"))
        for clip in clips:
            path, pairs = clip.take.path.as_posix(), zip(clip.valence, clip.arousal, strict=True)
            table.writerows((path, t, f"{v:.4f}", f"{a:.4f}") for t, (v, a) in enumerate(pairs))

    def rows(path: Path) -> None:
        with path.open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            table.writerows(_row(config, clip) for clip in clips)

    write_whole(config.output / "manifest.csv", rows)


def _row(config: SynthConfig, clip: DrawnClip) -> tuple[object, ...]:
    """One row of the manifest; the clip's valence and arousal are the means over its frames."""
    take = clip.take
    numbers = (clip.valence.mean(), clip.arousal.mean(), *(clip.traits[name] for name in TRAITS))
    label = written_expression(config, take)
    known = (take.path.as_posix(), take.person, take.subject % config.folds + 1, config.style, label)
    return (*known, *(f"{number:.4f}" for number in numbers), *(int(clip.units[name]) for name in UNITS))


def written_expression(config: SynthConfig, take: ClipPlan) -> str:
    """The expression that is written down: what was drawn, or by ``config.label_noise`` one of the others."""
    rng = np.random.default_rng((config.seed, STYLES.index(config.style), take.index, 5))
    if rng.random() >= config.label_noise:
        return take.expression
    return str(rng.choice([name for name in EXPRESSIONS if name != take.expression]))


def contact_sheet(config: SynthConfig, columns: int = 8) -> NDArray[np.uint8]:
    """One clip of each expression, named, at ``columns`` times -> uint8 (rows * size, columns * size, 3)."""
    first = {take.expression: take for take in reversed(plan(config))}
    rows = []
    for name in sorted(first):
        take = first[name]
        clip = draw_clip(config.seed, take.index, take.subject, name, config.frames, config.size, config.style)
        times = np.linspace(0, config.frames - 1, columns).round().astype(int)
        row = np.concatenate(list(displace(clip, config, take.index)[times]), axis=1)
        cv2.putText(row, name, (3, config.size - 5), cv2.FONT_HERSHEY_PLAIN, 0.8, (255, 255, 0), 1)
        rows.append(row)
    return np.concatenate(rows)
