"""What stands beside weights: the model card, model.json as a value with types. It is the only way from a folder to a model.

    card = ModelCard.load(folder)
    model = card.build(folder)      # with the weights in the folder; without one with first weights
    card.save(other, model)

A card is somebody's file. What is missing or impossible is named, and a model that it describes is laid out without
memory first and compared with the weights, so that one that could never be built is refused at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mien import __version__
from mien.config import RENAMED, build, renamed, to_tree
from mien.encoders import EncoderConfig
from mien.engine import checkpoint
from mien.faces.crop import CropConfig
from mien.interfaces import Batch, Encoder, Objective
from mien.model_files import ONNX, read_notes
from mien.models.frame import FrameConfig
from mien.modules.layers import LayerNorm
from mien.modules.pixels import PixelsConfig
from mien.objectives import ObjectiveConfig
from mien.tasks import TaskConfig
from mien.video.clips import ClipConfig

VERSION = 1
"""Of the form of the card; those of mien 0.1 have none and are read as 1."""
LARGEST = 2**24
"""Bytes beyond which a file is no card."""
HUB_CARD = "config.json"
"""File of a folder for the hub that holds the card, under ``NOTE``."""
NOTE = "mien"
"""Name of the card among the notes of an ONNX file."""
NOT_COMMERCIAL = ("no commercial use", "-NC", "noncommercial", "non-commercial")
"""What says in the name of a source that its licence forbids commercial use."""
POSITIONS = 2**26
"""Values that the fixed tables of a model may hold: a quarter of a gigabyte."""

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Selection:
    """Why weights were kept while a task trained."""

    metric: str
    score: float
    step: int


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class ModelCard:
    """What weights are: enough to build the model, to feed it as in training, and to report on it."""

    encoder: Annotated[EncoderConfig | FrameConfig, Field(discriminator="name")]
    clip: ClipConfig
    pixels: PixelsConfig
    objective: ObjectiveConfig | None = None
    """What it was pre-trained by, where its decoder or predictor is among the weights."""
    task: TaskConfig | None = None
    names: tuple[str, ...] = ()
    """Names of a task's outputs, in order."""
    face_crop: CropConfig | None = None
    """How `mien extract-faces` cut the training clips."""
    rates: dict[str, int] | None = None
    """Frame rates that training saw, with the number of videos."""
    selection: str | None = None
    """How these weights were chosen among those of their run."""
    chosen: Selection | None = None
    step: int | None = None
    """Optimizer steps, of weights that were not chosen."""
    leaks: tuple[str, ...] = ()
    """What training and test were allowed to share."""
    skipped: tuple[str, ...] = ()
    """Training clips that broke and were left out."""
    pooling: Literal["norm of mean"] | None = None
    """How an encoder's owners make one vector of a clip's tokens where it is not their mean; the norm is among the weights."""
    sources: tuple[str, ...] = ()
    """Public weights that these began from, each with its licence."""
    mien: str = __version__
    """What wrote it."""
    version: int = VERSION

    def save(self, folder: Path, model: nn.Module, write: bool = True) -> None:
        """Write weights and card, for ``load`` and for the next run to start from; every rank calls, one of them writes."""
        checkpoint.export(folder, model, json.dumps(self.tree(), indent=2) + "\n", write)

    def tree(self) -> dict[str, Any]:
        """The card as plain keys and values, without those that say nothing."""
        return {key: value for key, value in to_tree(self).items() if value not in (None, [])}

    @classmethod
    def load(cls, folder: Path) -> ModelCard:
        """The card in a folder; ``ValueError`` that names the file and what is missing or impossible in it."""
        file, tree = read_card(folder)
        tree = renamed(tree, RENAMED)
        if isinstance(version := tree.get("version"), int) and version > VERSION:
            raise ValueError(
                f"{file} was written by a newer mien ({tree.get('mien')}), this one is {__version__}: update"
            )
        missing = [name for name in ("encoder", "clip", "pixels") if tree.get(name) is None]
        missing += ["names"] if tree.get("task") and not tree.get("names") else []
        if missing:
            why = " of its outputs, but a task" if missing == ["names"] else ""
            raise ValueError(f"{file} has no {missing[0]!r}{why}; it was cut or written by something else")
        try:
            return build(cls, {key: value for key, value in tree.items() if value is not None})
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error

    def build(self, folder: Path | None = None) -> Objective:
        """The task, the objective or the encoder alone; with the weights in ``folder``, or with first weights.

        Weights that do not fit, or cannot be, raise ``ValueError`` before anything is built.
        """
        weights = checkpoint.read_weights(folder) if folder else None
        return self.with_weights(self.initial_model, weights, folder)

    def trainable_encoder(self) -> EncoderConfig:
        """The encoder, to be trained or probed; ``ValueError`` for a frame model."""
        if isinstance(self.encoder, FrameConfig):
            raise ValueError(
                "this is a frame model, a network in an ONNX file through which nothing can be learnt: evaluate, calibrate and "
                "read with it, and train an encoder of video"
            )
        return self.encoder

    def build_encoder(self, folder: Path | None = None) -> Encoder:
        """The encoder alone; of a joint embedding with the teacher's weights."""
        weights = checkpoint.encoder_weights(checkpoint.read_weights(folder)) if folder else None
        return self.with_weights(self.initial_encoder, weights, folder)

    def initial_encoder(self) -> Encoder:
        """An encoder with first weights."""
        return self.encoder.build(self.clip.frames, self.clip.size)

    def initial_model(self) -> Objective:
        """The model with first weights."""
        encoder = self.initial_encoder()
        if self.task:
            return self.task.build(encoder, self.pixels, self.names)
        return self.objective.build(encoder, self.pixels) if self.objective else EncoderOnly(encoder, self.pooling)

    def with_weights(self, make: Callable[[], M], weights: Mapping[str, Tensor] | None, folder: Path | None) -> M:
        """What ``make`` builds, with these weights if there are any."""
        if weights is None:
            return make()
        with torch.device("meta"):
            outline = make()
        checkpoint.require_fit(outline, weights, folder)
        if (tables := sum(table.numel() for name, table in outline.named_buffers() if name not in weights)) > POSITIONS:
            raise ValueError(
                f"{folder}/{checkpoint.CARD}: clips of {self.clip.frames} frames of {self.clip.size} pixels need tables of "
                f"{4 * tables / 2**30:.0f} GB; no model was made for such clips"
            )
        model = make()
        checkpoint.load_strictly(model, weights, folder)
        return model

    def provenance(self) -> dict[str, str | list[str]]:
        """What every report on the weights repeats of how they came about; nothing where all is well."""
        notes = {
            "selection": self.selection,
            "leaks": [*self.leaks],
            "skipped": [*self.skipped],
            "sources": [*self.sources],
            "no_commercial_use": without_commercial_use(self.sources),
        }
        return {name: value for name, value in notes.items() if value}


def without_commercial_use(sources: Iterable[str]) -> list[str]:
    """The sources among them whose licence, as it is named, forbids commercial use."""
    return [source for source in sources if any(word in source for word in NOT_COMMERCIAL)]


class EncoderOnly(Objective):
    """An encoder without anything to train it with, to be exported, and the norm that its owners put over tokens or their mean."""

    def __init__(self, encoder: Encoder, pooling: str | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.encoder_norm = LayerNorm(encoder.feature_dim, eps=encoder.eps) if pooling else nn.Identity()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        raise ValueError("an imported encoder has no objective of its own; give mien pretrain --init its folder")


def read_card(place: Path) -> tuple[Path, dict[str, Any]]:
    """The file that holds a model's card, and what it holds by name; ``ValueError`` for a file that is no card.

    That is model.json in a run's folder, the section ``mien`` of config.json in a folder for the hub, a note of an ONNX file.
    """
    file, hub = place / checkpoint.CARD, place / HUB_CARD
    if place.is_file() and place.suffix == ONNX:
        if NOTE not in (notes := read_notes(place)):
            raise ValueError(
                f"{place}: this ONNX file was not written by mien export; docs/frame-models.md says how to read it"
            )
        return place, parse_json(place, notes[NOTE])
    if not file.is_file() and hub.is_file() and isinstance(card := parse_json(hub, content(hub)).get(NOTE), dict):
        return hub, card
    if not file.is_file():
        raise ValueError(
            f"{place}: no model here (model.json is missing); name the folder of a finished run, or take a public model: "
            "mien models get yunet fer-opencv, then --model fer-opencv"
        )
    return file, parse_json(file, content(file))


def has_card(folder: Path) -> bool:
    """Whether a folder holds a model's card; that of others has a config.json too, without one of ours in it."""
    hub = folder / HUB_CARD
    return (folder / checkpoint.CARD).is_file() or (hub.is_file() and NOTE in parse_json(hub, content(hub)))


def content(file: Path) -> bytes:
    """The content of a card's file, which is small."""
    if file.stat().st_size > LARGEST:
        raise ValueError(f"{file} is {file.stat().st_size / 2**20:.0f} MB; a model's card has a few thousand bytes")
    return file.read_bytes()


def parse_json(file: Path, text: str | bytes) -> dict[str, Any]:
    """JSON as keys and values."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON: {str(error)[:200]}") from error
    if not isinstance(tree, dict):
        raise ValueError(f"{file} holds {type(tree).__name__}, not keys and values")
    return tree
