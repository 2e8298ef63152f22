"""The options that all runs of training have, and what of them decides the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic.dataclasses import dataclass

from mien.config import STRICT, to_tree
from mien.encoders import EncoderConfig
from mien.encoders.tpsbt import TPSBTConfig
from mien.engine.loop import EXECUTION, TrainConfig
from mien.engine.optim import OptimConfig
from mien.interfaces import Clip
from mien.modules.pixels import PixelsConfig
from mien.training.data import TrainingDataConfig
from mien.video.clips import ClipConfig
from mien.video.container import FrameLimit
from mien.video.transforms import AugmentConfig


@dataclass(frozen=True, config=STRICT)
class RunConfig(FrameLimit):
    """What pre-training and fine-tuning have in common; what they learn, each adds."""

    output: Path = Path("runs/train")
    """Folder of the run."""
    init: str = ""
    """Weights to start from, a run's folder or an import."""
    data: TrainingDataConfig = TrainingDataConfig()
    clip: ClipConfig = ClipConfig()
    augment: AugmentConfig = AugmentConfig()
    pixels: PixelsConfig = PixelsConfig()
    encoder: EncoderConfig = TPSBTConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()


def identity(config: RunConfig, clips: Sequence[Clip], others: Sequence[Clip] = ()) -> str:
    """What decides the result of a run, a line per key: the config without its execution fields, and the clips."""
    return identity_of(decisive(config) | ({"others": fingerprint(others)} if others else {}), clips)


ONCE_FIXED = (
    ("clip", "fps", 0.0),
    ("encoder", "uniform_power", True),
    ("objective", "uniform_power", True),
    ("objective", "decoder_mlp_ratio", 4.0),
)
"""Settings that version 0.1 left no choice in, and its value: it goes unsaid in a run's identity, so that its runs go on."""


def decisive(config: object) -> dict[str, object]:
    """A command's config without the fields that do not decide the result."""
    tree = {k: v for k, v in to_tree(config).items() if k not in ("output", "device", "workers", "max_pixels")}
    for section, ignored in (("train", EXECUTION), ("data", ("cache", "decode_all"))):
        if isinstance(tree.get(section), dict):
            tree[section] = {k: v for k, v in tree[section].items() if k not in ignored}
    for section, key, value in ONCE_FIXED:
        if isinstance(tree.get(section), dict) and tree[section].get(key) == value:
            del tree[section][key]
    return tree


def identity_of(tree: dict[str, object], clips: Sequence[Clip]) -> str:
    """Settings and clips, a line per key."""
    return "\n".join(flatten(tree | {"clips": fingerprint(clips)})) + "\n"


def fingerprint(clips: Sequence[Clip]) -> dict[str, object]:
    """Number and hash of the rows of clips."""
    rows = [[str(c.path), c.start, c.end, dict(c.columns)] for c in clips]
    return {"count": len(clips), "sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}


def flatten(tree: dict[str, object], prefix: str = "") -> list[str]:
    """A tree as ``section.key: value`` lines."""
    lines: list[str] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        lines += flatten(value, f"{name}.") if isinstance(value, dict) else [f"{name}: {json.dumps(value)}"]
    return lines
