"""Many probes at once over the same frozen features: every learning rate with every weight decay.

The heads do not touch one another: each has its own loss, its own cut of the gradient and its own rates, so a probe ends
with the weights that it would have alone. Which one is kept is decided on validation clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass as plain
from dataclasses import field
from itertools import product
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mien.config import STRICT
from mien.engine.optim import decays
from mien.engine.schedules import cosine
from mien.progress import progress_bar


@dataclass(frozen=True, config=STRICT)
class ProbeConfig:
    """Training of the probes; V-JEPA's published probe is lr 1e-3, weight decay 0.01, batches of 4, 20 epochs."""

    lrs: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (5e-3, 1e-3, 3e-4)
    """Learning rates to try; each falls to 0 as a cosine."""
    weight_decays: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)] = (0.01, 0.4)
    """Weight decays to try with each learning rate."""
    epochs: PositiveInt = 20
    """Passes over the training clips."""
    batch: PositiveInt = 32
    """Clips per step."""
    clip_grad: NonNegativeFloat = 1.0
    """Largest norm of one probe's gradient; 0 leaves it."""
    seed: NonNegativeInt = 0
    """Order of the clips and first weights follow from it."""
    seeds: PositiveInt = 1
    """First weights to try, from seed on; the table gives mean and deviation over them, for one probe says little."""

    def settings(self) -> list[tuple[float, float]]:
        """All pairs of learning rate and weight decay."""
        return list(product(self.lrs, self.weight_decays))

    def start(self, build: Callable[[int], nn.Module]) -> nn.ModuleList:
        """One head for each seed and setting; those of a seed, which ``build`` is given, start alike."""
        firsts = [build(seed) for seed in range(self.seed, self.seed + self.seeds)]
        return nn.ModuleList(deepcopy(first) for first in firsts for _ in self.settings())


@plain
class Best:
    """The probe of a seed that did best on validation, at its best epoch."""

    score: float = -math.inf
    probe: int = 0
    """Number of its setting."""
    epoch: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)


Judge = Callable[[Tensor, Tensor], dict[str, Tensor]]


def train_probes(
    heads: nn.ModuleList,
    judge: Judge,
    epochs: Iterable[Iterable[tuple[Tensor, Tensor]]],
    steps: int,
    config: ProbeConfig,
    validate: Callable[[nn.ModuleList], list[float]],
    record: Callable[[dict[str, object]], object] = lambda line: None,
) -> list[Best]:
    """Train heads (``config.start``) on batches of tokens (B, N, dim) and targets; returns each seed's best on validation.

    ``epochs`` gives the batches of each epoch, ``steps`` is their number in all; ``record`` gets a line per epoch.
    """
    optimizer = adamw(heads, config)
    best, step = [Best() for _ in range(config.seeds)], 0
    for epoch, batches in enumerate(progress_bar(epochs, "probes", total=config.epochs, unit="epoch"), start=1):
        heads.train()
        total = torch.zeros(len(heads))
        for tokens, target in batches:
            total += fit_step(heads, judge, optimizer, tokens, target, cosine(1.0, 0.0, step, steps), config.clip_grad)
            step += 1
        heads.eval()
        scores = validate(heads)
        record({"epoch": epoch, "loss": (total * config.epochs / steps).tolist(), "validation": scores})
        for seed, mine in enumerate(np.split(np.array(scores), config.seeds)):
            top = int(np.nanargmax(mine)) if np.isfinite(mine).any() else 0
            if mine[top] > best[seed].score:
                state = deepcopy(heads[seed * len(mine) + top].state_dict())
                best[seed] = Best(float(mine[top]), top, epoch, state)
    if not all(one.state for one in best):
        raise ArithmeticError("no probe learnt anything: every validation score is not a number; lower --probe.lrs")
    return best


def fit_step(
    heads: nn.ModuleList, judge: Judge, optimizer: torch.optim.Optimizer, tokens: Tensor, target: Tensor,
    share: float, limit: float,
) -> Tensor:  # fmt: skip
    """One step of all heads at a share of their peak rates; returns their losses."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
    losses = torch.stack([judge(head(tokens), target)["loss"] for head in heads])
    losses.sum().backward()
    if limit:
        for head in heads:
            nn.utils.clip_grad_norm_(head.parameters(), limit)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return losses.detach().float().cpu()


def adamw(heads: nn.ModuleList, config: ProbeConfig) -> torch.optim.AdamW:
    """AdamW with the rates of each head; biases, norms and the query do not decay."""
    groups: list[dict[str, object]] = []
    for head, (lr, decay) in zip(heads, config.settings() * config.seeds, strict=True):
        for decayed in (True, False):
            chosen = [p for name, p in head.named_parameters() if decays(name, p) == decayed]
            groups.append({"params": chosen, "peak": lr, "weight_decay": decay * decayed})
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), fused=True)
