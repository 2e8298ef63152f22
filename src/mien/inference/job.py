"""The folder of one analysis: tables that grow, what they belong to, and when they are whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Literal

from mien.faces.identity import SAME_PERSON, FaceVectors, persons
from mien.files import remove_files, write_whole
from mien.inference.journal import Journal, explain_disk_errors, has_rows
from mien.inference.persons import VECTORS, write_vectors
from mien.inference.pipeline import PredictionEvent, WindowPrediction
from mien.inference.tables import Layout, Row
from mien.inference.timeline import ABOUT, write_about

UNFINISHED = ".analysis.json"
"""File with the settings of a job that is not finished, or was killed."""
PICTURES = ("report.html", "overlay.mp4", "mosaic.png", "timeline.png", "timeline.eaf")
"""What is made from the tables."""
IDENTITY = "identity"
"""How faces are joined into persons; absent where they are not."""


def without_folders(identity: Mapping[str, object]) -> dict[str, object]:
    """An identity in which the detector's file has its name, not where it lies: a moved file is the same detector."""
    detector = identity.get("detector")
    if not isinstance(detector, dict) or not detector.get("model"):
        return dict(identity)
    return {**identity, "detector": {**detector, "model": PurePath(detector["model"]).name}}


class Job:
    """One video into one folder. ``open`` first; use as a context manager, which keeps what is done on errors."""

    def __init__(self, folder: Path, layout: Layout, identity: Mapping[str, object], format: Literal["csv", "parquet"]):
        self.folder, self.layout, self.identity, self.format = folder, layout, without_folders(identity), format
        self.decoded = self.read = 0

    def open(self, overwrite: bool) -> bool:
        """Start, or go on with the same job; True if it is finished. Another job there is an error that says the difference."""
        if overwrite or not self.begun():
            with explain_disk_errors(self.folder):
                self.clear()
        for name in (ABOUT, UNFINISHED):
            file = self.folder / name
            if file.is_file():
                self.compare(json.loads(file.read_text()))
        if (self.folder / ABOUT).is_file():
            return True
        with explain_disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / UNFINISHED, lambda path: path.write_text(json.dumps(self.identity)))
        self.windows, self.frames = [
            Journal(self.folder / f"{name}.{self.format}", getattr(self.layout, name)) for name in ("windows", "frames")
        ]
        return False

    def begun(self) -> bool:
        """Whether there is a finished analysis, or a row of one: a start that failed before that protects nothing."""
        return (self.folder / ABOUT).is_file() or any(map(has_rows, self.folder.glob(".*.csv.partial")))

    def clear(self) -> None:
        """Remove what an analysis wrote here, and nothing else."""
        tables = (f"{table}.{ending}" for table in ("windows", "frames") for ending in ("csv", "parquet"))
        ours = any((self.folder / name).is_file() for name in (ABOUT, UNFINISHED))
        remove_files(self.folder, (*((*PICTURES, VECTORS) if ours else ()), ABOUT, UNFINISHED, *tables))
        for partial in self.folder.glob(".*.csv.partial"):
            partial.unlink()

    def compare(self, before: Mapping[str, object]) -> None:
        """Refuse to mix two jobs."""
        before = without_folders(before)
        keys = dict.fromkeys([*self.identity, IDENTITY])
        changed = [k for k in keys if json.loads(json.dumps(self.identity.get(k))) != before.get(k)]
        if changed:
            shown = "; ".join(f"{k} was {before.get(k)!r}, is {self.identity.get(k)!r}" for k in changed)
            raise ValueError(
                f"{self.folder} holds another analysis ({shown}). Choose another --output, or replace it with --overwrite"
            )

    def known_predictions(self, batch: int) -> Iterator[WindowPrediction]:
        """Answers of the whole batches that are there; the frames' rows that are there are not written twice."""
        self.windows.truncate(self.windows.rows - self.windows.rows % batch)
        self.skip = {"windows": self.windows.rows, "frames": self.frames.rows}
        return map(self.layout.prediction, self.windows.read())

    def append_event(self, name: str, event: PredictionEvent) -> None:
        """Append what has become final. Windows go first: every frame on disk follows from windows on disk."""
        self.decoded += len(event.frames)
        self.read += len(event.windows)
        self.append(self.windows, "windows", [self.layout.window_row(name, *scored) for scored in event.windows])
        rows = [row for frame, faces in event.frames for row in self.layout.frame_rows(name, frame, faces)]
        self.append(self.frames, "frames", rows)

    def append(self, table: Journal, name: str, rows: list[Row]) -> None:
        """Append rows, without those that are there already."""
        behind = min(self.skip[name], len(rows))
        self.skip[name] -= behind
        if len(rows) > behind:
            table.append(rows[behind:])

    def finish(self, stopped: str | None, found: FaceVectors | None = None, same_person: float = SAME_PERSON) -> None:
        """Give everything its final name; ``stopped`` says why the video ended early, ``found`` what its faces look like, which
        are joined from the cosine ``same_person``."""
        layout, who = self.layout, None
        if found is not None:
            with explain_disk_errors(self.folder / VECTORS):
                write_vectors(self.folder, found)
            layout, who = replace(layout, persons=True), persons([found], same_person)[0]
        for table in (self.windows, self.frames):
            table.finish(layout, who)
        counts = {"frames": self.decoded, "windows": self.read, "stopped": stopped}
        with explain_disk_errors(self.folder / ABOUT):
            write_about(self.folder, self.identity | counts | layout.about())
        (self.folder / UNFINISHED).unlink()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *error: object) -> None:
        for table in (self.windows, self.frames):
            table.release()
        if error[0] is not None and not self.begun():
            self.clear()  # so that a video without a frame leaves nothing behind
