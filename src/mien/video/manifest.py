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
from typing import Any

import numpy as np
import pandas as pd

from mien.interfaces import Clip
from mien.progress import progress_bar
from mien.video.decode import IMAGES, VideoError, natural
from mien.video.rates import rate_of
from mien.video.stream import judge

VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".flv", ".mpg", ".mpeg", ".m4v", ".wmv", ".gif")


def read_manifest(path: Path) -> list[Clip]:
    """Clips of a CSV or Parquet manifest, of a folder of videos (searched below), or of one video.

    CSV cells stay text (subject ``007`` stays ``007``), empty cells become None. Raises ``ValueError`` naming file and
    line for a missing path, times that are none, and rows that stand twice.
    """
    if path.is_dir():
        return folder_clips(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such manifest, folder or video")
    if path.suffix.lower() in VIDEOS:
        return [Clip(path, row=1)]
    table = read_table(path)
    if "path" not in table:
        raise ValueError(f"{path}: no column 'path'; the columns are {', '.join(map(str, table.columns)) or 'none'}")
    rows = table.to_dict("records")
    clips = [read_row(path, line, row) for line, row in enumerate(rows, start=2)]
    if not clips:
        raise ValueError(f"{path}: no rows below the header")
    refuse_duplicates(path, clips)
    return clips


def read_table(path: Path) -> pd.DataFrame:
    """The table in a manifest file."""
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{path}: the manifest is empty; it needs a header with a column 'path'") from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable CSV: {error}") from error


def read_row(manifest: Path, line: int, row: Mapping[Any, Any]) -> Clip:
    """One row as a clip."""
    cells = {str(k): None if v == "" or (isinstance(v, float) and np.isnan(v)) else v for k, v in row.items()}
    if cells["path"] is None:
        raise ValueError(f"{manifest} line {line}: the path is missing")
    start, end = (seconds(manifest, line, name, cells.get(name)) for name in ("start", "end"))
    if start is not None and end is not None and end <= start:
        raise ValueError(f"{manifest} line {line}: end {end} is not after start {start}")
    columns = {k: v for k, v in cells.items() if k not in ("path", "start", "end")}
    return Clip(manifest.parent / str(cells["path"]), start, end, columns, line)


def seconds(manifest: Path, line: int, name: str, value: Any) -> float | None:
    """A time of a row; None for an empty cell."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not np.isfinite(number) or number < 0:
        raise ValueError(f"{manifest} line {line}: {name} {value!r} is not a time in seconds")
    return number


def refuse_duplicates(manifest: Path, clips: Sequence[Clip]) -> None:
    """A row that stands twice would count twice."""
    seen: dict[tuple[Path, float | None, float | None], int] = {}
    for clip in clips:
        key = (clip.path, clip.start, clip.end)
        if key in seen:
            raise ValueError(
                f"{manifest} line {clip.row}: the same clip as on line {seen[key]} ({clip.path.name}); remove one of them"
            )
        seen[key] = clip.row


def folder_clips(folder: Path) -> list[Clip]:
    """Every video below a folder, in natural order; a folder that holds images directly is one clip."""
    if any(f.suffix.lower() in IMAGES for f in folder.iterdir()):
        return [Clip(folder, row=1)]
    files = sorted((f for f in folder.rglob("*") if f.suffix.lower() in VIDEOS), key=natural)
    if not files:
        raise ValueError(f"{folder}: no videos ({', '.join(VIDEOS)}) and no frames in this folder")
    return [Clip(f, row=i) for i, f in enumerate(files, start=1)]


def write_manifest(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write rows (each with ``path`` and any other columns) as CSV or Parquet; ``columns`` sets which, in which order."""
    table = pd.DataFrame(list(rows), columns=None if columns is None else list(columns))
    if path.suffix.lower() in (".parquet", ".pq"):
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False)


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
    return [found for found in checked(clips, workers, decode) if isinstance(found, Problem)]


def checked(clips: Sequence[Clip], workers: int = 4, decode: bool = False) -> list[Clip | Problem]:
    """Each clip with its frame rate, or what is wrong with it."""
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        results = pool.map(lambda clip: check_one(clip, decode), clips)
        return list(progress_bar(results, "checking clips", total=len(clips)))


def check_one(clip: Clip, decode: bool) -> Clip | Problem:
    """A clip with its frame rate, or what is wrong with it."""
    try:
        times = judge(clip.path, decode)
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
