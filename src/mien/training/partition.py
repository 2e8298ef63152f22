"""Training, validation and test rows of one manifest, and the guard that nothing leaks from one into another.

What a model has learnt from stands in ``seen.csv`` beside its weights: the content of every clip, also of the
pre-training it started from. A leak is refused before training, or, with --leaks-allowed, written into model.json, from
where every report on that model takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass as plain
from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from mien.config import STRICT
from mien.engine import checkpoint
from mien.engine.distributed import Session, gather
from mien.interfaces import Clip
from mien.models.card import ModelCard
from mien.tasks import TaskConfig
from mien.video.leaks import (
    Hashes,
    Leak,
    LearntClip,
    find_leaks,
    find_seen,
    hash_clips,
    read_seen,
    seen_clips,
    write_seen,
)
from mien.video.manifest import select
from mien.video.splits import held_out

SEEN_FILE = "seen.csv"
Parts = dict[str, list[Clip]]


@dataclass(frozen=True, config=STRICT)
class SplitConfig:
    """Which rows train, which choose weights, which test them; conditions on columns, of the rows that --data.select leaves."""

    train: str = ""
    """Rows to train on; empty takes all that are neither test nor validation."""
    validation: str = ""
    """Rows to choose the best weights on, where the corpus has its own; empty takes people out of the training rows."""
    test: str = ""
    """Rows to evaluate the weights on at the end; empty evaluates nothing. Nothing is chosen on them."""
    holdout: int | None = None
    """One person in this many is taken out of training for validation; 0 takes nobody. Without it 5 if --split.test is
    given, else 0."""
    group: str = "subject"
    """Column whose values (people) must not be in two parts; empty for corpora that do not say who is who."""
    every: NonNegativeInt = 0
    """Optimizer steps between validations; 0 is once per epoch."""
    group_by: str = ""
    """Column whose clips are evaluated together by their mean output, such as video for AVCAffe; empty takes each clip."""
    choose_on_test: bool = False
    """Also keep the weights that do best on the test rows, as some published numbers were made; every report on them
    says so."""

    def __post_init__(self) -> None:
        if self.holdout is not None and (self.holdout < 0 or self.holdout == 1):
            raise ValueError(f"split.holdout is {self.holdout}: 0 takes nobody, 2 or more one person in so many")
        if self.validation and self.holdout:
            raise ValueError(
                "--split.validation names the rows to choose on, so --split.holdout takes nobody: give one of them"
            )

    @property
    def held_out(self) -> int:
        """One person in how many is taken out of training; 0 is nobody."""
        default = 5 if self.test else 0
        return 0 if self.validation else default if self.holdout is None else self.holdout


def divide(clips: Sequence[Clip], split: SplitConfig, task: TaskConfig, seed: int) -> Parts:
    """Training, validation and test clips; the last two may be empty."""
    if split.choose_on_test and not split.test:
        raise ValueError("--split.choose_on_test needs the test rows: --split.test")
    test = select(clips, split.test) if split.test else []
    validation = select(clips, split.validation) if split.validation else []
    taken = {clip.row for clip in (*test, *validation)}
    train = select(clips, split.train) if split.train else [clip for clip in clips if clip.row not in taken]
    if not train:
        raise ValueError("test and validation take all rows, so none is left to train on; see --split.test")
    if split.held_out:
        train, validation = hold_out(train, split.group, task, split.held_out, seed)
    return {"train": train, "validation": validation, "test": test}


def hold_out(clips: list[Clip], group: str, task: TaskConfig, parts: int, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Clips without, and of, one person in ``parts``; classes keep about their shares."""
    out = held_out(clips, group, task.strata(clips), parts, seed)
    kept, taken = ([c for c, o in zip(clips, out, strict=True) if o == wanted] for wanted in (False, True))
    return kept, taken


@plain(frozen=True)
class LabelledParts:
    """Training, validation and test clips with their labels."""

    clips: Parts
    names: tuple[str, ...]
    """Names of the outputs, those of the training clips."""
    targets: dict[str, Tensor]
    """The truth of each part, as an evaluation has it."""
    learnt: Tensor
    """What training learns of the training clips."""

    @classmethod
    def of(cls, clips: Parts, task: TaskConfig) -> Self:
        """The labels of the clips under a task; ``ValueError`` that names the row for one that is none."""
        names = task.names(clips["train"])
        targets = {part: task.targets(own, names) for part, own in clips.items()}
        return cls(clips, names, targets, task.training_targets(clips["train"], names))

    @property
    def others(self) -> list[Clip]:
        """Validation and test clips."""
        return [*self.clips["validation"], *self.clips["test"]]


@plain(frozen=True)
class History:
    """What a model has learnt from, and what the guard found."""

    seen: list[LearntClip]
    leaks: list[Leak]
    notes: list[str]
    """What could not be checked."""

    def provenance(self) -> dict[str, object]:
        """What a table says of it: nothing where all is well."""
        return {"leaks": [str(leak) for leak in self.leaks]} if self.leaks else {}

    def adding(self, part: str, clips: Sequence[Clip], hashes: Hashes) -> History:
        """The same for weights that have learnt from more clips."""
        return replace(self, seen=[*self.seen, *seen_clips(part, clips, hashes)])

    def as_begun(self, run: Path) -> History:
        """The same of a run that goes on: what it wrote when it began, for a file may have broken or changed since."""
        seen = seen_by(run)
        return self if seen is None else replace(self, seen=seen)

    def write(self, folder: Path) -> None:
        """Write seen.csv, whole or not at all."""
        checkpoint.write_whole(folder / SEEN_FILE, lambda path: write_seen(path, self.seen))


def examine(parts: Parts, init: str, group: str, hashes: Hashes) -> History:
    """Look for everything that validation and test share with training, with one another, and with pre-training.

    ``init`` is the folder of the weights that training starts from, '' for none.
    """
    before = seen_by(init)
    notes = []
    if before is None and parts["test"]:
        notes = [f"{init} has no {SEEN_FILE}: whether its training saw the test clips cannot be checked"]
    known = find_seen(before or [], hashes, "test", parts["test"])  # by the weights that training starts from
    return History(
        [*(before or []), *seen_clips("training", parts["train"], hashes), *seen_clips("validation", parts["validation"], hashes)],
        [*find_leaks({name: part for name, part in parts.items() if part}, hashes, group), *known],
        notes,
    )  # fmt: skip


def seen_by(init: str | Path) -> list[LearntClip] | None:
    """What the weights of a folder have learnt from; None where that is not recorded, nothing for no weights."""
    if not str(init):
        return []
    path = Path(init) / SEEN_FILE
    return read_seen(path) if path.is_file() else None


def guard(history: History, allowed: bool, show: Callable[[str], object]) -> None:
    """Refuse leaks, or show them where they are allowed."""
    for note in history.notes:
        show(f"note: {note}")
    if not history.leaks:
        return
    lines = "\n".join(f"  {leak}" for leak in history.leaks)
    if not allowed:
        raise ValueError(
            f"what is tested must not be known:\n{lines}\nCorrect the selections or the manifest; --leaks-allowed trains "
            "all the same, and every report says so"
        )
    show(f"leaks allowed; every report will say so:\n{lines}")


def hash_shared(
    clips: Sequence[Clip], workers: int, session: Session, unread: Collection[Path] = ()
) -> dict[Path, str]:
    """The content of all clips, on every rank; each rank reads its share. That of files ``unread`` is not known."""
    known = [clip for clip in clips if clip.path not in unread]
    mine = hash_clips(known[session.rank :: session.world], workers) | dict.fromkeys(unread, "")
    return dict(gather(list(mine.items()), session))


def remember(
    folder: Path, clips: Sequence[Clip], init: str, workers: int, session: Session, unread: Collection[Path] = ()
) -> None:
    """Write what a pre-training learns from, unless that has been done; every rank must call."""
    if not (folder / SEEN_FILE).is_file():
        hashes = hash_shared(clips, workers, session, unread)
        seen = [*(seen_by(init) or []), *seen_clips("pretraining", clips, hashes)]
        if session.first:
            History(seen, [], []).write(folder)


def provenance(model: Path, clips: Sequence[Clip] = (), workers: int = 4) -> dict[str, str | list[str]]:
    """What every report on a model repeats: how its weights were chosen, leaks that were allowed, and how many of
    ``clips`` it has learnt from."""
    notes = ModelCard.load(model).provenance()
    seen = seen_by(model) if clips else None
    known = find_seen(seen, hash_clips(clips, workers), "these", clips) if seen else []
    if known:
        notes["leaks"] = [*notes.get("leaks", []), *map(str, known)]
    return notes
