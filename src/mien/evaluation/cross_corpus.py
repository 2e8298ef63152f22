"""A model evaluated on a corpus whose classes are not quite its own: four named handlings of the difference.

Which handling is taken changes a cross-corpus number by twenty points (V-JEPA-FER's own tables: 55.4 to 75.6 for the same
predictions), so no number stands without its handling. All four are given; none is chosen silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float64]
Indices = NDArray[np.int64]

KEPT = "errors kept"
ROWS = "rows dropped"
MERGED = "classes merged"
PREDICTIONS = "predictions dropped (optimistic)"


@dataclass(frozen=True)
class Handling:
    """What is evaluated under one handling."""

    name: str
    """Its name."""
    note: str
    """What was done, in a sentence."""
    names: tuple[str, ...]
    """Classes of the model and of the corpus, as far as they are counted."""
    predicted: Indices
    """Class answered (N,)."""
    truth: Indices
    """True class (N,)."""
    kept: Indices
    """Which of the clips are counted (N,)."""


def handlings(
    probabilities: Shares, known: Sequence[str], labels: Sequence[str], merge: Mapping[str, str]
) -> list[Handling]:
    """Probabilities (N, C) of the ``known`` classes and labels (N,) of the corpus -> what is evaluated, per handling.

    ``merge`` sends classes into others on both sides, such as calm into neutral; empty leaves that handling out.
    """
    found = [errors_kept(probabilities, known, labels), rows_dropped(probabilities, known, labels)]
    if merge:
        found.append(classes_merged(probabilities, known, labels, merge))
    return [*found, predictions_dropped(probabilities, known, labels)]


def errors_kept(probabilities: Shares, known: Sequence[str], labels: Sequence[str]) -> Handling:
    """Every clip counts; what one side lacks is an error whenever it comes up."""
    note = f"Every clip counts. {missing_classes_note(known, labels)} {unused_classes_note(known, labels)}"
    return handling_of(KEPT, note, probabilities, known, labels, np.ones(len(labels), dtype=bool))


def rows_dropped(probabilities: Shares, known: Sequence[str], labels: Sequence[str]) -> Handling:
    """Clips of classes that the model does not know are left out, whatever it answers."""
    keep = np.isin(labels, known)
    note = f"{(~keep).sum()} clips of {join_names(set(labels) - set(known))} are left out. {unused_classes_note(known, labels)}"
    return handling_of(ROWS, note, probabilities, known, labels, keep)


def classes_merged(
    probabilities: Shares, known: Sequence[str], labels: Sequence[str], merge: Mapping[str, str]
) -> Handling:
    """Classes are merged in answers and truth; what is still unknown stays an error."""
    strange = sorted(set(merge) - set(known) - set(labels))
    if strange:
        raise ValueError(f"--merge {join_names(strange)}: neither the model nor the corpus has such a class")
    names = sorted({merge.get(name, name) for name in known})
    into = np.zeros((len(known), len(names)))
    into[np.arange(len(known)), [names.index(merge.get(name, name)) for name in known]] = 1.0
    truth = [merge.get(label, label) for label in labels]
    done = ", ".join(f"{a} into {b}" for a, b in merge.items())
    note = f"{done} merged. {missing_classes_note(names, truth)} {unused_classes_note(names, truth)}"
    return handling_of(MERGED, note, probabilities @ into, names, truth, np.ones(len(labels), dtype=bool))


def predictions_dropped(probabilities: Shares, known: Sequence[str], labels: Sequence[str]) -> Handling:
    """Clips are left out where truth or answer is a class that the other side lacks."""
    answered = np.asarray(known)[probabilities.argmax(axis=1)]
    hard = ~np.isin(answered, labels)
    keep = np.isin(labels, known) & ~hard
    note = (
        f"{hard.sum()} clips are left out because the model answered {join_names(set(known) - set(labels))}, and those of "
        f"{join_names(set(labels) - set(known))}. That removes hard clips: not comparable with the others."
    )
    return handling_of(PREDICTIONS, note, probabilities, known, labels, keep)


def handling_of(
    handling: str,
    note: str,
    probabilities: Shares,
    known: Sequence[str],
    labels: Sequence[str],
    keep: NDArray[np.bool_],
) -> Handling:
    """Answers and truth of the clips to keep, as indices into the classes of both sides."""
    names = tuple(sorted(set(known) | {label for label, kept in zip(labels, keep, strict=True) if kept}))
    kept = np.flatnonzero(keep)
    place = np.array([names.index(name) for name in known])
    truth = np.array([names.index(labels[i]) for i in kept.tolist()], dtype=np.int64)
    return Handling(handling, note, names, place[probabilities[kept].argmax(axis=1)], truth, kept)


def missing_classes_note(known: Sequence[str], labels: Sequence[str]) -> str:
    """A sentence on classes of the corpus that the model cannot answer."""
    missing = set(labels) - set(known)
    count = sum(label in missing for label in labels)
    return f"The model does not know {join_names(missing)}: {count} clips are errors." if missing else ""


def unused_classes_note(known: Sequence[str], labels: Sequence[str]) -> str:
    """A sentence on answers that no clip of the corpus can make right."""
    missing = set(known) - set(labels)
    return f"Answers of {join_names(missing)}, which the corpus lacks, are errors." if missing else ""


def join_names(names: Sequence[str] | set[str]) -> str:
    """Names in order, or nothing."""
    return ", ".join(sorted(names)) or "no class"
