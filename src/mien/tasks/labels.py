"""Labels are names. Columns of a manifest -> targets, with every bad cell named; nothing rests on an index order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mien.interfaces import Clip

CANONICAL = (
    "anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "calm", "anxiety",
    "helplessness", "disappointment",
)  # fmt: skip
"""Names of expressions used throughout; tools and corpora have at least nine other orders and many spellings."""

ALIASES = {
    "angry": "anger", "ang": "anger", "disgusted": "disgust", "dis": "disgust", "fearful": "fear", "fea": "fear",
    "happy": "happiness", "joy": "happiness", "hap": "happiness", "neu": "neutral", "sad": "sadness",
    "surprised": "surprise",
}  # fmt: skip
"""Other spellings accepted on input."""

DEFAULT_COLUMN = "expression"
"""The label column where none is named; a column that is named is never replaced by a guess."""

RESERVED = ("subject", "split", "fold", "sex", "input", "face_id", "track")
"""Columns that mien gives another meaning: never guessed to hold the classes."""

WAY_OUT = "Name the column to learn with {}, or rename it in the manifest"


def canonical(name: str) -> str:
    """The project's name for an expression label; names that are not expressions stay as they are."""
    key = name.strip().lower()
    return ALIASES.get(key, key if key in CANONICAL else name.strip())


def label_column(clips: Sequence[Clip], column: str) -> str:
    """The column that holds the class names: ``column``, or, where that is the usual one and missing, the one that is meant.

    That is the only column in which every cell is an expression, or else the only one, beside those that mien gives a
    meaning, that holds words. Raises ``ValueError`` with the columns there are where none or several could be meant.
    """
    there = list(dict.fromkeys(name for clip in clips for name in clip.columns))
    if column in there:
        return column
    if column != DEFAULT_COLUMN:
        raise ValueError(
            f"no column {column!r}; there are {', '.join(there) or 'none'}. {WAY_OUT.format('--task.column')}"
        )
    words = {name: words_in(clips, name) for name in there if name not in RESERVED}
    meant = [name for name, found in words.items() if found and all(canonical(word) in CANONICAL for word in found)]
    meant = meant or [name for name, found in words.items() if found and not any(map(is_number, found))]
    if len(meant) == 1:
        return meant[0]
    which = f"{' or '.join(meant)} could be meant" if meant else f"there are {', '.join(there) or 'none'}"
    raise ValueError(f"no column {column!r} with the classes: {which}. {WAY_OUT.format('--task.column')}")


def words_in(clips: Sequence[Clip], column: str) -> set[str]:
    """What stands in a column, without empty cells."""
    return {str(clip.columns[column]).strip() for clip in clips if clip.columns.get(column) is not None} - {"", "nan"}


def is_number(text: str) -> bool:
    """Whether a cell is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def renamed_classes(clips: Sequence[Clip], column: str) -> dict[str, str]:
    """Class names of a column that the project writes in another way, and how; a missing column has none."""
    found = sorted({str(clip.columns[column]) for clip in clips if clip.columns.get(column) is not None})
    return {name: canonical(name) for name in found if name.strip() != canonical(name)}


def class_names(clips: Sequence[Clip], column: str) -> tuple[str, ...]:
    """The classes that occur in a label column, in alphabetical order."""
    names = {canonical(label_text(clip, column)) for clip in clips}
    if len(names) < 2:
        raise ValueError(
            f"column {column!r} holds only the class {', '.join(names)}; classification needs at least two"
        )
    return tuple(sorted(names))


def class_targets(clips: Sequence[Clip], column: str, names: Sequence[str]) -> Tensor:
    """Label column -> class indices (N,) into ``names``."""
    index = {name: i for i, name in enumerate(names)}
    targets = []
    for clip in clips:
        name = canonical(label_text(clip, column))
        if name not in index:
            raise ValueError(
                f"{row_place(clip)}: unknown label {name!r} in column {column!r}; the classes are {', '.join(names)}. "
                "Correct the row, or leave it out with --data.select."
            )
        targets.append(index[name])
    return torch.tensor(targets)


def vote_shares(clips: Sequence[Clip], prefix: str, names: Sequence[str]) -> Tensor:
    """Columns ``<prefix><class>`` -> shares of the votes (N, names), each row summing to 1.

    Votes for other classes than ``names`` do not count: the shares of those that are learnt are scaled to 1. A negative
    share, and a row without any vote for the classes, are errors that name the row.
    """
    shares = value_targets(clips, [f"{prefix}{name}" for name in names], "--task.votes")
    sums = shares.sum(1, keepdim=True)
    for clip, row, total in zip(clips, shares.tolist(), sums.flatten().tolist(), strict=True):
        if min(row) < 0 or total <= 0:
            raise ValueError(
                f"{row_place(clip)}: the votes {prefix}... are {row}; shares are 0 or more, and one of the classes must have "
                "a vote. Correct the row, or leave it out with --data.select"
            )
    return shares / sums


def value_targets(clips: Sequence[Clip], columns: Sequence[str], option: str = "--task.columns") -> Tensor:
    """Numeric label columns, which ``option`` names -> values (N, columns) in their own units."""
    return torch.tensor([[label_value(clip, column, option) for column in columns] for clip in clips])


LARGEST = 1e12
"""Values beyond this are no rating: their squares leave the range in which training computes."""


def label_value(clip: Clip, column: str, option: str) -> float:
    """One finite number of a row."""
    text = label_text(clip, column, option)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{row_place(clip)}: {text!r} in column {column!r} is not a finite number; correct the row")
    if abs(value) > LARGEST:
        raise ValueError(
            f"{row_place(clip)}: {text!r} in column {column!r} is beyond {LARGEST:g} and no plausible label; correct the row, "
            "or give the column in larger units"
        )
    return value


YES, NO = ("1", "1.0", "yes", "true"), ("0", "0.0", "no", "false")
"""Cells that say whether something is shown."""
UNKNOWN = -1
"""Target of a cell that is empty."""


def yes_no_targets(clips: Sequence[Clip], columns: Sequence[str], at_least: float = 0.0) -> Tensor:
    """Columns of yes and no -> 1, 0 or ``UNKNOWN`` (N, columns); with ``at_least`` numbers, yes from there on."""
    return torch.tensor([[yes_or_no(clip, column, at_least) for column in columns] for clip in clips])


def yes_or_no(clip: Clip, column: str, at_least: float) -> int:
    """One cell; an empty one is unknown, anything else that is neither is an error that names the row."""
    require_column(clip, column, "--task.columns")
    text = str(clip.columns[column] if clip.columns[column] is not None else "").strip().lower()
    if text in ("", "nan"):
        return UNKNOWN
    if at_least:
        return int(label_value(clip, column, "--task.columns") >= at_least)
    if text not in (*YES, *NO):
        raise ValueError(
            f"{row_place(clip)}: {text!r} in column {column!r} is neither yes nor no (1 or 0, yes or no, true or false; empty "
            "where it is not known); correct the row, or give the intensity from which on it counts as yes: "
            "--task.at_least"
        )
    return int(text in YES)


def require_column(clip: Clip, column: str, option: str) -> None:
    """A missing column is an error that says which there are."""
    if column not in clip.columns:
        there = ", ".join(clip.columns) or "none"
        raise ValueError(f"{row_place(clip)}: no column {column!r}; there are {there}. {WAY_OUT.format(option)}")


def label_text(clip: Clip, column: str, option: str = "--task.column") -> str:
    """One label of a row as text; a missing column or an empty cell is an error that says what to do."""
    require_column(clip, column, option)
    value = clip.columns[column]
    if value is None or str(value).strip().lower() in ("", "nan"):
        raise ValueError(
            f"{row_place(clip)}: no label in column {column!r}. Fill it in, or leave such rows out with "
            f"--data.select '{column}!='"
        )
    return str(value)


def row_place(clip: Clip) -> str:
    """A row as a person finds it."""
    return f"manifest line {clip.row} ({clip.path})"


def require_all_classes(names: Sequence[str], targets: Tensor, column: str) -> None:
    """Every class must occur in the training rows: a class never seen cannot be learnt, and hides in the mean."""
    absent = [name for i, name in enumerate(names) if not bool((targets == i).any())]
    if absent:
        raise ValueError(
            f"no training row has the label {', '.join(absent)} in column {column!r}; add such rows, or name the "
            "classes to learn with --task.classes"
        )
