"""The video with what was read drawn on it: boxes, ids, bars; times as in the original, also of variable rates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.faces.face import Pixels
from mien.files import write_whole
from mien.inference.sources import Source
from mien.inference.tables import RECT, SEPARATOR
from mien.inference.timeline import Timeline
from mien.progress import progress_bar
from mien.reports.curves import Row, palette
from mien.reports.plots import COLOURS
from mien.video.decode import VideoError
from mien.video.stream import Frame
from mien.video.writer import FILM, VideoWriter

LONGEST = 960
"""Longest side of the picture in pixels."""
SHORTEST = 360
"""Height in pixels to which smaller pictures are enlarged, so that values can be read beside them."""
PANEL = 232
"""Width in pixels of the column with the values, right of the picture."""
LINE, HEAD, TAG = 18, 30, 19
"""Height in pixels of a value, of what stands above the values of a face, and of a face's number."""
WHITE, ALARM, GROUND, SHADE = (255, 255, 255), (255, 120, 110), (28, 31, 36), (58, 63, 71)


def overlay(timeline: Timeline, source: Source, path: Path, progress: bool = True) -> None:
    """Write the video of a timeline with its boxes and bars as MP4, whole or not at all; decodes the video again.

    Raises ``ValueError`` for a source that cannot be read twice, as a camera.
    """
    if not source.repeatable:
        raise ValueError(f"{source.name} cannot be read again to draw on it; record it to a file first")
    write_whole(path, lambda beside: encode(beside, painted_frames(timeline, source, progress)))


def painted_frames(timeline: Timeline, source: Source, progress: bool) -> Iterator[tuple[float, Pixels]]:
    """(seconds, picture) of every frame."""
    rows = rows_of_frames(timeline.frames)
    painter = Painter(timeline)
    bar = progress_bar(what="overlay", unit="frame", total=int(timeline.about["frames"]), disable=not progress)
    with bar:
        for frame, faces in zip(whole_frames(source), rows, strict=False):
            bar.update()
            yield frame.time, painter.paint(frame, faces)


def whole_frames(source: Source) -> Iterator[Frame]:
    """Frames up to where a video breaks off, which the timeline has said already."""
    try:
        yield from source.frames()
    except VideoError:
        return


def rows_of_frames(table: pd.DataFrame) -> Iterator[list[Row]]:
    """The faces of each frame in order."""
    for _, rows in table.groupby("frame", sort=True):
        yield [row for row in rows.to_dict("records") if not pd.isna(row["face_id"])]


class Painter:
    """Draws boxes on the picture, and what is known of each face in a column beside it, where it covers nobody.

    A face keeps its place in the column for as long as it is there. Where the values of all faces that are seen at once
    have no room below one another, each face shows as many as have, the largest ones.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        colours = palette(timeline.names)
        self.colours = {name: rgb(colours[name]) for name in timeline.names}
        self.bars = timeline.layout.outputs.bounds is not None
        seen = timeline.frames[timeline.frames["face_id"].notna()]
        self.most = int(seen.groupby("frame").size().max()) if len(seen) else 0
        self.known = timeline.reliability().known
        self.places: list[int | None] = []

    def paint(self, frame: Frame, faces: Sequence[Row]) -> Pixels:
        """A frame at the size of the overlay, with its faces and the column of their values."""
        height, width = frame.pixels.shape[:2]
        scale = min(LONGEST / max(height, width), max(SHORTEST / height, 1.0))
        size = (even(width * scale), even(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = np.zeros((size[1], size[0] + PANEL, 3), np.uint8)
        picture[:, : size[0]] = cv2.resize(frame.pixels, size, interpolation=how)
        picture[:, size[0] :] = GROUND
        for face in faces:
            self.box(picture[:, : size[0]], face, np.array([size[0] / width, size[1] / height]))
        self.column(picture[:, size[0] :], faces, frame.time)
        return picture

    def box(self, picture: Pixels, row: Row, scale: NDArray[np.float64]) -> None:
        """Box and id of one face; a box that was bridged is thin."""
        x, y, w, h = np.array([row[name] for name in RECT], float) * np.tile(scale, 2)
        colour = colour_of(row)
        corner, opposite = (round(x), round(y)), (round(x + w), round(y + h))
        cv2.rectangle(picture, corner, opposite, colour, 2 if row["success"] == 1 else 1, cv2.LINE_AA)
        draw_tag(picture, f"face {row['face_id']}", (max(corner[0] - 1, 0), max(corner[1], TAG)), colour)

    def column(self, picture: Pixels, faces: Sequence[Row], time: float) -> None:
        """The values of all faces, the second below them."""
        height = len(picture)
        draw_text(picture, f"{time:7.2f} s" + ("" if faces else "   no face"), (8, height - 10), WHITE)
        if not self.known:
            draw_text(picture, "model not calibrated", (8, height - 30), ALARM, 0.42)
        room = height - (50 if self.known else 70)
        lines = min(max((room // max(self.most, 1) - HEAD) // LINE, 1), len(self.timeline.names))
        step = HEAD + lines * LINE
        for place, row in self.slots_of(faces):
            top = 6 + place * step
            if top + step > room + 6:
                draw_text(picture, f"... {len(faces)} faces in all", (8, room), WHITE, 0.42)
                return
            self.panel(picture[top : top + step], row, lines)

    def slots_of(self, faces: Sequence[Row]) -> list[tuple[int, Row]]:
        """Each face with its place in the column: the one that it had, or the first that is free."""
        here = {int(row["face_id"]): row for row in faces}
        self.places = [face if face in here else None for face in self.places]
        for face in here:
            if face not in self.places:
                free = self.places.index(None) if None in self.places else len(self.places)
                self.places[free : free + 1] = [face]
        return [(place, here[face]) for place, face in enumerate(self.places) if face is not None]

    def panel(self, picture: Pixels, row: Row, lines: int) -> None:
        """One face: who, whether to rely on it, and its values, or the largest so many of them."""
        doubt = status_of(row)
        draw_tag(picture, f"face {row['face_id']}", (8, TAG), colour_of(row))
        draw_text(picture, doubt, (74, 14), ALARM if row["success"] == 1 else WHITE, 0.38)
        if row["success"] != 1:
            return
        names = self.timeline.names
        largest = sorted(names, key=lambda name: -float(row[name])) if self.bars else names
        chosen = [name for name in names if name in largest[:lines]]
        for i, name in enumerate(chosen):
            self.value(picture, name, float(row[name]), HEAD - 4 + LINE * i)

    def value(self, picture: Pixels, name: str, value: float, top: int) -> None:
        """A name, a bar for a probability, and the number."""
        draw_text(picture, name[:12], (8, top + 12), WHITE, 0.42)
        number = f"{value:.2f}" if self.bars else f"{value:+.2f}"
        draw_text(picture, number, (PANEL - 44, top + 12), WHITE, 0.42)
        if self.bars:
            left, right = 98, PANEL - 50
            cv2.rectangle(picture, (left, top + 3), (right, top + 13), SHADE, -1)
            share = min(max(value, 0.0), 1.0)
            cv2.rectangle(
                picture, (left, top + 3), (left + round((right - left) * share), top + 13), self.colours[name], -1
            )
        else:
            cv2.circle(picture, (PANEL - 56, top + 8), 4, self.colours[name], -1, cv2.LINE_AA)


def colour_of(row: Row) -> tuple[int, int, int]:
    """Colour of a face's box and panel."""
    return rgb(COLOURS[int(row["face_id"]) % len(COLOURS)])


def status_of(row: Row) -> str:
    """What stands beside a face's number: bridged, or why its values are not reliable."""
    if row["success"] != 1:
        return "bridged, no values"
    if row.get("reliable") is not False:
        return ""
    reasons = str(row["reasons"]).split(SEPARATOR)
    more = f" +{len(reasons) - 1}" if len(reasons) > 1 else ""
    return f"unreliable: {reasons[0]}{more}"


def draw_text(picture: Pixels, text: str, place: tuple[int, int], colour: tuple[int, ...], size: float = 0.5) -> None:
    """Text with a dark edge, readable on anything."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, place, font, size, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, place, font, size, colour, 1, cv2.LINE_AA)


def draw_tag(picture: Pixels, text: str, place: tuple[int, int], colour: tuple[int, ...]) -> None:
    """White text on a colour; ``place`` is the bottom left corner."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    width = cv2.getTextSize(text, font, 0.48, 1)[0][0] + 8
    cv2.rectangle(picture, (place[0], place[1] - TAG), (place[0] + width, place[1]), colour, -1)
    cv2.putText(picture, text, (place[0] + 4, place[1] - 5), font, 0.48, WHITE, 1, cv2.LINE_AA)


def rgb(colour: str) -> tuple[int, int, int]:
    """#rrggbb as numbers."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def even(length: float) -> int:
    """An even number of pixels, which H.264 needs."""
    return max(2 * round(length / 2), 2)


def encode(path: Path, pictures: Iterator[tuple[float, Pixels]]) -> None:
    """Write (seconds, picture) as a film with these very times."""
    with VideoWriter(path, FILM | {"crf": "23"}, threads=2) as video:
        for time, picture in pictures:
            video.write(picture, time)
