"""The table of frames: one row per face and frame, and one for every frame without a face, with the reason.

Columns carry the field's names (py-feat's rectangle and pose, OpenFace's success and confidence); ``docs/faces.md`` has
units. Rows go to disk in groups, so that a video of any length takes the same memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from mien.faces.face import Face, FrameFaces

GROUP = 2048
"""Rows held in memory before they are written."""

POINTS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")

TYPES = (
    {"input": "string", "frame": "int64", "timestamp": "float64", "shot": "int32", "face_id": "int32"}
    | {"success": "int8", "confidence": "float32", "reason": "string", "state": "string"}
    | dict.fromkeys(("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"), "float32")
    | dict.fromkeys(("sharpness", "Pitch", "Roll", "Yaw"), "float32")
    | dict.fromkeys([f"{point}_{axis}" for point in POINTS for axis in "xy"], "float32")
    | {"track": "int32", "track_frame": "int32"}
)
"""Column -> Arrow type."""


def schema() -> pa.Schema:
    """Of the table of frames."""
    return pa.schema([(name, getattr(pa, kind)()) for name, kind in TYPES.items()])


class FrameTableWriter:
    """Writes the table of frames of one video. ``close`` finishes the file; without it there is no readable file."""

    def __init__(self, path: Path) -> None:
        self.schema = schema()
        self.file = parquet.ParquetWriter(path, self.schema, compression="zstd")
        self.rows: list[Mapping[str, object]] = []

    def write(self, row: Mapping[str, object]) -> None:
        """Append a row; columns left out are empty."""
        self.rows.append(row)
        if len(self.rows) >= GROUP:
            self.flush()

    def flush(self) -> None:
        """Hand the held rows to the file."""
        if self.rows:
            self.file.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
            self.rows = []

    def close(self) -> None:
        """Write what is held and the file's index."""
        self.flush()
        self.file.close()


def empty_row(name: str, frame_faces: FrameFaces) -> dict[str, object]:
    """The row of a frame without a face."""
    return frame_columns(name, frame_faces) | {"success": 0, "reason": frame_faces.reason or "no face"}


def face_row(name: str, frame_faces: FrameFaces, face: Face, track: int, place: int) -> dict[str, object]:
    """The row of one face: frame ``place`` of the video's followed face ``track``. A bridged face was not seen."""
    row = frame_columns(name, frame_faces) | {
        "face_id": face.id,
        "state": face.state,
        "track": track,
        "track_frame": place,
    }
    row |= {"success": int(face.state != "bridged"), "confidence": face.confidence, "sharpness": face.sharpness}
    row |= {"reason": "bridged over a gap" if face.state == "bridged" else None}
    row |= dict(zip(("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"), map(float, face.box), strict=True))
    if face.pose is not None:
        row |= {name: math.radians(angle) for name, angle in zip(("Yaw", "Pitch", "Roll"), face.pose, strict=True)}
    if face.landmarks is not None:
        places = zip(POINTS, face.landmarks.tolist(), strict=True)
        row |= {f"{point}_{axis}": value for point, xy in places for axis, value in zip("xy", xy, strict=True)}
    return row


def frame_columns(name: str, frame_faces: FrameFaces) -> dict[str, object]:
    """What every row of a frame says."""
    return {
        "input": name,
        "frame": frame_faces.frame.index,
        "timestamp": frame_faces.frame.time,
        "shot": frame_faces.shot,
    }
