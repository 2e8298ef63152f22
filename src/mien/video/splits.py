"""Splits of a manifest by whole subjects: who is held out for validation, and the folds that are tested one by one."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from mien.interfaces import Clip
from mien.video.decode import natural_key
from mien.video.manifest import cell

Rows = NDArray[np.int64]
"""Numbers of clips in their list."""


def held_out(clips: Sequence[Clip], group: str, labels: Sequence[int] | None, parts: int, seed: int) -> list[bool]:
    """Whether each clip is held out of training for validation: about one part in ``parts``, by whole groups (subjects).

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


def find_folds(clips: Sequence[Clip], column: str) -> dict[str, Rows]:
    """Rows by fold; ``ValueError`` for a missing column, a clip without a fold, and fewer than two folds."""
    cells = [cell(clip, column) for clip in clips]
    empty = cells.count("")
    if empty:
        raise ValueError(
            f"{empty} of {len(clips)} clips have no {column!r}, which says when a clip is tested; name another column "
            f"with --folds.column, or leave such clips out with --data.select '{column}!='"
        )
    invalid = next((text for text in cells if not re.fullmatch(r"[\w.-]+", text)), None)
    if invalid is not None:
        raise ValueError(f"fold {invalid!r} in column {column!r}: a fold is named by letters, digits, '.', '_' and '-'")
    names = sorted(set(cells), key=lambda name: natural_key(Path(name)))
    if len(names) < 2:
        raise ValueError(f"column {column!r} holds only the fold {names[0]}; cross-validation has at least two")
    return {name: np.flatnonzero(np.array(cells) == name) for name in names}


def refuse_shared_groups(clips: Sequence[Clip], folds: Mapping[str, Rows], group: str) -> None:
    """Raise ``ValueError`` for somebody in two folds: a model would be tested on people that it was trained on."""
    where: dict[str, str] = {}
    for fold, rows in folds.items():
        for who in {cell(clips[row], group) for row in rows} - {""}:
            if where.setdefault(who, fold) != fold:
                raise ValueError(
                    f"{group} {who} is in the folds {where[who]} and {fold}: a model would be tested on people it was trained on. "
                    "Correct the folds, or name another column with --folds.group"
                )
