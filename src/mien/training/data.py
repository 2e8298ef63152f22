"""The clips of a command, from a manifest: which, whether they can be read, and what one must know of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic.dataclasses import dataclass

from mien.config import STRICT, build
from mien.faces.crop import CropConfig
from mien.interfaces import Clip
from mien.models.card import ModelCard
from mien.tasks import TaskConfig
from mien.video.manifest import Problem, checked_clips, read_manifest, select
from mien.video.rates import count_rates, rate_warnings
from mien.yaml_files import read_yaml

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
    show: Callable[[str], object] = print,
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
        show(f"bad clip: {problem}")
    if problems and not config.skip_bad:
        raise ValueError(
            f"{len(problems)} of {len(clips)} clips cannot be used (listed above); mend or remove those rows, or leave "
            "them out with --data.skip_bad; a clip that broke since a run began is left out of it with --train.skip LINE"
        )
    good = {clip.row: clip for clip in found if isinstance(clip, Clip)}
    kept = [good.get(clip.row, clip) for clip in clips if clip.row in good or clip.path in left]
    if not kept:
        raise ValueError(f"{config.manifest}: no clip is left")
    show(f"{len(kept)} clips from {config.manifest}" + (f", {len(problems)} left out" if problems else ""))
    return kept


def located(task: Labelled, clips: Sequence[Clip], show: Callable[[str], object] = print) -> Labelled:
    """A task over the column that the clips have their labels in; what was guessed or renamed on the way is shown."""
    found, notes = task.with_columns(clips)
    for note in notes:
        show(f"note: {note}")
    return found  # pyright: ignore[reportReturnType]


def warn(config: DataConfig, clips: Sequence[Clip], card: ModelCard, show: Callable[[str], object] = print) -> None:
    """Show what touches every prediction of a model with this card for these clips.

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
        show(f"warning: {line}")


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
