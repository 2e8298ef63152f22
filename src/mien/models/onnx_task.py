"""A model that ``mien export`` wrote as one ONNX file: a task whose network onnxruntime runs, without PyTorch.

Normalisation, encoder, head and the form of the answer are inside the file, so the task around it passes clips on as they
are, and its scores are its tokens, as those of a frame model. It can be read with and evaluated, not trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.extras import install
from mien.interfaces import Batch, Encoder, Task
from mien.models.card import ModelCard
from mien.models.frame import open_session
from mien.modules.heads import ScoresHead

INPUT = "video"
"""Clips, uint8 (batch, 3, T, size, size), RGB."""
SCORES, FEATURES, CALIBRATED, DISTANCE = "scores", "features", "calibrated", "distance"
"""What a network gives: outputs (batch, names); the mean token (batch, dim); of a calibrated model also calibrated outputs
(batch, names), and how far each clip lies from those that it was calibrated on (batch,)."""


class OnnxEncoder(Encoder):
    """uint8 clips (V, 3, T, size, size) -> one token each, the network's scores."""

    any_visible = False
    normed = True

    def __init__(self, file: Path, card: ModelCard) -> None:
        super().__init__()
        self.file, self.dim, self.heads, self.layers = file, len(card.names), 1, 1
        self.grid, self.patch, self.blocks = (1, 1, 1), (card.clip.frames, card.clip.size, card.clip.size), ()
        self.patch_embed, self.own_statistics = nn.Identity(), 1

    @cached_property
    def session(self) -> Any:
        """The network, opened when it is first needed."""
        return session_of(self.file)

    def run(self, video: Tensor, *outputs: str) -> Mapping[str, NDArray[np.float32]]:
        """Outputs of the network by name; it takes stored pixels alone."""
        if video.dtype != torch.uint8:
            raise ValueError(f"{self.file} takes clips as they are stored; take the folder that it was exported from")
        given = self.session.run(list(outputs), {INPUT: np.ascontiguousarray(video.cpu().numpy())})
        return dict(zip(outputs, given, strict=True))

    def forward(self, video: Tensor, visible: Tensor | None = None) -> Tensor:
        if visible is not None:
            raise ValueError(f"{self.file} sees whole clips; take the folder that it was exported from")
        return torch.from_numpy(self.run(video, SCORES)[SCORES]).to(video.device).unsqueeze(1)

    def features(self, video: Tensor) -> Tensor:
        return self(video)

    def measure(self, video: Tensor) -> tuple[Tensor, Tensor]:
        given = self.run(video, SCORES, DISTANCE)
        scores, distance = (torch.from_numpy(given[name]).to(video.device) for name in (SCORES, DISTANCE))
        return scores.unsqueeze(1), distance.unsqueeze(1)

    def layer_of(self, parameter: str) -> int:
        """It has no parameters."""
        return 0


class OnnxTask(Task):
    """Clips -> what the network says; metrics are those of the task that it was exported from."""

    def __init__(self, card: ModelCard, file: Path) -> None:
        super().__init__()
        assert card.task is not None
        with torch.device("meta"):
            plain = card.initial_model()
        assert isinstance(plain, Task)
        self.outputs, self.names, self.segments = plain.outputs, plain.names, plain.segments
        self.encoder, self.pixels, self.head = OnnxEncoder(file, card), nn.Identity(), ScoresHead()
        self.measured, self.file = plain.score, file

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        raise ValueError(f"{self.file} cannot be trained; take the folder that it was exported from")

    def losses(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        raise ValueError(f"{self.file} cannot be trained; take the folder that it was exported from")

    def postprocess(self, raw: Tensor) -> Tensor:
        """Outputs (B, names), as they are."""
        return raw

    def evidence(self, raw: Tensor) -> Tensor:
        raise ValueError(f"{self.file} gives answers alone, no evidence; take the folder that it was exported from")

    def score(self, predictions: Any, targets: Any) -> dict[str, float]:
        """Metrics of the task that was exported."""
        return self.measured(predictions, targets)


def session_of(file: Path) -> Any:
    """The network of a file, to be run; ``ValueError`` where it cannot be."""
    try:
        return open_session(str(file), str(file))
    except ImportError as error:
        raise ValueError(f"{file} needs onnxruntime: {install('onnx')}") from error
