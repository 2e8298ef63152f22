"""What ``pretrain`` and ``finetune`` share: clips in, a run folder out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from mien.config import STRICT, build, read_yaml, to_tree, to_yaml
from mien.engine import checkpoint
from mien.engine.distributed import Session, barrier
from mien.engine.loop import EXECUTION, MicroBatch, TrainConfig, require_company, require_whole_batches, train
from mien.engine.optim import OptimConfig
from mien.engine.runlog import finished, open_run, refuse_other_run
from mien.faces.crop import CropConfig
from mien.interfaces import Clip, Objective
from mien.models.card import ModelCard
from mien.tasks import TaskConfig
from mien.training.skipped_clips import (
    broke,
    keep_skips,
    micro_batches,
    naming_crashes,
    read_skips,
    under_way,
    unread_paths,
)
from mien.video.clips import ClipConfig, ClipDataset
from mien.video.decode import VideoError
from mien.video.manifest import Problem, checked_clips, read_manifest, select
from mien.video.rates import count_rates, rate_warnings
from mien.video.transforms import AugmentConfig

Labelled = TypeVar("Labelled", bound=TaskConfig)


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """Which clips."""

    manifest: str = ""
    """CSV or Parquet with a column path (one row per clip), or a folder of videos, or one video."""
    select: str = ""
    """Rows to use, as conditions on columns: 'fold!=4', 'split=train', 'subject=s1,s2; expression!='."""
    skip_bad: bool = False
    """Leave out videos that cannot be read (they are listed); otherwise they stop the run."""
    decode_all: bool = False
    """Decode every video completely first, not only its packet table."""


@dataclass(frozen=True, config=STRICT)
class TrainingDataConfig(DataConfig):
    """Which clips, and how they are kept while training."""

    cache: bool = False
    """Keep all decoded frames in memory, at their own size (about 1.5 bytes a pixel); for small corpora."""


def load_clips(
    config: DataConfig,
    workers: int,
    say: Callable[[str], object] = print,
    unread: Callable[[list[Clip]], Collection[Path]] = lambda clips: (),
) -> list[Clip]:
    """The selected clips of a manifest that can be read; the others are listed and, unless asked for, refused.

    Files that ``unread`` names stay in the list whatever their state.
    """
    if not config.manifest:
        raise ValueError("no clips: give --data.manifest a CSV, Parquet file, folder of videos or video")
    clips = select(read_manifest(Path(config.manifest)), config.select)
    left = set(unread(clips))
    found = checked_clips([clip for clip in clips if clip.path not in left], workers=workers, decode=config.decode_all)
    problems = [problem for problem in found if isinstance(problem, Problem)]
    for problem in problems:
        say(f"bad clip: {problem}")
    if problems and not config.skip_bad:
        raise ValueError(
            f"{len(problems)} of {len(clips)} clips cannot be used (listed above); mend or remove those rows, or leave "
            "them out with --data.skip_bad; a clip that broke since a run began is left out of it with --train.skip LINE"
        )
    good = {clip.row: clip for clip in found if isinstance(clip, Clip)}
    kept = [good.get(clip.row, clip) for clip in clips if clip.row in good or clip.path in left]
    if not kept:
        raise ValueError(f"{config.manifest}: no clip is left")
    say(f"{len(kept)} clips from {config.manifest}" + (f", {len(problems)} left out" if problems else ""))
    return kept


def located(task: Labelled, clips: Sequence[Clip], say: Callable[[str], object] = print) -> Labelled:
    """A task over the column that the clips have their labels in; what was guessed or renamed on the way is said."""
    found, notes = task.with_columns(clips)
    for note in notes:
        say(f"note: {note}")
    return found  # pyright: ignore[reportReturnType]


def warn(config: DataConfig, clips: Sequence[Clip], card: ModelCard, say: Callable[[str], object] = print) -> None:
    """Say what touches every answer that a model with this card gives to these clips.

    Clips of a manifest are read as in training, frames as they are; so they must be cut as the training clips were.
    """
    lines = rate_warnings(count_rates(clips), card.clip.fps, card.clip.stride, card.rates)
    trained, here = card.face_crop, face_crop(Path(config.manifest))
    if trained and trained != here:
        cut = "are cut otherwise" if here else "are not said to be cut to faces"
        lines.append(
            f"the model was trained on faces that mien extract-faces cut ({trained.preset}), the clips of {config.manifest} {cut}. "
            "Clips of a manifest are read as they are: cut them with the same --crop, or take mien study, which finds faces"
        )
    for line in lines:
        say(f"warning: {line}")


def load_training_clips(config: Any, session: Session) -> list[Clip]:
    """The clips of a command that trains; those that its run leaves out (--train.skip) need not be readable."""
    clips = load_clips(
        config.data, config.train.workers, session.print,
        lambda clips: unread_paths(config.output, clips, config.train.skip),
    )  # fmt: skip
    warn(config.data, clips, card_of(config, clips), session.print)
    return clips


def fit(
    objective: Objective,
    clips: Sequence[Clip],
    config: Any,
    session: Session,
    targets: Tensor | None = None,
    card: Callable[[], ModelCard] | None = None,
    draw: Callable[[int], None] | None = None,
    watch: Callable[[int], dict[str, float]] | None = None,
) -> None:
    """Train ``objective`` on ``clips`` in ``config.output`` and export its weights.

    ``config`` is a command's config with clip, augment, data, train, optim and output; ``card`` is asked at the end.
    """
    train_config: TrainConfig = config.train
    optim: OptimConfig = config.optim
    folder: Path = config.output
    steps, latest = train_config.total(len(clips)), under_way(train_config)

    def batches(step: int) -> Iterator[MicroBatch]:
        skipped = keep_skips(folder, clips, train_config.skip, step, session.first)
        if skipped:
            session.print("left out: " + "; ".join(map(str, read_skips(folder))))
        try:
            dataset = ClipDataset(
                clips, config.clip, config.augment, train_config.seed, targets, config.data.cache, skipped
            )
        except VideoError as error:
            raise broke(str(error), step + 1, folder) from error
        return micro_batches(dataset, train_config, session, step, skipped, folder, latest)

    with naming_crashes(latest, clips, train_config, folder):
        train(
            objective,
            batches,
            steps,
            train_config,
            optim,
            folder,
            session,
            name_clip=lambda i: f"{clips[i].path.name} (line {clips[i].row})",
            draw=draw,
            watch=watch,
        )
    (card() if card else card_of(config, clips)).save(folder, objective, write=session.first)
    session.print(f"{steps} steps done; weights in {folder}")


def open_folder(config: Any, clips: Sequence[Clip], session: Session, others: Sequence[Clip] = ()) -> bool:
    """Look at the run's folder, and leave it as it is; False if the run there is done already.

    Resuming with another config, other clips, or ``others`` (validation and test) is refused with the difference shown.
    """
    steps = config.train.total(len(clips))
    refuse_other_run(config.output, identity(config, clips, others))
    barrier()  # before any rank makes the folder
    if finished(config.output, steps):
        session.print(f"{config.output} holds this run, finished at step {steps}: nothing to do")
        return False
    found = checkpoint.checkpoints(config.output)
    if found:
        session.print(f"{config.output}: going on from {found[-1].name}")
    return True


def claim_folder(
    objective: Objective, config: Any, clips: Sequence[Clip], session: Session, others: Sequence[Clip] = ()
) -> None:
    """Make the folder of a run that is about to train, now that its model stands; every rank must call."""
    require_whole_batches(objective, config.train, session)
    if not checkpoint.checkpoints(config.output):
        require_company(objective, config.train, session)
    if session.first:
        open_run(config.output, to_yaml(config), identity(config, clips, others))
    barrier()


def identity(config: Any, clips: Sequence[Clip], others: Sequence[Clip] = ()) -> str:
    """What decides the result of a run, a line per key: the config without its execution fields, and the clips."""
    return identity_of(decisive(config) | ({"others": fingerprint(others)} if others else {}), clips)


ONCE_FIXED = (
    ("clip", "fps", 0.0),
    ("encoder", "uniform_power", True),
    ("objective", "uniform_power", True),
    ("objective", "decoder_mlp_ratio", 4.0),
)
"""Settings that version 0.1 left no choice in, and its value: it goes unsaid in a run's identity, so that its runs go on."""


def decisive(config: Any) -> dict[str, Any]:
    """A command's config without the fields that do not decide the result."""
    tree = {k: v for k, v in to_tree(config).items() if k not in ("output", "device", "workers", "max_pixels")}
    for section, ignored in (("train", EXECUTION), ("data", ("cache", "decode_all"))):
        if isinstance(tree.get(section), dict):
            tree[section] = {k: v for k, v in tree[section].items() if k not in ignored}
    for section, key, value in ONCE_FIXED:
        if isinstance(tree.get(section), dict) and tree[section].get(key) == value:
            del tree[section][key]
    return tree


def identity_of(tree: dict[str, Any], clips: Sequence[Clip]) -> str:
    """Settings and clips, a line per key."""
    return "\n".join(flatten(tree | {"clips": fingerprint(clips)})) + "\n"


def fingerprint(clips: Sequence[Clip]) -> dict[str, Any]:
    """Number and hash of the rows of clips."""
    rows = [[str(c.path), c.start, c.end, dict(c.columns)] for c in clips]
    return {"count": len(clips), "sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}


def flatten(tree: dict[str, Any], prefix: str = "") -> list[str]:
    """A tree as ``section.key: value`` lines."""
    lines: list[str] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        lines += flatten(value, f"{name}.") if isinstance(value, dict) else [f"{name}: {json.dumps(value)}"]
    return lines


def card_of(config: Any, clips: Sequence[Clip], **more: Any) -> ModelCard:
    """The card of weights that learn from ``clips`` under a command's config; ``more`` are further fields."""
    return ModelCard(
        encoder=config.encoder, clip=config.clip, pixels=config.pixels,
        objective=getattr(config, "objective", None), task=getattr(config, "task", None),
        rates=dict(count_rates(clips)), face_crop=face_crop(Path(config.data.manifest)),
        skipped=tuple(map(str, read_skips(config.output))), **more,
    )  # fmt: skip


def face_crop(manifest: Path) -> CropConfig | None:
    """How the clips of a store of faces were cropped, which travels with the weights; None for other manifests."""
    store = (manifest if manifest.is_dir() else manifest.parent) / "store.yaml"
    if not store.is_file():
        return None
    tree = read_yaml(store)
    if not isinstance(tree, dict) or "crop" not in tree:
        raise ValueError(
            f"{store} says nothing of how faces were cropped ('crop'); it was cut or written by something else"
        )
    return build(CropConfig, tree["crop"])


__all__ = ["AugmentConfig", "ClipConfig", "DataConfig", "TrainingDataConfig", "fit", "load_clips", "open_folder"]
