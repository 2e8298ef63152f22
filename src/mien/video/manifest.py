"""Manifests: which clips there are and what is known about them.

A manifest is a CSV or Parquet file with a column ``path`` (relative to the manifest's folder, or absolute) and any of
``start``, ``end`` (seconds), label columns by name, ``subject``, ``split``, ``fold``. A folder of videos, or one video,
stands for a manifest without labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mien.interfaces import Clip
from mien.names import write_csv, write_parquet
from mien.progress import progress_bar
from mien.video.decode import IMAGES, VIDEOS, VideoError, ends_in, natural_key
from mien.video.manifest_table import PARQUET, Cell, Cells, Column, read_columns
from mien.video.rates import rate_of
from mien.video.stream import checked_frame_times


def read_manifest(path: Path) -> list[Clip]:
    """Clips of a CSV or Parquet manifest, of a folder of videos (searched below), or of one video.

    CSV cells stay text (subject ``007`` stays ``007``), empty cells become None. Raises ``ValueError`` naming file and
    line for a missing path, times that are none, and rows that stand twice.
    """
    if path.is_dir():
        return folder_clips(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such manifest, folder or video")
    if ends_in(path.name, VIDEOS):
        return [Clip(path, row=1)]
    columns = read_columns(path)
    if "path" not in columns:
        raise ValueError(f"{path}: no column 'path'; the columns are {', '.join(columns) or 'none'}")
    if not len(columns["path"]):
        raise ValueError(f"{path}: no rows below the header")
    return clips_of(path, columns)


def clips_of(manifest: Path, columns: Mapping[str, Column]) -> list[Clip]:
    """The rows of a manifest as clips."""
    names, folder = columns["path"], manifest.parent
    if None in names:
        raise ValueError(f"{manifest} line {list(names).index(None) + 2}: the path is missing")
    starts, ends = (time_column(manifest, name, columns.get(name), len(names)) for name in ("start", "end"))
    others = {name: column for name, column in columns.items() if name not in ("path", "start", "end")}
    clips = [
        Clip(folder / name, start, end, Cells(others, place), place + 2)
        for place, (name, start, end) in enumerate(zip(names, starts, ends, strict=True))
    ]
    for clip in clips:
        if clip.start is not None and clip.end is not None and clip.end <= clip.start:
            raise ValueError(f"{manifest} line {clip.row}: end {clip.end} is not after start {clip.start}")
    refuse_duplicates(manifest, names, clips)
    return clips


def time_column(manifest: Path, name: str, column: Column | None, count: int) -> list[float | None]:
    """A column of times in seconds; None for an empty cell and for NaN."""
    if column is None:
        return [None] * count
    found: dict[Cell, float | None] = {None: None}
    for line, cell in enumerate(column, start=2):
        if cell in found:
            continue
        try:
            number = float(cell)
        except ValueError:
            number = np.inf
        empty = number != number and not isinstance(cell, str)
        if not empty and not 0 <= number < np.inf:
            raise ValueError(f"{manifest} line {line}: {name} {cell!r} is not a time in seconds")
        found[cell] = None if empty else number
    return [found[cell] for cell in column]


def refuse_duplicates(manifest: Path, names: Column, clips: Sequence[Clip]) -> None:
    """Raise ``ValueError`` for a row that stands twice. ``names`` are the paths as they are written."""
    prefix = str(manifest.parent / "x")[:-1]
    unusual = [
        name.startswith(("/", "./")) or "//" in name or "/./" in name or name.endswith(("/", "/.")) for name in names
    ]
    written = [str(clip.path) if u else prefix + name for clip, name, u in zip(clips, names, unusual, strict=True)]
    keys = [(name, clip.start, clip.end) for name, clip in zip(written, clips, strict=True)]
    if len(set(keys)) == len(keys):
        return
    seen: dict[tuple[str, float | None, float | None], int] = {}
    for key, clip in zip(keys, clips, strict=True):
        if seen.setdefault(key, clip.row) != clip.row:
            raise ValueError(
                f"{manifest} line {clip.row}: the same clip as on line {seen[key]} ({clip.path.name}); remove one of them"
            )


def folder_clips(folder: Path) -> list[Clip]:
    """Every video below a folder, in natural order; a folder that holds images directly is one clip."""
    if any(ends_in(f.name, IMAGES) for f in folder.iterdir()):
        return [Clip(folder, row=1)]
    files = sorted((f for f in folder.rglob("*") if ends_in(f.name, VIDEOS)), key=natural_key)
    if not files:
        raise ValueError(f"{folder}: no videos ({', '.join(VIDEOS)}) and no frames in this folder")
    return [Clip(f, row=i) for i, f in enumerate(files, start=1)]


def write_manifest(path: Path, rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None) -> None:
    """Write rows (each with ``path`` and any other columns) as CSV or Parquet; ``columns`` sets which, in which order."""
    table = pd.DataFrame(list(rows), columns=None if columns is None else list(columns))
    if path.suffix.lower() in PARQUET:
        write_parquet(table, path)
    else:
        write_csv(table, path)


def select(clips: Sequence[Clip], conditions: str) -> list[Clip]:
    """The clips that meet all conditions ``column=value,value`` or ``column!=value``, joined by ``;``.

    An empty value means an empty cell. Raises ``ValueError`` for a column nobody has and where nothing is left.
    """
    kept = list(clips)
    for condition in filter(None, (part.strip() for part in conditions.split(";"))):
        match = re.fullmatch(r"([^=!]+?)\s*(!?=)\s*(.*)", condition)
        if not match:
            raise ValueError(f"condition {condition!r}: write column=value or column!=value")
        column, relation, values = match.groups()
        if not any(column in clip.columns for clip in clips):
            raise ValueError(f"condition {condition!r}: no column {column!r}; there are {', '.join(clips[0].columns)}")
        chosen = {value.strip() for value in values.split(",")}
        found = sorted({cell(clip, column) for clip in kept})
        kept = [clip for clip in kept if (cell(clip, column) in chosen) == (relation == "=")]
        if not kept:
            raise ValueError(f"condition {condition!r} leaves no clip; {column} has the values {', '.join(found)}")
    return kept


def cell(clip: Clip, column: str) -> str:
    """A cell as text, empty for None."""
    value = clip.columns.get(column)
    return "" if value is None else str(value)


@dataclass(frozen=True)
class Problem:
    """A clip that cannot be used, and why."""

    row: int
    path: Path
    message: str

    def __str__(self) -> str:
        return f"line {self.row}: {self.message}"


def check(clips: Sequence[Clip], workers: int = 4, decode: bool = False) -> list[Problem]:
    """Find the clips that cannot be read: packets of every file, or all its frames with ``decode``."""
    return [found for found in checked_clips(clips, workers, decode) if isinstance(found, Problem)]


def checked_clips(clips: Sequence[Clip], workers: int = 4, decode: bool = False) -> list[Clip | Problem]:
    """Each clip with its frame rate, or what is wrong with it."""
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        results = pool.map(lambda clip: check_one(clip, decode), clips)
        return list(progress_bar(results, "checking clips", total=len(clips)))


def check_one(clip: Clip, decode: bool) -> Clip | Problem:
    """A clip with its frame rate, or what is wrong with it."""
    try:
        times = checked_frame_times(clip.path, decode)
        return replace(clip, rate=rate_of(times[clip_frames(clip, times)]))
    except VideoError as error:
        return Problem(clip.row, clip.path, str(error))


def clip_frames(clip: Clip, timestamps: np.ndarray) -> np.ndarray:
    """Indices of the frames of a clip: start <= time < end. Raises ``VideoError`` where there is none."""
    inside = np.ones(len(timestamps), dtype=bool)
    if clip.start is not None:
        inside &= timestamps >= clip.start
    if clip.end is not None:
        inside &= timestamps < clip.end
    if not inside.any():
        last = timestamps[-1] if len(timestamps) else 0.0
        raise VideoError(
            f"{clip.path}: no frame from {clip.start} s to {clip.end} s; its frames end at {last:.3f} s. Correct the row"
        )
    return np.flatnonzero(inside)
