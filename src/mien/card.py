"""model.json as values with types: what exported weights are, read and checked before anything is built from it.

A card is somebody's file. What is missing or impossible is named, and a model that it describes is laid out without
memory first and compared with the weights, so that one that could never be built is refused at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mien import checkpoint
from mien.config import build
from mien.encoders import EncoderConfig
from mien.faces.crop import CropConfig
from mien.interfaces import Encoder
from mien.objectives import ObjectiveConfig
from mien.pixels import PixelsConfig
from mien.tasks import TaskConfig
from mien.video.clips import ClipConfig

POSITIONS = 2**26
"""Values that the fixed tables of a model may hold: a quarter of a gigabyte."""

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Card:
    """What the weights in a folder are."""

    folder: Path
    clip: ClipConfig
    encoder: EncoderConfig
    pixels: PixelsConfig
    task: TaskConfig | None
    objective: ObjectiveConfig | None
    names: tuple[str, ...]
    """Names of a task's outputs, in order."""
    face_crop: CropConfig | None
    rates: dict[str, int] | None
    """Frame rates that training saw, with the number of videos."""

    def build_encoder(self) -> Encoder:
        """An encoder with first weights."""
        return self.encoder.build(self.clip.frames, self.clip.size)

    def load(self, make: Callable[[], M], weights: Mapping[str, Tensor]) -> M:
        """What ``make`` builds, with these weights; refused before anything is built if they do not fit."""
        with torch.device("meta"):
            outline = make()
        checkpoint.require_fit(outline, weights, self.folder)
        if (tables := sum(table.numel() for table in outline.buffers())) > POSITIONS:
            raise ValueError(
                f"{self.folder}/{checkpoint.CARD}: clips of {self.clip.frames} frames of {self.clip.size} pixels need tables of "
                f"{4 * tables / 2**30:.0f} GB; no model was made for such clips"
            )
        model = make()
        checkpoint.load_strictly(model, weights, self.folder)
        return model


def read_card(folder: Path) -> Card:
    """The card in a folder; ``ValueError`` that names the file and what is missing or impossible in it."""
    tree = checkpoint.describe(folder)
    where = folder / checkpoint.CARD

    def section(name: str, schema: Any, needed: bool = True) -> Any:
        if tree.get(name) is None:
            if needed:
                raise ValueError(f"{where} has no {name!r}; it was cut or written by something else")
            return None
        try:
            return build(schema, tree[name])
        except ValueError as error:
            raise ValueError(f"{where}: {name}: {error}") from error

    card = Card(
        folder,
        section("clip", ClipConfig),
        section("encoder", EncoderConfig),
        section("pixels", PixelsConfig),
        section("task", TaskConfig, needed=False),
        section("objective", ObjectiveConfig, needed=False),
        tuple(tree.get("names", ())),
        section("face_crop", CropConfig, needed=False),
        tree.get("rates"),
    )
    if card.task and not card.names:
        raise ValueError(f"{where} has a task and no 'names' of its outputs; it was cut or written by something else")
    return card
