"""Persons beside the tables of an analysis: what its faces look like, and numbers that hold over many videos."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mien.faces.identity import FaceVectors
from mien.files import remove_files, write_whole
from mien.inference.journal import csv_with_persons, parquet_with_persons
from mien.inference.tables import PERSON
from mien.inference.timeline import Timeline

VECTORS = "face_vectors.json"
"""File beside the tables that keeps the vectors of the faces, so that a study joins them over videos."""
DRAWN = ("report.html", "timeline.png")
"""Pictures that name persons."""


def write_vectors(folder: Path, found: FaceVectors) -> None:
    """Keep what the faces of a video look like."""
    write_whole(folder / VECTORS, lambda path: path.write_text(json.dumps(found.to_json()) + "\n"))


def read_vectors(folder: Path) -> FaceVectors:
    """What an analysis with ``--identity sface`` kept. Raises ``ValueError`` where it is gone."""
    file = folder / VECTORS
    if not file.is_file():
        raise ValueError(f"{file} is gone, without which faces cannot be joined: read the video again with --overwrite")
    return FaceVectors.from_json(json.loads(file.read_text()))


def renumber(folder: Path, timeline: Timeline, persons: Mapping[int, int]) -> bool:
    """Give the finished tables of a folder other numbers of persons; whether any was another.

    Pictures that show the old ones go first, so that a kill on the way leaves none beside new tables.
    """
    before = [table[["face_id", PERSON]].dropna().drop_duplicates() for table in (timeline.frames, timeline.windows)]
    if all(persons[face] == who for pairs in before for face, who in pairs.itertuples(index=False)):
        return False
    remove_files(folder, DRAWN)
    for name in ("windows", "frames"):
        text, binary = folder / f"{name}.csv", folder / f"{name}.parquet"
        table, copy = (binary, parquet_with_persons) if binary.is_file() else (text, csv_with_persons)
        write_whole(table, lambda beside, table=table, copy=copy: copy(table, beside, persons))
    return True
