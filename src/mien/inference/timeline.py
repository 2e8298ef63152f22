"""The predictions of a model for a video, as tables: ``timeline.frames``, ``timeline.windows``, ``timeline.summary()``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mien.files import remove_files, write_whole
from mien.inference.elan import eaf
from mien.inference.journal import read_table
from mien.inference.reliability_share import ReliabilityShare, share_of
from mien.inference.tables import PERSON, RECT, Layout
from mien.names import write_csv

ABOUT = "analysis.json"
"""File that is written last: where it is, the tables are whole."""


@dataclass(frozen=True, eq=False, repr=False)
class Timeline:
    """Who showed what, when, on one video."""

    frames: Any
    """``pandas.DataFrame``: a row per frame and face, and one for every frame without a face; see docs/analyze.md for the columns."""
    windows: Any
    """``pandas.DataFrame``: a row per window that the model read: what the frames' values are averaged from."""
    layout: Layout
    about: Mapping[str, Any]
    """Where it comes from: versions, weights, settings, counts."""

    def __repr__(self) -> str:
        return f"Timeline({self.sentence()})"

    @property
    def empty(self) -> bool:
        """Whether no face was seen on any frame; the frames have rows all the same."""
        return not bool((self.frames["success"] == 1).any())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the model's outputs."""
        return tuple(self.layout.names)

    def reliability(self) -> ReliabilityShare:
        """How many rows with a face are not reliable, and why; judged by the model's calibration."""
        return share_of(self.frames)

    def summary(self) -> pd.DataFrame:
        """A row per face: how long it was seen, and the mean and deviation of each output over its frames; with its person
        where faces were joined.

        ``unreliable`` is the share of its frames that are not reliable, empty without a calibration. For traits of a
        person, which do not change from second to second, the mean is the answer.
        """
        seen = self.frames[self.frames["success"] == 1]
        if seen.empty:
            beside = [PERSON] if self.layout.persons else []
            columns = ["face_id", *beside, "frames", "first", "last", "confidence", "unreliable", *self.names]
            return pd.DataFrame(columns=columns)
        rows = []
        for face_id, rows_of in seen.groupby("face_id"):
            row = {"face_id": face_id} | ({PERSON: rows_of[PERSON].iloc[0]} if self.layout.persons else {})
            row |= {"frames": len(rows_of), "first": rows_of["timestamp"].min()}
            row |= {"last": rows_of["timestamp"].max(), "confidence": rows_of["confidence"].mean()}
            row["unreliable"] = share_of(rows_of).share
            row |= {name: rows_of[name].mean() for name in self.names}
            row |= {f"{name}_sd": rows_of[name].std(ddof=0) for name in self.names}
            if self.layout.label:
                row[self.layout.label] = max(self.names, key=lambda name: row[name])
            rows.append(row)
        return pd.DataFrame(rows)

    def face(self, number: int | None = None) -> dict[str, Any]:
        """The row of ``summary`` of a face, by default of the one seen longest (of equals the first).

        Raises ``ValueError`` where no face was seen, or none of that number.
        """
        summary, name = self.summary(), self.about.get("input", "video")
        if summary.empty:
            raise ValueError(f"{name}: no face is seen; for a clip that is cropped to one face: --faces whole")
        if number is None:
            number = int(summary.loc[summary["frames"].idxmax(), "face_id"])
        if number not in set(summary["face_id"]):
            raise ValueError(f"{name}: no face {number}; there are {', '.join(map(str, summary['face_id']))}")
        return next(row for row in summary.to_dict("records") if row["face_id"] == number)

    def sentence(self) -> str:
        """One line for a person."""
        name, count = self.about.get("input", "video"), self.frames["frame"].nunique()
        if self.empty:
            return f"{name}: no face on any of {count} frames, so there is nothing to read"
        seen = self.frames[self.frames["success"] == 1]
        faces, with_face = seen["face_id"].nunique(), seen["frame"].nunique()
        who = "1 face" if faces == 1 else f"{faces} faces"
        if self.layout.persons:
            people = seen[PERSON].nunique()
            who += " of 1 person" if people == 1 else f" of {people} persons"
        return f"{name}: {who} on {with_face} of {count} frames, {len(self.windows)} windows"

    def to_openface(self) -> pd.DataFrame:
        """The frames under OpenFace's names: frame (from 1), face_id, timestamp, confidence, success, pose in radians.

        OpenFace has no columns for expressions; the model's outputs follow under their own names.
        """
        table = self.frames
        view = pd.DataFrame({"frame": table["frame"] + 1, "face_id": table["face_id"].fillna(0)})
        for column in ("timestamp", "confidence", "success"):
            view[column] = table[column].fillna(0)
        for ours, theirs in zip(("Pitch", "Yaw", "Roll"), ("pose_Rx", "pose_Ry", "pose_Rz"), strict=True):
            view[theirs] = table[ours]
        return pd.concat([view, table[list(self.names)]], axis=1)

    def to_pyfeat(self) -> pd.DataFrame:
        """The frames under py-feat's names: FaceScore, ``approx_time`` as "mm:ss" text, Identity (the person, or the face
        where faces were not joined), pose in radians."""
        table = self.frames
        whole = np.floor(table["timestamp"].to_numpy(float)).astype(int)
        view = pd.DataFrame({"input": table["input"], "frame": table["frame"]})
        view["approx_time"] = [f"{s // 60:02d}:{s % 60:02d}" for s in whole]
        view[list(RECT)] = table[list(RECT)]
        view["FaceScore"] = table["confidence"]
        view[["Pitch", "Roll", "Yaw"]] = table[["Pitch", "Roll", "Yaw"]]
        view["Identity"] = [
            None if pd.isna(i) else f"Person_{i}" for i in table[PERSON if self.layout.persons else "face_id"]
        ]
        return pd.concat([view, table[list(self.names)]], axis=1)

    def to_elan(self, path: str | Path, media: str | Path | None = None) -> None:
        """Write an annotation file of ELAN (.eaf); ``media`` is the video, which ELAN then opens with it."""
        file = Path(path)
        content = eaf(self, file, None if media is None else Path(media))
        write_whole(file, lambda beside: beside.write_bytes(content))

    def save(self, folder: Path) -> None:
        """Write frames.csv, windows.csv and analysis.json."""
        remove_files(folder, [ABOUT])
        write_whole(folder / "frames.csv", lambda path: write_csv(self.frames, path))
        write_whole(folder / "windows.csv", lambda path: write_csv(self.windows, path))
        write_about(folder, self.about)

    @classmethod
    def load(cls, folder: str | Path) -> Timeline:
        """What `mien analyze` left in a folder. Raises ``ValueError`` where it is not there or not whole."""
        folder = Path(folder)
        if not (folder / ABOUT).is_file():
            raise ValueError(f"{folder}: no finished analysis here ({ABOUT} is missing); run mien analyze first")
        about = json.loads((folder / ABOUT).read_text())
        layout = Layout(**about["layout"])
        paths = [(folder / f"{name}.parquet", folder / f"{name}.csv") for name in ("frames", "windows")]
        tables = [read_table(parquet if parquet.is_file() else text, layout) for parquet, text in paths]
        return cls(tables[0], tables[1], layout, about)


def write_about(folder: Path, about: Mapping[str, object]) -> None:
    """The last file of an analysis."""
    write_whole(folder / ABOUT, lambda path: path.write_text(json.dumps(about, indent=2) + "\n"))
