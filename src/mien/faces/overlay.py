"""What was found, drawn for a person to judge: boxes, ids, confidence and landmarks on a frame; a contact sheet."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.crop import CropConfig, crop
from mien.faces.face import Face, Pixels, Sighting

COLOURS = [(255, 90, 70), (70, 200, 90), (80, 150, 255), (255, 200, 40), (220, 90, 230), (60, 210, 210)]
"""One per id, over and over."""
PEOPLE = 24
"""People on a contact sheet, at most."""
FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour_of(id: int) -> tuple[int, int, int]:
    """Colour of a person."""
    return COLOURS[id % len(COLOURS)]


def draw(sighting: Sighting) -> Pixels:
    """A copy of the frame with its faces marked. A thin box was not detected on this frame but tracked or bridged."""
    pixels = np.ascontiguousarray(sighting.frame.pixels).copy()
    unit = max(pixels.shape[:2]) / 640
    for face in sighting.faces:
        mark(pixels, face, unit)
    note = f"{sighting.frame.time:.3f} s  shot {sighting.shot}" + (f"  {sighting.reason}" if sighting.reason else "")
    write(pixels, note, (round(6 * unit), pixels.shape[0] - round(8 * unit)), unit, (255, 255, 255))
    return pixels


def mark(pixels: Pixels, face: Face, unit: float) -> None:
    """Box, id, confidence, state and landmarks of one face, into the picture."""
    x, y, width, height = (round(v) for v in face.box)
    thick = max(1, round((2.5 if face.state == "detected" else 1) * unit))
    cv2.rectangle(pixels, (x, y), (x + width, y + height), colour_of(face.id), thick, cv2.LINE_AA)
    letter = "" if face.state == "detected" else f" {face.state}"
    write(
        pixels,
        f"{face.id}: {face.confidence:.2f}{letter}",
        (x, max(round(12 * unit), y - round(5 * unit))),
        unit,
        colour_of(face.id),
    )
    for point in [] if face.landmarks is None else face.landmarks:
        cv2.circle(
            pixels, (round(float(point[0])), round(float(point[1]))), max(1, round(2 * unit)), colour_of(face.id), -1
        )


def write(pixels: Pixels, text: str, place: tuple[int, int], unit: float, colour: tuple[int, int, int]) -> None:
    """Text with a dark edge, readable on anything."""
    for tone, thick in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(pixels, text, place, FONT, 0.45 * unit, tone, max(1, round(thick * unit)), cv2.LINE_AA)


class ContactSheet:
    """Frames spread over a video and under them the crops of each person; of any length in constant memory."""

    def __init__(self, config: CropConfig, columns: int = 6, width: int = 240) -> None:
        self.config, self.columns, self.width = config, columns, width
        self.frames: list[Pixels] = []
        self.crops: dict[int, list[Pixels]] = {}
        self.every, self.taken = 1, 0

    def add(self, sighting: Sighting) -> None:
        """Take a frame, if it is one of those kept: every n-th, n doubling whenever there are too many."""
        if self.taken % self.every == 0:
            self.frames.append(self.small(draw(sighting)))
            for face in (f for f in sighting.faces if f.id in self.crops or len(self.crops) < PEOPLE):
                self.crops.setdefault(face.id, []).append(
                    self.named(crop(sighting.frame.pixels, face, self.config), face)
                )
        self.taken += 1
        if len(self.frames) >= 4 * self.columns:
            self.every *= 2
            self.frames = self.frames[::2]
            self.crops = {id: crops[::2] for id, crops in self.crops.items()}

    def small(self, pixels: Pixels) -> Pixels:
        """A frame at the width of a tile."""
        size = (self.width, round(self.width * pixels.shape[0] / pixels.shape[1]))
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)

    def named(self, face_pixels: Pixels, face: Face) -> Pixels:
        """A crop at half the width of a tile, with its id and sharpness."""
        side = self.width // 2
        tile = cv2.resize(face_pixels, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
        turn = "" if face.pose is None else f" yaw {face.pose[0]:.0f}"
        write(tile, f"{face.id} sharp {face.sharpness:.0f}{turn}", (3, side - 5), 0.75, colour_of(face.id))
        return tile

    def picture(self) -> Pixels:
        """The sheet: rows of frames, then half a row of crops for each of the first people."""
        step = max(1, -(-len(self.frames) // (2 * self.columns)))
        rows = list(tiles(self.frames[::step], self.columns))
        crops: list[Pixels] = []
        for _, own in sorted(self.crops.items()):
            chosen = own[:: max(1, -(-len(own) // self.columns))]
            crops += chosen + [np.zeros_like(own[0])] * (self.columns - len(chosen))
        return np.concatenate([*rows, *tiles(crops, 2 * self.columns)]).astype(np.uint8)


def tiles(pictures: list[Pixels], columns: int) -> Iterable[NDArray[np.uint8]]:
    """Rows of pictures of one size, the last one filled up with black."""
    for start in range(0, len(pictures), columns):
        row = pictures[start : start + columns]
        row += [np.zeros_like(row[0])] * (columns - len(row))
        yield np.concatenate(row, axis=1)
