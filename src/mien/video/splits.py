"""Who is taken out of training for validation: whole subjects, by a seed."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from mien.interfaces import Clip
from mien.video.manifest import cell


def carve(clips: Sequence[Clip], group: str, labels: Sequence[int] | None, parts: int, seed: int) -> list[bool]:
    """Which clips to take out of training for validation: about one part in ``parts``, by whole groups (subjects).

    With class ``labels`` each class keeps about its share in both. An empty ``group`` takes single clips. Raises
    ``ValueError`` where the column is missing or holds too few groups.
    """
    groups = [cell(clip, group) if group else str(i) for i, clip in enumerate(clips)]
    if not all(groups):
        raise ValueError(
            f"validation clips are taken by whole {group}s, but not every row has a {group}. Add that column, "
            "choose another one as group (an empty one takes single clips), name the rows to validate on, or hold out none"
        )
    if len(set(groups)) < parts:
        raise ValueError(
            f"{len(set(groups))} different {group}s are too few to take one in {parts} for validation: take a "
            "smaller holdout, name the rows to validate on, or hold out none"
        )
    if labels is not None and max(Counter(labels).values()) < parts:
        raise ValueError(
            f"no class has the {parts} clips that it takes to hold out one {group or 'clip'} in {parts} for validation: "
            "take a smaller holdout, name the rows to validate on, or hold out none"
        )
    rows = np.arange(len(clips))
    if labels is None:
        splitter, targets = GroupKFold(parts, shuffle=True, random_state=seed), rows
    else:
        splitter, targets = StratifiedGroupKFold(parts, shuffle=True, random_state=seed), np.asarray(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a class has few clips; its share is kept as well as can be
        _, taken = next(iter(splitter.split(rows, targets, groups)))
    chosen = set(taken.tolist())
    return [i in chosen for i in range(len(clips))]
