"""A few pictures of every face, evenly over its time: gathered while a video is read, or afterwards from the tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from mien.faces.crop import CropConfig, crop
from mien.faces.face import Face, Pixels
from mien.inference.pipeline import PredictionEvent
from mien.inference.sources import Source
from mien.inference.tables import RECT
from mien.inference.timeline import Timeline
from mien.reports.curves import Row
from mien.video.decode import VideoError
from mien.video.stream import Frame

T = TypeVar("T")

KEEP = 12
"""Pictures of a face that are shown."""
SIDE = 96
"""Side in pixels of a picture that is cut from the table."""
FAINT = 0.6
"""Confidence below which a face is doubtful."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """One face at one moment, as the model saw it."""

    time: float
    confidence: float
    """NaN where it is not known."""
    doubtful: bool
    """Not seen on this frame (bridged), or found with little confidence."""
    picture: Pixels


class Portraits:
    """Keeps every n-th picture of each face, doubling n whenever there are too many. Is a listener of a stream."""

    def __init__(self, faces: int = 12) -> None:
        self.faces = faces
        self.kept: dict[int, list[Portrait]] = {}
        self.every: dict[int, int] = {}
        self.count: dict[int, int] = {}

    def __call__(self, event: PredictionEvent) -> None:
        """Look at what has become final."""
        for _, faces in event.frames:
            for dense in faces:
                seen = dense.appearance
                number = self.count.get(seen.face.id, 0)
                self.count[seen.face.id] = number + 1
                if number % self.every.setdefault(seen.face.id, 1) == 0:
                    doubtful = not seen.valid or seen.face.confidence < FAINT
                    self.add(seen.face.id, Portrait(seen.time, seen.face.confidence, doubtful, seen.picture))

    def add(self, face: int, portrait: Portrait) -> None:
        """Keep one; of too many every second goes. With too many faces the one seen shortest goes."""
        kept = self.kept.setdefault(face, [])
        kept.append(portrait)
        if len(kept) >= 2 * KEEP:
            self.kept[face], self.every[face] = kept[::2], 2 * self.every[face]
        if len(self.kept) > 2 * self.faces:
            del self.kept[min((f for f in self.kept if f != face), key=lambda f: self.count[f])]

    def chosen(self) -> dict[int, list[Portrait]]:
        """The faces seen longest with their pictures, at most ``KEEP`` each."""
        longest = sorted(self.kept, key=lambda face: -self.count[face])[: self.faces]
        return {face: evenly_spaced(self.kept[face]) for face in sorted(longest)}


def portraits_from_table(timeline: Timeline, source: Source, faces: int = 12) -> dict[int, list[Portrait]]:
    """The same from the table of frames of a finished analysis: the video is decoded again, faces are cut where they are.

    Crops are upright squares around the boxes of the table, which keeps no landmarks.
    """
    table = timeline.frames[timeline.frames["face_id"].notna()]
    longest = table["face_id"].value_counts().index[:faces]
    wanted: dict[int, list[Row]] = {}
    for face in longest:
        for row in evenly_spaced(table[table["face_id"] == face].to_dict("records")):
            wanted.setdefault(int(row["frame"]), []).append(row)
    margin = 0.0 if timeline.about.get("faces") == "whole" else None
    config = CropConfig(size=SIDE, margin=margin, align=False)
    found: dict[int, list[Portrait]] = {int(face): [] for face in sorted(longest)}
    try:
        for frame in source.frames():
            for row in wanted.pop(frame.index, []):
                found[int(row["face_id"])].append(portrait_of(row, frame, config))
            if not wanted:
                break
    except VideoError:  # what broke off is known from the first reading; the rest is shown
        pass
    return {face: shown for face, shown in found.items() if shown}


def portrait_of(row: Row, frame: Frame, config: CropConfig) -> Portrait:
    """A face of the table of frames, cut out of its frame."""
    x, y, width, height = (float(row[name]) for name in RECT)
    confidence = float("nan") if pd.isna(row["confidence"]) else float(row["confidence"])
    seen = row["success"] == 1
    face = Face(int(row["face_id"]), (x, y, width, height), confidence, None, "detected", 0.0, None)
    return Portrait(frame.time, confidence, not seen or confidence < FAINT, crop(frame.pixels, face, config))


def evenly_spaced(items: list[T]) -> list[T]:
    """At most ``KEEP`` of them, evenly spread."""
    if len(items) <= KEEP:
        return items
    return [items[round(i * (len(items) - 1) / (KEEP - 1))] for i in range(KEEP)]
