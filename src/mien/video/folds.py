"""The folds of a manifest: which clips are tested together, and that nobody is in two of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.interfaces import Clip
from mien.video.decode import natural
from mien.video.manifest import cell

Rows = NDArray[np.int64]
"""Numbers of clips in their list."""


def find_folds(clips: Sequence[Clip], column: str) -> dict[str, Rows]:
    """Rows by fold; ``ValueError`` for a missing column, a clip without a fold, and fewer than two folds."""
    cells = [cell(clip, column) for clip in clips]
    empty = cells.count("")
    if empty:
        raise ValueError(
            f"{empty} of {len(clips)} clips have no {column!r}, which says when a clip is tested; name another column "
            f"with --folds.column, or leave such clips out with --data.select '{column}!='"
        )
    odd = next((text for text in cells if not re.fullmatch(r"[\w.-]+", text)), None)
    if odd is not None:
        raise ValueError(f"fold {odd!r} in column {column!r}: a fold is named by letters, digits, '.', '_' and '-'")
    names = sorted(set(cells), key=lambda name: natural(Path(name)))
    if len(names) < 2:
        raise ValueError(f"column {column!r} holds only the fold {names[0]}; cross-validation has at least two")
    return {name: np.flatnonzero(np.array(cells) == name) for name in names}


def refuse_shared(clips: Sequence[Clip], folds: Mapping[str, Rows], group: str) -> None:
    """Nobody is in two folds: a model would know the people it is marked on."""
    where: dict[str, str] = {}
    for fold, rows in folds.items():
        for who in {cell(clips[row], group) for row in rows} - {""}:
            if where.setdefault(who, fold) != fold:
                raise ValueError(
                    f"{group} {who} is in the folds {where[who]} and {fold}: a model would know people it is marked on. "
                    "Correct the folds, or name another column with --folds.group"
                )
