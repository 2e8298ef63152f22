"""Show which faces are found in one video: a contact sheet (PNG) and an overlay video, for a person to judge.

mien preview VIDEO --output preview

Boxes carry id and confidence; a thin box was tracked or bridged on that frame, not detected. Below the frames of the
sheet stands a row of crops for each person, as a network would be given them (--crop.preset and the rest).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass as plain
from dataclasses import field
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.faces.crop import CropConfig
from mien.faces.detectors import DetectConfig
from mien.faces.face import FrameFaces, Pixels
from mien.faces.follow import FollowConfig, follow
from mien.faces.overlay import ContactSheet, draw_faces
from mien.files import publish, write_whole
from mien.progress import progress_bar
from mien.video.container import FrameLimit
from mien.video.stream import read_frames
from mien.video.writer import VideoWriter


@dataclass(frozen=True, config=STRICT)
class Config(FrameLimit):
    """Options of ``mien preview``."""

    video: tyro.conf.Positional[Path | None] = None
    """Video file or folder of frames."""
    output: Path = Path("preview")
    """Folder for NAME.png and NAME.mp4."""
    overlay: bool = True
    """Write the overlay video as well as the contact sheet."""
    width: Annotated[int, Field(ge=64, le=4096)] = 960
    """Width of the overlay video in pixels, at most; smaller videos keep theirs."""
    detector: DetectConfig = DetectConfig()
    follow: FollowConfig = FollowConfig()
    crop: CropConfig = CropConfig()


@plain
class Tally:
    """Counts for the lines at the end."""

    frames: int = 0
    shots: int = 0
    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    people: Counter[int] = field(default_factory=Counter)

    def add(self, sighting: FrameFaces) -> None:
        """Count one frame."""
        self.frames += 1
        self.shots = sighting.shot + 1
        self.states.update(face.state for face in sighting.faces)
        self.people.update(face.id for face in sighting.faces)
        if sighting.reason:
            self.reasons[sighting.reason] += 1

    def lines(self) -> list[str]:
        """The count for a person."""
        empty = sum(self.reasons.values())
        states = ", ".join(f"{count} {state}" for state, count in self.states.most_common())
        lines = [
            f"{self.frames} frames, {self.shots} shots, {self.frames - empty} frames with a face ({states or 'none'})"
        ]
        lines += [f"  without a face: {count} frames: {reason}" for reason, count in self.reasons.most_common()]
        lines += [f"  face {id}: {count} frames" for id, count in sorted(self.people.items())[:20]]
        return lines if self.people else [*lines, "no face anywhere in this video"]


def run(config: Config) -> None:
    """Follow, draw and count; an error of the video is raised after what could be read is written."""
    if config.video is None:
        raise ValueError("which video? mien preview VIDEO")
    detector = config.detector.build()
    config.output.mkdir(parents=True, exist_ok=True)
    sheet, tally, film = (
        ContactSheet(config.crop),
        Tally(),
        Film(config.output / f"{config.video.stem}.mp4", config.width),
    )
    try:
        sightings = follow(read_frames(config.video, threads=0), detector, config.follow)
        for sighting in progress_bar(sightings, config.video.name, unit="frame"):
            tally.add(sighting)
            sheet.add(sighting)
            if config.overlay:
                film.write(draw_faces(sighting), sighting.frame.time)
    finally:
        film.close()
        picture = config.output / f"{config.video.stem}.png"
        if tally.frames:
            save(picture, sheet.picture())
            print(*tally.lines(), f"{picture}{f', {film.path}' if config.overlay else ''}", sep="\n")


def save(path: Path, pixels: Pixels) -> None:
    """Write a PNG."""
    done, data = cv2.imencode(".png", pixels[..., ::-1])
    if not done:
        raise OSError(f"cannot write {path}")
    write_whole(path, lambda beside: beside.write_bytes(data.tobytes()))


class Film:
    """A film of at most ``width`` pixels, written frame by frame; under its name only when it is whole."""

    def __init__(self, path: Path, width: int) -> None:
        self.path, self.width = path, width
        self.part, self.video = path.with_suffix(".part"), None

    def write(self, pixels: Pixels, time: float) -> None:
        """Append a frame shown at ``time`` (seconds); the size is that of the first one."""
        if self.video is None:
            scale = min(1.0, self.width / pixels.shape[1])
            width, height = (2 * max(1, round(scale * side / 2)) for side in pixels.shape[1::-1])
            self.video, self.size = VideoWriter(self.part), (width, height)
        picture = np.asarray(cv2.resize(pixels, self.size, interpolation=cv2.INTER_AREA), np.uint8)
        self.video.write(picture, time)

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self.video is not None:
            self.video.close()
            publish(self.part, self.path)
