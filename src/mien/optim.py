"""AdamW with layer-wise learning rates; which parameters decay; rates as functions of the step."""

from __future__ import annotations

from collections import defaultdict

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn

from mien.config import STRICT
from mien.interfaces import Objective
from mien.schedules import warmup_cosine


@dataclass(frozen=True, config=STRICT)
class OptimConfig:
    """AdamW, warm-up and cosine; the defaults are SVFAP's pre-training."""

    lr: NonNegativeFloat = 3e-4
    """Peak learning rate; see lr_batch."""
    lr_batch: int = 256
    """The learning rate is lr x batch / lr_batch, as in the papers; 0 takes lr as it stands."""
    min_lr: NonNegativeFloat = 1e-5
    """Learning rate at the end of the cosine."""
    warmup: NonNegativeFloat = 0.05
    """Share of all steps over which the learning rate rises (the paper: 5 of 100 epochs)."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's averaging factors; (0.9, 0.999) for fine-tuning."""
    weight_decay: NonNegativeFloat = 0.05
    """Decay of matrices; biases, norms and tokens never decay."""
    layer_decay: PositiveFloat = 1.0
    """Factor on the learning rate per layer below the top; 0.75 for fine-tuning in the paper."""
    clip_grad: NonNegativeFloat = 0.0
    """Largest norm of the gradient; 0 leaves it."""

    def rate(self, step: int, steps: int, batch: int) -> float:
        """Learning rate of a step for a batch of ``batch`` clips."""
        peak = self.lr * batch / self.lr_batch if self.lr_batch else self.lr
        return warmup_cosine(peak, min(self.min_lr, peak), step, steps, round(self.warmup * steps), min(1e-6, peak))


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: matrices only, not biases, norms or learnt tokens."""
    return parameter.squeeze().ndim > 1 and not name.endswith(("bias", "token"))


def layer_scale(objective: Objective, name: str, decay: float) -> float:
    """Factor on the learning rate of a named parameter; 1 at the top, ``decay`` less per layer below it."""
    encoder = objective.encoder
    if not name.startswith("encoder."):
        return 1.0
    return decay ** (encoder.layers - encoder.layer_of(name.removeprefix("encoder.")))


def adamw(objective: Objective, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over everything that is trained, one group per (layer scale, decay or not)."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if decays(name, parameter) else 0.0
            groups[layer_scale(objective, name, config.layer_decay), decay].append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "scale": scale, "weight_decay": decay} for (scale, decay), p in groups.items()],
        lr=0.0,
        betas=config.betas,
        fused=True,
    )


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of this step; each group has its own share of it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]
