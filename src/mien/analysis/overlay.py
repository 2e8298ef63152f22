"""The video with what was read drawn on it: boxes, ids, bars; times as in the original, also of variable rates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pandas as pd

from mien.analysis.curves import palette
from mien.analysis.plots import COLOURS
from mien.analysis.sources import Source
from mien.analysis.tables import RECT
from mien.analysis.timeline import Timeline
from mien.checkpoint import write_whole
from mien.faces.face import Pixels
from mien.progress import progress_bar
from mien.video.decode import VideoError
from mien.video.stream import Frame

LONGEST = 960
"""Longest side of the picture in pixels."""
PANEL = 150
"""Width of the values beside a face in pixels."""
CLOCK = Fraction(1, 90_000)
"""Time base of the file."""


def overlay(timeline: Timeline, source: Source, path: Path, progress: bool = True) -> None:
    """Write the video of a timeline with its boxes and bars as MP4, whole or not at all; decodes the video again.

    Raises ``ValueError`` for a source that cannot be read twice, as a camera.
    """
    if not source.again:
        raise ValueError(f"{source.name} cannot be read again to draw on it; record it to a file first")
    write_whole(path, lambda beside: encode(beside, drawn(timeline, source, progress)))


def drawn(timeline: Timeline, source: Source, progress: bool) -> Iterator[tuple[float, Pixels]]:
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


def rows_of_frames(table: pd.DataFrame) -> Iterator[list[dict[str, Any]]]:
    """The faces of each frame in order."""
    for _, rows in table.groupby("frame", sort=True):
        yield [row for row in rows.to_dict("records") if not pd.isna(row["face_id"])]


class Painter:
    """Draws what is known of each face beside it."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        colours = palette(timeline.names)
        self.colours = {name: rgb(colours[name]) for name in timeline.names}
        self.bars = timeline.layout.kind == "classification"

    def paint(self, frame: Frame, faces: Sequence[dict[str, Any]]) -> Pixels:
        """A frame at the size of the overlay, with its faces."""
        height, width = frame.pixels.shape[:2]
        scale = min(LONGEST / max(height, width), 1.0)
        size = (even(width * scale), even(height * scale))
        picture = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
        for face in faces:
            self.face(picture, face, np.array([size[0] / width, size[1] / height]))
        note = f"{frame.time:7.2f} s" + ("" if faces else "   no face")
        write(picture, note, (8, size[1] - 10), (255, 255, 255))
        return np.asarray(picture, np.uint8)

    def face(self, picture: Any, row: dict[str, Any], scale: Any) -> None:
        """Box, id and values of one face; a box that was bridged is thin, an unreliable answer says so."""
        x, y, w, h = np.array([row[name] for name in RECT], float) * np.tile(scale, 2)
        colour = rgb(COLOURS[int(row["face_id"]) % len(COLOURS)])
        corner, opposite = (round(x), round(y)), (round(x + w), round(y + h))
        cv2.rectangle(picture, corner, opposite, colour, 2 if row["success"] == 1 else 1)
        title = f"face {row['face_id']}" + ("" if row["success"] == 1 else "  bridged")
        write(picture, title, (max(corner[0], 2) + 2, max(corner[1], 18) - 5), colour)
        if row["success"] == 1:
            self.values(picture, row, self.beside(picture, x, y, w))
        if row.get("reliable") is False:
            write(picture, f"unreliable: {row['reasons']}", (corner[0] + 4, opposite[1] - 6), (255, 90, 90))

    def beside(self, picture: Any, x: float, y: float, w: float) -> tuple[int, int]:
        """Top left of the values: right of the face, left of it, or where neither has room in the corner of the picture."""
        height, width = picture.shape[:2]
        room, tall = PANEL + 6, 17 * len(self.timeline.names) + 8
        if x + w + 6 + room > width and x < room + 6:
            return 4, 4
        left = x + w + 6 if x + w + 6 + room <= width else x - room
        return int(left), int(np.clip(y + 4, 4, max(height - tall, 4)))

    def values(self, picture: Any, row: dict[str, Any], place: tuple[int, int]) -> None:
        """A bar per class, or a line of text per value."""
        for i, name in enumerate(self.timeline.names):
            left, top = place[0], place[1] + 17 * i
            value = float(row[name])
            if self.bars:
                shade = picture[max(top, 0) : top + 16, max(left, 0) : left + PANEL]
                shade[:] = (0.4 * shade).astype(np.uint8)
                bar, end = left + PANEL - 64, left + PANEL - 4
                cv2.rectangle(
                    picture, (bar, top + 3), (bar + round((end - bar) * value), top + 13), self.colours[name], -1
                )
                plain = cv2.FONT_HERSHEY_SIMPLEX
                cv2.putText(picture, name[:11], (left + 4, top + 12), plain, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
            else:
                write(picture, f"{name[:14]} {value:+.2f}", (left, top + 12), self.colours[name], 0.5)


def write(picture: Any, text: str, place: tuple[int, int], colour: tuple[int, ...], size: float = 0.5) -> None:
    """Text with a dark edge, readable on anything."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, place, font, size, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, place, font, size, colour, 1, cv2.LINE_AA)


def rgb(colour: str) -> tuple[int, int, int]:
    """#rrggbb as numbers."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def even(length: float) -> int:
    """An even number of pixels, which H.264 needs."""
    return max(2 * round(length / 2), 2)


def encode(path: Path, pictures: Iterator[tuple[float, Pixels]]) -> None:
    """Write (seconds, picture) as H.264 in MP4 with these very times."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=30)
        stream.pix_fmt, stream.time_base = "yuv420p", CLOCK
        stream.codec_context.time_base = CLOCK
        stream.options = {"crf": "23", "preset": "veryfast", "threads": "2"}
        first = None
        for time, picture in pictures:
            if first is None:
                first, (stream.height, stream.width) = time, picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round((time - first) / CLOCK), CLOCK
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
