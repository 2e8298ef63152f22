"""From stored pixels to what an encoder is fed, on the model's device: normalisation belongs to the weights."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mien.config import STRICT

Mean = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]
Deviation = Annotated[float, Field(ge=1e-6, le=1000, allow_inf_nan=False)]


@dataclass(frozen=True, config=STRICT)
class PixelsConfig:
    """Mean and deviation per colour channel of pixels in [0, 1]; the defaults are ImageNet's, as in both papers."""

    mean: tuple[Mean, Mean, Mean] = (0.485, 0.456, 0.406)
    """Subtracted from red, green, blue."""
    std: tuple[Deviation, Deviation, Deviation] = (0.229, 0.224, 0.225)
    """Divides red, green, blue."""


class Pixels(nn.Module):
    """uint8 video (B, 3, T, H, W) -> normalised float video; float video is taken as normalised already."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: PixelsConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(config.mean).view(3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(3, 1, 1, 1), persistent=False)

    def forward(self, video: Tensor) -> Tensor:
        if video.is_floating_point():
            return video
        return torch.addcmul(-self.mean / self.std, video.float(), 1.0 / (255.0 * self.std))

    def to_unit(self, values: Tensor, channels: int = 1) -> Tensor:
        """Normalised values, colours along dimension ``channels`` -> values in [0, 1]."""
        return (values.movedim(channels, -1) * self.std.flatten() + self.mean.flatten()).movedim(-1, channels)
