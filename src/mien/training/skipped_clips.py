"""Clips that broke while a run trained: left out from a step on, and listed wherever the run is reported.

RUN/skipped.json   one entry per clip that --train.skip named, with the step from which on its places stay empty

A place that is skipped is not filled with another clip: the batch is smaller there, and its loss is the mean over the
clips that are left, of all ranks and micro-steps. Order, masks and augmentation of all other clips stay as they are, so
the run is a function of its settings, its clips and this file, and a resume is exact.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch.utils.data import DataLoader, Dataset, default_collate

from mien.engine.distributed import Session
from mien.engine.loop import MicroBatch, TrainConfig
from mien.engine.memory import is_out_of_memory
from mien.files import write_whole
from mien.interfaces import Batch, Clip
from mien.models.card import ModelCard
from mien.video.clips import ClipDataset, Key, StepSampler, prepare_worker
from mien.video.crashes import find_crash, is_crash
from mien.video.decode import VideoError
from mien.video.inspection import CRASHED

FILE = "skipped.json"


@dataclass(frozen=True)
class Skip:
    """One training clip that is left out."""

    index: int
    """Its place among the training clips."""
    row: int
    """Its line in the manifest."""
    path: str
    step: int
    """Steps that had been done when it was left out."""

    def __str__(self) -> str:
        return f"{Path(self.path).name} (line {self.row}), left out after step {self.step}"


def read_skips(folder: Path) -> list[Skip]:
    """What a run leaves out; nothing where it leaves out nothing."""
    file = folder / FILE
    return [Skip(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))] if file.is_file() else []


def with_skips(card: ModelCard, run: Path) -> ModelCard:
    """The card of weights of a run, with what the run has left out so far."""
    return replace(card, skipped=tuple(map(str, read_skips(run))))


def keep_skips(folder: Path, clips: Sequence[Clip], named: Sequence[str], step: int, write: bool) -> dict[int, int]:
    """Index of each clip that a run leaves out -> the step from which on; those ``named`` now begin at ``step``.

    Every rank must call, one of them writes. Raises ``ValueError`` for a name that is no training clip.
    """
    skips = {skip.index: skip for skip in read_skips(folder)}
    for name in named:
        for index in find_clips(clips, name):
            before = skips[index].step if index in skips else step
            skips[index] = Skip(index, clips[index].row, str(clips[index].path), min(before, step))
    if len(skips) == len(clips):
        raise ValueError("--train.skip leaves no training clip")
    if write and named:
        entries = json.dumps([asdict(skips[index]) for index in sorted(skips)], indent=2) + "\n"
        write_whole(folder / FILE, lambda path: path.write_text(entries, encoding="utf-8"))
    return {index: skip.step for index, skip in skips.items()}


def find_clips(clips: Sequence[Clip], name: str) -> list[int]:
    """Indices of the clips on a line of the manifest, or of all that are cut from one file."""
    if name.isdigit():
        found = [i for i, clip in enumerate(clips) if clip.row == int(name)]
    else:
        found = [i for i, clip in enumerate(clips) if name in (str(clip.path), clip.path.name)]
    if not found:
        raise ValueError(
            f"--train.skip {name}: no training clip of this run; give its line in the manifest or its file"
        )
    if len({clips[i].path for i in found}) > 1:
        lines = ", ".join(str(clips[i].row) for i in found)
        raise ValueError(f"--train.skip {name}: that is the name of several files; give one of the lines {lines}")
    return found


def unread_paths(folder: Path, clips: Sequence[Clip], named: Sequence[str]) -> set[Path]:
    """Files that a run no longer reads for training, so that they may be broken or gone."""
    recorded = {Path(skip.path) for skip in read_skips(folder)}
    known = {str(clip.row) for clip in clips} | {str(c.path) for c in clips} | {c.path.name for c in clips}
    return recorded | {clips[i].path for name in named if name in known for i in find_clips(clips, name)}


@dataclass(frozen=True)
class Broken:
    """In the place of a clip that could not be read."""

    message: str
    short: bool
    """Whether memory ran out, which is no fault of the clip."""


class Guarded(Dataset):
    """A dataset whose clips that cannot be read come as ``Broken``, so that no worker process raises."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: Key) -> Batch | Broken:
        try:
            return self.dataset[key]
        except (VideoError, OSError) as error:
            clip = self.dataset.clips[key[1]]
            line = f"line {clip.row}: "
            return Broken(f"{line}{str(error).removeprefix(line)}", is_out_of_memory(error))


def collate(items: list[Batch | Broken]) -> Batch | Broken:
    """A batch, or the first item that is broken."""
    broken = [item for item in items if isinstance(item, Broken)]
    return broken[0] if broken else default_collate(items)


def micro_batches(
    dataset: ClipDataset,
    config: TrainConfig,
    session: Session,
    step: int,
    skipped: dict[int, int],
    folder: Path,
    under_way: UnderWay,
) -> Iterator[MicroBatch]:
    """Micro-batches of this rank, endlessly, from ``step`` on. Raises ``VideoError`` naming a clip that breaks, the step,
    and the way on; ``MemoryError`` where it is not the clip's fault. What is being read stands in ``under_way``."""
    sampler = StepSampler(
        len(dataset), config.micro_batch(session.world), config.seed, step * config.accumulate, session.rank,
        session.world, config.accumulate, skipped,
    )  # fmt: skip
    loader = DataLoader(
        Guarded(dataset),
        batch_sampler=Noted(sampler, under_way),
        collate_fn=collate,
        num_workers=config.workers,
        pin_memory=session.device.type == "cuda",
        persistent_workers=config.workers > 0,
        worker_init_fn=prepare_worker,
    )
    for micro, batch in enumerate(loader, start=sampler.start):
        if isinstance(batch, Broken) and batch.short:
            raise MemoryError(batch.message)
        if isinstance(batch, Broken):
            raise broke(batch.message, micro // config.accumulate + 1, folder)
        weight = sampler.weight(micro)
        yield MicroBatch(batch, weight or 0.0, none_left=weight is None)


UnderWay = deque[tuple[int, list[Key]]]
"""The last micro-steps, and their clips, that processes were given to read."""


def under_way(config: TrainConfig) -> UnderWay:
    """Room for as many as are read at a time, each process two ahead, and the one that is waited for."""
    return deque(maxlen=2 * config.workers + 1)


class Noted:
    """A sampler whose last micro-batches are kept in ``latest``."""

    def __init__(self, sampler: StepSampler, latest: UnderWay) -> None:
        self.sampler, self.latest = sampler, latest

    def __iter__(self) -> Iterator[list[Key]]:
        for micro, keys in enumerate(self.sampler, start=self.sampler.start):
            self.latest.append((micro, keys))
            yield keys


@contextmanager
def naming_crashes(latest: UnderWay, clips: Sequence[Clip], config: TrainConfig, folder: Path) -> Iterator[None]:
    """Where a process that decodes crashes, raise ``VideoError`` naming the clip that did it, if decoding shows which."""
    try:
        yield
    except RuntimeError as error:
        if not is_crash(error):
            raise
        steps = {i: micro // config.accumulate + 1 for micro, keys in reversed(latest) for _, i in keys if i >= 0}
        path = find_crash(clips[i].path for i in steps)
        for clip, step in ((clips[i], step) for i, step in steps.items()):
            if clip.path == path:
                raise broke(f"line {clip.row}: {clip.path}: {CRASHED}", step, folder) from error
        raise


def broke(message: str, step: int, folder: Path) -> VideoError:
    """The error of a clip that broke at a step (from 1) of the run in ``folder``."""
    line = message.partition(":")[0].removeprefix("line ")
    return VideoError(
        f"{message}\nThis clip cannot be read at step {step}; {folder} keeps the run as of its last checkpoint. Put the "
        "file right and give the same command again. Or go on without the clip: the same command with "
        f"--train.skip {line} leaves its places empty from the last checkpoint on, and every report says so."
    )
