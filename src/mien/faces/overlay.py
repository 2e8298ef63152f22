"""Found faces drawn for a person to check: boxes, ids, confidence and landmarks on a frame; a contact sheet."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.crop import CropConfig, crop
from mien.faces.face import Face, FrameFaces, Pixels

COLOURS = [(255, 90, 70), (70, 200, 90), (80, 150, 255), (255, 200, 40), (220, 90, 230), (60, 210, 210)]
"""One per id, over and over."""
PEOPLE = 24
"""People on a contact sheet, at most."""
FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, INK = (255, 255, 255), (40, 40, 40)
PAPER = 245
"""Grey level of what is empty on a sheet."""
LABEL = 36
"""Height in pixels of what stands under a crop."""


def colour_of(id: int) -> tuple[int, int, int]:
    """Colour of a person."""
    return COLOURS[id % len(COLOURS)]


def draw_faces(frame_faces: FrameFaces, width: int | None = None) -> Pixels:
    """A copy of the frame with its faces marked, at ``width`` pixels if that is given and less than it has.

    A thin box was not detected on this frame but tracked or bridged.
    """
    scale = min(1.0, width / frame_faces.frame.pixels.shape[1]) if width else 1.0
    pixels = np.ascontiguousarray(frame_faces.frame.pixels).copy()
    if scale < 1:
        size = (round(scale * pixels.shape[1]), max(1, round(scale * pixels.shape[0])))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    unit = max(1.0, max(pixels.shape[:2]) / 640)
    for face in frame_faces.faces:
        draw_face(pixels, face, unit, scale)
    note = f"{frame_faces.frame.time:.2f} s" + (f"  {frame_faces.reason}" if frame_faces.reason else "")
    draw_text(pixels, note, (round(6 * unit), pixels.shape[0] - round(8 * unit)), unit, WHITE)
    return pixels


def draw_face(pixels: Pixels, face: Face, unit: float, scale: float = 1.0) -> None:
    """Box, id, confidence, state and landmarks of one face, into a picture that is ``scale`` times the frame."""
    x, y, width, height = (round(scale * v) for v in face.box)
    thick = max(1, round((2.5 if face.state == "detected" else 1) * unit))
    cv2.rectangle(pixels, (x, y), (x + width, y + height), colour_of(face.id), thick, cv2.LINE_AA)
    for point in [] if face.landmarks is None else face.landmarks:
        place = (round(scale * float(point[0])), round(scale * float(point[1])))
        cv2.circle(pixels, place, max(1, round(2 * unit * scale)), colour_of(face.id), -1)
    state = "" if face.state == "detected" else f" {face.state}"
    draw_label(pixels, f"{face.id}: {face.confidence:.2f}{state}", (x, y), unit, colour_of(face.id))


def draw_label(pixels: Pixels, text: str, place: tuple[int, int], unit: float, colour: tuple[int, int, int]) -> None:
    """Dark text on a colour, above ``place`` and inside the picture."""
    size, thick = 0.45 * unit, max(1, round(unit))
    (wide, tall), below = cv2.getTextSize(text, FONT, size, thick)
    left = min(max(place[0], 0), max(pixels.shape[1] - wide - 6, 0))
    bottom = max(place[1], tall + below + 4)
    cv2.rectangle(pixels, (left, bottom - tall - below - 4), (left + wide + 6, bottom), colour, -1)
    cv2.putText(pixels, text, (left + 3, bottom - below), FONT, size, (0, 0, 0), thick, cv2.LINE_AA)


def draw_text(pixels: Pixels, text: str, place: tuple[int, int], unit: float, colour: tuple[int, int, int]) -> None:
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

    def add(self, frame_faces: FrameFaces) -> None:
        """Take a frame, if it is one of those kept: every n-th, n doubling whenever there are too many."""
        if self.taken % self.every == 0:
            self.frames.append(self.frame_tile(draw_faces(frame_faces, self.width)))
            for face in (f for f in frame_faces.faces if f.id in self.crops or len(self.crops) < PEOPLE):
                self.crops.setdefault(face.id, []).append(
                    self.crop_tile(crop(frame_faces.frame.pixels, face, self.config), face)
                )
        self.taken += 1
        if len(self.frames) >= 4 * self.columns:
            self.every *= 2
            self.frames = self.frames[::2]
            self.crops = {id: crops[::2] for id, crops in self.crops.items()}

    def frame_tile(self, pixels: Pixels) -> Pixels:
        """A marked frame in the middle of a tile; a frame narrower than the tile keeps its size."""
        missing = self.width - pixels.shape[1]
        return np.pad(pixels, ((0, 4), (missing // 2, missing - missing // 2), (0, 0)), constant_values=PAPER)

    def crop_tile(self, face_pixels: Pixels, face: Face) -> Pixels:
        """A crop at half the width of a tile; under it its id, sharpness and the turn of the head."""
        side = self.width // 2
        tile = np.full((side + LABEL, side, 3), PAPER, np.uint8)
        how = cv2.INTER_AREA if len(face_pixels) > side - 4 else cv2.INTER_CUBIC
        tile[: side - 4, 2:-2] = cv2.resize(face_pixels, (side - 4, side - 4), interpolation=how)
        draw_label(tile, f"face {face.id}", (2, side + 14), 0.9, colour_of(face.id))
        turn = "" if face.pose is None else f"yaw {face.pose[0]:.0f}"
        for text, place in ((turn, (66, side + 11)), (f"sharpness {face.sharpness:.0f}", (4, side + 28))):
            cv2.putText(tile, text, place, FONT, 0.38, INK, 1, cv2.LINE_AA)
        return tile

    def picture(self) -> Pixels:
        """The sheet: rows of frames, then the crops of one person after another, without gaps between people."""
        step = max(1, -(-len(self.frames) // (2 * self.columns)))
        rows = list(tiles(self.frames[::step], self.columns))
        crops: list[Pixels] = []
        for _, own in sorted(self.crops.items()):
            crops += own[:: max(1, -(-len(own) // self.columns))]
        return np.concatenate([*rows, *tiles(crops, 2 * self.columns)]).astype(np.uint8)


def tiles(pictures: list[Pixels], columns: int) -> Iterable[NDArray[np.uint8]]:
    """Rows of pictures of one size, the last one filled up with the colour of paper."""
    for start in range(0, len(pictures), columns):
        row = pictures[start : start + columns]
        row += [np.full_like(row[0], PAPER)] * (columns - len(row))
        yield np.concatenate(row, axis=1)
