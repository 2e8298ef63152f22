"""The tables of an analysis: what their columns are, and how frames and windows become rows.

Columns carry the field's names (py-feat's rectangle and pose, OpenFace's success and confidence). A frame without a face
has a row too, with ``success`` 0, empty values and the reason. ``docs/analyze.md`` explains every column.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mien.calibration.calibrated import SEPARATOR, Calibrated
from mien.calibration.maps import MAPS
from mien.inference.overlap import FrameEstimate
from mien.inference.window_prediction import WindowPrediction
from mien.inference.windows import FaceCrop, FrameEvent, Window
from mien.interfaces import Outputs
from mien.tasks import outputs_of

Row = list[object]

RECT = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")
POSE = ("Yaw", "Pitch", "Roll")
FRAME = ("input", "frame", "timestamp", "stimulus_time", "face_id", "success", "confidence", *RECT, "shot", "state")
WINDOW = ("input", "face_id", "t_start", "t_end", "stimulus_start", "stimulus_end", "frame_start", "frame_end",
          "n_frames", "n_valid", "confidence", "sharpness", "face_width", *POSE)  # fmt: skip
PERSON = "person"
"""Column behind face_id that exists only where faces are joined into persons."""
STIMULUS = ("stimulus_time", "stimulus_start", "stimulus_end")
"""Columns that exist only where an offset or a sync mark was given."""
TEXT = ("input", "state", "reason", "reasons")
COUNTS = ("frame", "face_id", "shot", "success", "frame_start", "frame_end", "n_frames", "n_valid", "n_windows")


@dataclass(frozen=True)
class Layout:
    """Which columns the tables of a model have."""

    names: Sequence[str]
    """Names of the model's outputs, in its order."""
    kind: str
    """Name of the model's task."""
    label: str
    """Column with the largest class: emotion for expressions, else the name of the labels it was trained on; empty where
    outputs do not exclude one another."""
    offset: float | None = None
    """Seconds added to timestamps for the stimulus' clock; None without one."""
    persons: bool = False
    """Whether there is a column ``person``, which is known when the whole video has been read."""

    def about(self) -> dict[str, object]:
        """The same as plain values, for ``Layout(**...)``."""
        values = {"names": list(self.names), "kind": self.kind, "label": self.label, "offset": self.offset}
        return {"layout": values | ({"persons": True} if self.persons else {})}

    @property
    def outputs(self) -> Outputs:
        """What the model's outputs are."""
        return outputs_of(self.kind)

    @property
    def plausible(self) -> type[Calibrated]:
        """What a calibration says beside the values of a window."""
        return MAPS[self.outputs.calibration].plausible

    @property
    def frames(self) -> tuple[str, ...]:
        """Columns of the table of frames."""
        extra = (self.label,) if self.label else tuple(f"{n}_sd" for n in self.names)
        ends = ("lag", "n_windows", "reliable", "reasons")
        return self.present((*FRAME, "reason", "sharpness", *POSE, *self.names, *extra, *ends))

    @property
    def windows(self) -> tuple[str, ...]:
        """Columns of the table of windows."""
        extra = (*filter(None, [self.label]), *self.plausible.column_names(self.names))
        return self.present((*WINDOW, *self.names, *extra, "reliable", "reasons"))

    def present(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Columns with those of a stimulus clock and of persons where there are such; two of one name are an error."""
        kept = tuple(c for c in columns if self.offset is not None or c not in STIMULUS)
        kept = with_person(kept) if self.persons else kept
        twice = sorted({c for c in kept if kept.count(c) > 1})
        if twice:
            raise ValueError(f"the model calls an output {', '.join(twice)}, which is a column of the table already")
        return kept

    def clock(self, column: str, time: float) -> dict[str, float]:
        """A time on the stimulus' clock, where there is one."""
        return {} if self.offset is None else {column: round(time + self.offset, 6)}

    def frame_rows(self, name: str, event: FrameEvent, faces: Sequence[FrameEstimate]) -> list[Row]:
        """The rows of one frame: one per face, or one that says why there is none."""
        shared = {"input": name, "frame": event.frame, "timestamp": round(event.time, 6), "shot": event.shot}
        shared |= self.clock("stimulus_time", event.time)
        if not faces:
            return [row_of(shared | {"success": 0, "reason": event.reason or "no face"}, self.frames)]
        return [row_of(shared | self.face_part(estimate), self.frames) for estimate in faces]

    def face_part(self, estimate: FrameEstimate) -> dict[str, object]:
        """The cells of one face; one that was not seen on this frame has a place but no values."""
        crop = estimate.appearance
        part: dict[str, object] = {"face_id": crop.face.id, "success": int(crop.valid), "state": crop.face.state}
        part |= quality_cells(crop)
        part |= dict(zip(RECT, (round(float(v), 2) for v in crop.face.box), strict=True))
        if not crop.valid:
            return part | {"reason": "bridged over a gap"}
        part |= {n: round(float(v), 6) for n, v in zip(self.names, estimate.mean, strict=True)}
        if self.label:
            part[self.label] = self.names[int(estimate.mean.argmax())]
        else:
            part |= {f"{n}_sd": round(float(v), 6) for n, v in zip(self.names, estimate.deviation, strict=True)}
        return (
            part | {"lag": round(estimate.lag, 4), "n_windows": estimate.windows} | reliability_cells(estimate.reasons)
        )

    def window_row(self, name: str, window: Window, answer: WindowPrediction) -> Row:
        """The row of one window; its values are written so that reading them gives the same float32."""
        first, last = window.crops[0], window.crops[-1]
        row = {"input": name, "face_id": window.face_id, "frame_start": first.frame, "frame_end": last.frame}
        row |= {"t_start": round(first.time, 6), "t_end": round(last.time, 6)}
        row |= self.clock("stimulus_start", first.time) | self.clock("stimulus_end", last.time)
        row |= {"n_frames": len(window.crops), "n_valid": sum(s.valid for s in window.crops)} | medians(window)
        row |= dict(zip(self.names, answer.values, strict=True)) | reliability_cells(answer.reasons)
        if self.label:
            row[self.label] = self.names[int(answer.values.argmax())]
        row |= answer.plausible or {}
        return row_of(row, self.windows)

    def type_of(self, column: str) -> str:
        """pandas' type of a column of either table; all of them can be missing."""
        if column == "reliable":
            return "boolean"
        if column in COUNTS or (self.persons and column == PERSON):
            return "Int64"
        words = (*TEXT, self.label, *(self.plausible.column_names(self.names) if self.plausible.text else ()))
        return "string" if column in words else "float64"

    def prediction(self, row: Mapping[str, str]) -> WindowPrediction:
        """The prediction that a row of the table of windows was made from."""
        values = np.array([np.float32(row[name]) for name in self.names])
        if not row["reliable"]:  # no calibration
            return WindowPrediction(values)
        cells = {column: row[column] for column in self.plausible.column_names(self.names)}
        beside = cells if self.plausible.text else {column: np.float32(cell) for column, cell in cells.items()}
        return WindowPrediction(values, None, beside, tuple(filter(None, row["reasons"].split(SEPARATOR))))


def with_person(columns: Sequence[str]) -> tuple[str, ...]:
    """Columns with ``person`` behind ``face_id``."""
    place = list(columns).index("face_id") + 1
    return (*columns[:place], PERSON, *columns[place:])


def row_of(row: Mapping[str, object], columns: Sequence[str]) -> Row:
    """The cells of a row under ``columns``; what is not known is None."""
    cells = (row.get(column) for column in columns)
    return [None if isinstance(cell, float | np.floating) and math.isnan(cell) else cell for cell in cells]


def reliability_cells(reasons: Iterable[str] | None) -> dict[str, object]:
    """The columns reliable and reasons; both empty without a calibration."""
    if reasons is None:
        return {}
    listed = sorted(reasons)
    return {"reliable": not listed, "reasons": SEPARATOR.join(listed)}


def quality_cells(crop: FaceCrop) -> dict[str, float]:
    """Confidence, sharpness and pose (radians) of one face on one frame."""
    pose = [math.radians(angle) for angle in crop.face.pose] if crop.face.pose is not None else [math.nan] * 3
    values = [crop.face.confidence, crop.face.sharpness, *pose]
    return dict(zip(("confidence", "sharpness", *POSE), (round(float(v), 4) for v in values), strict=True))


def medians(window: Window) -> dict[str, float]:
    """Quality of a window: sharpness of what the model looks at, and medians over the frames on which the face was seen."""
    names = ("confidence", "sharpness", *POSE, "face_width")
    table = [[*quality_cells(s).values(), float(s.face.box[2])] for s in window.crops if s.valid] or [
        [math.nan] * len(names)
    ]
    middle = dict(zip(names, np.median(np.array(table), axis=0), strict=True)) | {"sharpness": window.sharpness}
    return {name: round(float(value), 4) for name, value in middle.items()}
