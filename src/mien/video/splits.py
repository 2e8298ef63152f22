"""Who is in training, validation and test: subjects are in one of them only, and what overlaps is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from mien.interfaces import Clip
from mien.video.manifest import cell


def carve(clips: Sequence[Clip], group: str, labels: Sequence[int] | None, parts: int, seed: int) -> list[bool]:
    """Which clips to take out of training for validation: about one part in ``parts``, by whole groups (subjects).

    With class ``labels`` each class keeps about its share in both. Raises ``ValueError`` where the column is missing or
    holds too few groups.
    """
    groups = [cell(clip, group) for clip in clips]
    if not all(groups):
        raise ValueError(
            f"validation clips are taken by whole {group}s, but not every row has a {group}. Add that column, name "
            "another with --group, or say with --validation which rows to validate on"
        )
    if len(set(groups)) < parts:
        raise ValueError(f"{len(set(groups))} different {group}s are too few to take one in {parts} for validation")
    rows = np.arange(len(clips))
    if labels is None:
        splitter, targets = GroupKFold(parts, shuffle=True, random_state=seed), rows
    else:
        splitter, targets = StratifiedGroupKFold(parts, shuffle=True, random_state=seed), np.asarray(labels)
    _, taken = next(iter(splitter.split(rows, targets, groups)))
    chosen = set(taken.tolist())
    return [i in chosen for i in range(len(clips))]


def refuse_overlap(one: Sequence[Clip], other: Sequence[Clip], names: tuple[str, str], group: str) -> None:
    """Clips or groups (subjects) in two parts that must not share any are an error that names some."""
    paths = {(clip.path, clip.start, clip.end) for clip in one}
    shared = [clip.path.name for clip in other if (clip.path, clip.start, clip.end) in paths]
    if shared:
        raise ValueError(f"{names[0]} and {names[1]} share {len(shared)} clips: {some(shared)}; correct the selections")
    groups = {cell(clip, group) for clip in one} - {""}
    both = sorted(groups & {cell(clip, group) for clip in other})
    if both:
        raise ValueError(
            f"{names[0]} and {names[1]} share {len(both)} of the {group}s: {some(both)}. A model then knows the people "
            f"it is marked on. Split by {group}, or name another column with --group"
        )


def some(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
