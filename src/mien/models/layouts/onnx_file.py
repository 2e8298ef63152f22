"""A network of others in an ONNX file that reads one picture, with the ten lines that say what no file tells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.faces.crop import CropConfig
from mien.models.card import ModelCard
from mien.models.frame import FrameConfig
from mien.modules.heads import ScoresHeadConfig
from mien.modules.pixels import PixelsConfig
from mien.tasks.classification import ClassificationConfig
from mien.tasks.labels import canonical
from mien.tasks.regression import RegressionConfig
from mien.video.clips import ClipConfig


@dataclass(frozen=True, config=STRICT)
class FrameCard:
    """What a person says of an ONNX file: how its picture is made, and what its scores mean. Ten lines of YAML."""

    names: tuple[str, ...]
    """Names of the scores, in the order of the file: classes, or values."""
    size: Annotated[int, Field(ge=16, le=2048)]
    """Side of the picture in pixels."""
    outputs: Literal["logits", "values"] = "logits"
    """logits: scores of classes, of which a softmax makes probabilities; values: such as valence and arousal."""
    align: Literal["template", "box", "loose"] = "loose"
    """template: five landmarks on the places of the 112-pixel template of face recognition; box: the detector's box, stretched
    to a square; loose: a square with space around the box."""
    colour: Literal["rgb", "bgr", "grey"] = "rgb"
    """Colours of the picture, in order."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted from colours in [0, 1], red, green, blue."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Divides them then; 1/255 each, with mean 0, for a network that takes 0 to 255."""
    first: Annotated[int, Field(ge=0)] = 0
    """Place of the first of the names among the scores."""

    @property
    def pixels(self) -> PixelsConfig:
        """Normalisation of the picture."""
        return PixelsConfig(mean=self.mean, std=self.std)


CROPS: dict[str, Literal["template", "stretched", "loose"]] = {
    "template": "template",
    "box": "stretched",
    "loose": "loose",
}
"""Preset of ``mien.faces.crop`` for each way of aligning."""


def save_frame_model(folder: Path, content: bytes, card: FrameCard, sources: tuple[str, ...] = ()) -> None:
    """Write the model folder of an ONNX file; the network is opened and tried on one picture first."""
    config = FrameConfig(outputs=len(card.names), bytes=len(content), first=card.first, colour=card.colour)
    model, head = config.build(1, card.size), ScoresHeadConfig()
    model.file.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    model(torch.zeros(1, 3, 1, card.size, card.size))
    classes = card.outputs == "logits"
    names = tuple(canonical(name) for name in card.names) if classes else card.names
    task = ClassificationConfig(classes=names, head=head) if classes else RegressionConfig(columns=names, head=head)
    clip = ClipConfig(frames=1, stride=1, size=card.size, crop="squash" if card.align == "box" else "square")
    crop = CropConfig(preset=CROPS[card.align], size=card.size)
    ModelCard(config, clip, card.pixels, task=task, names=names, face_crop=crop, sources=sources).save(
        folder, task.build(model, card.pixels, names)
    )
