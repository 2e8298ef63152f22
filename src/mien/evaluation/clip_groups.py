"""Clips evaluated together: the answer for a video is the mean over its clips (AVCAffe's protocol)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.interfaces import Clip
from mien.statistics.metrics import Array
from mien.video.manifest import cell


def mean_by_column(
    clips: Sequence[Clip], predictions: Array, targets: Array, column: str
) -> tuple[list[Clip], Array, Array]:
    """Clips (N), predictions (N, K) and targets (N,) or (N, K) -> the same per value of ``column``, in order of rows.

    A group stands as a clip whose path is the column's value and which keeps the columns its clips agree on. Clips
    without a value, and clips of a group with other targets than its first, raise ``ValueError`` naming the row.
    """
    groups: dict[str, list[int]] = {}
    for i, clip in enumerate(clips):
        if not (name := cell(clip, column)):
            raise ValueError(
                f"manifest line {clip.row} ({clip.path}): no {column}; every clip needs one to be grouped by it"
            )
        groups.setdefault(name, []).append(i)
    for name, rows in groups.items():
        other = next((i for i in rows if np.any(targets[i] != targets[rows[0]])), None)
        if other is not None:
            raise ValueError(
                f"manifest line {clips[other].row} ({clips[other].path}): another label than line "
                f"{clips[rows[0]].row}, though both are {column} {name}; a group has one label"
            )
    means = np.stack([predictions[rows].mean(axis=0) for rows in groups.values()])
    firsts = [rows[0] for rows in groups.values()]
    return [merged_clip(name, [clips[i] for i in rows]) for name, rows in groups.items()], means, targets[firsts]


def merged_clip(name: str, clips: Sequence[Clip]) -> Clip:
    """One clip for a group, with the columns in which all agree."""
    first = clips[0]
    shared = {k: v for k, v in first.columns.items() if all(c.columns.get(k) == v for c in clips)}
    return Clip(Path(name), columns=shared, row=first.row)
