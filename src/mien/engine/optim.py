"""AdamW with layer-wise learning rates; which parameters decay; rates as functions of the step."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn

from mien.config import STRICT
from mien.engine.schedules import ramp_cosine, warmup_cosine
from mien.interfaces import Objective


@dataclass(frozen=True, config=STRICT)
class OptimConfig:
    """AdamW, warm-up and cosine; the defaults are SVFAP's pre-training."""

    lr: NonNegativeFloat = 3e-4
    """Peak learning rate; see lr_batch."""
    lr_batch: NonNegativeInt = 256
    """The learning rate is lr x batch / lr_batch, as in the papers; 0 takes lr as it stands."""
    min_lr: NonNegativeFloat = 1e-5
    """Learning rate at the end of the cosine."""
    warmup: NonNegativeFloat = 0.05
    """Share of all steps over which the learning rate rises (the paper: 5 of 100 epochs)."""
    warmup_start: NonNegativeFloat = 1e-6
    """Learning rate at the start of the warm-up."""
    schedule: Literal["svfap", "vjepa"] = "svfap"
    """Both rise linearly and fall as a cosine; svfap's first step has warmup_start, vjepa's is one step above it."""
    stretch: PositiveFloat = 1.0
    """Schedules are laid out for stretch times as many steps as are taken; V-JEPA 1 takes 1.25 and never gets to the end."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    """AdamW's averaging factors; (0.9, 0.999) for fine-tuning."""
    weight_decay: NonNegativeFloat = 0.05
    """Decay of matrices; biases, norms and tokens never decay."""
    weight_decay_end: NonNegativeFloat | None = None
    """Weight decay at the end of its cosine, as in V-JEPA 1 (0.04 to 0.4); by default it stays."""
    layer_decay: PositiveFloat = 1.0
    """Factor on the learning rate per layer below the top; 0.75 for fine-tuning in the paper."""
    clip_grad: NonNegativeFloat = 0.0
    """Largest norm of the gradient; 0 leaves it."""

    def rate(self, step: int, steps: int, batch: int) -> float:
        """Learning rate of a step for a batch of ``batch`` clips."""
        peak = self.lr * batch / self.lr_batch if self.lr_batch else self.lr
        shape = warmup_cosine if self.schedule == "svfap" else ramp_cosine
        warmup, start = round(self.warmup * steps), min(self.warmup_start, peak)
        return shape(peak, min(self.min_lr, peak), step, steps * self.stretch, warmup, start)

    def decay(self, step: int, steps: int) -> float:
        """Weight decay of a step."""
        end = self.weight_decay if self.weight_decay_end is None else self.weight_decay_end
        return ramp_cosine(self.weight_decay, end, step, steps * self.stretch, 0, 0.0)


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: matrices only, not biases, norms or learnt tokens."""
    return sum(length > 1 for length in parameter.shape) > 1 and not name.endswith(("bias", "token"))


def layer_scale(objective: Objective, name: str, decay: float) -> float:
    """Factor on the learning rate of a named parameter; 1 at the top, ``decay`` less per layer below it."""
    encoder = objective.encoder
    if not name.startswith("encoder."):
        return 1.0
    return decay ** (encoder.layers - encoder.layer_of(name.removeprefix("encoder.")))


def adamw(objective: Objective, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over everything that is trained, one group per (layer scale, decay or not)."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            groups[layer_scale(objective, name, config.layer_decay), decays(name, parameter)].append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "scale": scale, "decays": decayed} for (scale, decayed), p in groups.items()],
        lr=0.0,
        betas=config.betas,
        fused=True,
    )


def set_rates(optimizer: torch.optim.Optimizer, lr: float, decay: float) -> None:
    """Set learning rate and weight decay of this step; each group has its own share of them."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]
        group["weight_decay"] = decay * group["decays"]
