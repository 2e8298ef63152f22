"""The training loop: any Objective, one CPU process or many GPUs, and nothing lost when it is killed.

Nothing here depends on history but the weights, the optimizer's moments and the step: order, clips, masks and rates
are functions of (seed, step), so a run that was killed and started again ends with the same weights, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn

from mien import checkpoint, distributed
from mien.config import STRICT
from mien.distributed import Session
from mien.interfaces import Batch, Objective
from mien.layers import divide
from mien.optim import OptimConfig, adamw, set_rates
from mien.runlog import RunLog

Batches = Callable[[int], Iterable[Batch]]
"""Micro-batches of this rank from a micro-step on, endlessly."""


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """Length, batch, precision and what is kept."""

    steps: int = 0
    """Optimizer steps; 0 takes epochs."""
    epochs: float = 100.0
    """Passes over the training clips, if steps is 0."""
    batch: PositiveInt = 256
    """Clips per optimizer step, over all ranks and micro-steps."""
    accumulate: PositiveInt = 1
    """Micro-steps per optimizer step: less memory, same gradient."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs matrix products in bfloat16 (autocast); weights stay fp32."""
    matmul: distributed.MatmulPrecision = "medium"
    """fp32 matrix products: medium is about twice as fast on many CPUs, highest is exact."""
    parallel: distributed.Parallel = "ddp"
    """Over several ranks: ddp copies the model, fsdp shards it."""
    compile: bool = False
    """torch.compile the model: worth it on GPUs, needs a C++ compiler on CPUs."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    workers: int = 2
    """Processes that decode clips for each rank; 0 decodes in the training process."""
    seed: int = 0
    """All randomness follows from it."""
    log_every: PositiveInt = 10
    """Steps between lines of metrics.jsonl."""
    save_every: PositiveInt = 500
    """Steps between checkpoints."""
    picture_every: PositiveInt = 500
    """Steps between pictures, where the objective draws any."""
    tensorboard: bool = False
    """Also write TensorBoard files (needs the extra track)."""

    def total(self, clips: int) -> int:
        """Optimizer steps for a training set of ``clips`` clips."""
        return self.steps or max(1, math.ceil(self.epochs * clips / self.batch))

    def micro_batch(self, world: int) -> int:
        """Clips per rank and micro-step."""
        return divide("train.batch / (ranks x train.accumulate)", self.batch, world * self.accumulate)


EXECUTION = ("device", "workers", "log_every", "save_every", "picture_every", "tensorboard", "compile")
"""Fields of TrainConfig that do not decide the result: a resume may change them."""


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite; the message names the step and the clips."""


Draw = Callable[[int], None]
"""Called with the number of steps done, every ``picture_every`` steps, on every rank."""

Watch = Callable[[int], dict[str, float]]
"""Called with the number of steps done after each step; what it returns is logged."""


def train(
    objective: Objective,
    batches: Batches,
    steps: int,
    config: TrainConfig,
    optim: OptimConfig,
    folder: Path,
    session: Session,
    name_clip: Callable[[int], str] = str,
    draw: Draw | None = None,
    watch: Watch | None = None,
) -> None:
    """Train ``objective`` in place until ``steps`` steps are done, from the newest checkpoint in ``folder`` on.

    ``watch`` is called on every rank. Raises ``NonFiniteLossError`` naming the step and its clips; the last good
    checkpoint is then still there.
    """
    objective.to(session.device)
    model = distributed.wrap(objective, config.parallel, session)
    optimizer = adamw(objective, optim)
    start = checkpoint.resume(folder, model, optimizer)
    forward = torch.compile(model) if config.compile else model
    stream = iter(batches(start * config.accumulate))
    log = RunLog(folder, start, steps, session.first, config.tensorboard)
    objective.train()
    clock = perf_counter()
    try:
        for step in range(start, steps):
            lr = optim.rate(step, steps, config.batch)
            set_rates(optimizer, lr, optim.decay(step, steps))
            scalars = backward(forward, model, stream, step, config, session, name_clip)
            scalars |= {"grad_norm": clip_gradient(objective, optim.clip_grad), "lr": lr}
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            done = step + 1
            objective.after_step(step / (steps * optim.stretch))
            scalars["clips_per_s"] = config.batch / (perf_counter() - clock)
            log.step({k: scalars[k] for k in ("loss", "clips_per_s")})
            seen = watch(done) if watch else {}
            scalars |= seen
            if seen or done % config.log_every == 0 or done == steps:
                log.write(done, scalars)
                log.warn(done, objective.alarms(scalars))
            if done % config.save_every == 0 or done == steps:
                checkpoint.save(folder, done, model, optimizer, write=session.first)
            if draw and (done % config.picture_every == 0 or done == steps):
                draw(done)
            clock = perf_counter()
    finally:
        log.close()


def backward(
    forward: Callable[[Batch], dict[str, torch.Tensor]],
    model: nn.Module,
    stream: Iterator[Batch],
    step: int,
    config: TrainConfig,
    session: Session,
    name_clip: Callable[[int], str],
) -> dict[str, float]:
    """Gradients of one step, over its micro-steps; returns the mean of what the objective logs, over all ranks."""
    total: dict[str, torch.Tensor] = {}
    for micro in range(config.accumulate):
        batch = session.to_device(next(stream))
        distributed.seed_step(config.seed, step, micro, session.rank)
        with distributed.accumulating(model, last=micro == config.accumulate - 1):
            with torch.autocast(session.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                out = forward(batch)
            require_finite(out["loss"], step, batch, name_clip)
            (out["loss"] / config.accumulate).backward()
        for name, value in out.items():
            total[name] = total.get(name, 0) + value.detach().float() / config.accumulate
    means = distributed.mean_over_ranks(torch.stack(list(total.values())), session)
    return dict(zip(total, means.tolist(), strict=True))


def require_finite(loss: torch.Tensor, step: int, batch: Batch, name_clip: Callable[[int], str]) -> None:
    """Stop before a NaN reaches the weights."""
    if not torch.isfinite(loss):
        clips = ", ".join(name_clip(int(i)) for i in batch["index"])
        raise NonFiniteLossError(
            f"the loss is {loss.item()} at step {step + 1}, with the clips {clips}. The last good checkpoint is kept; "
            "lower --optim.lr, set --optim.clip_grad, or look at those clips."
        )


def clip_gradient(objective: Objective, limit: float) -> float:
    """Norm of the gradient before it is cut to ``limit`` (0: only measured)."""
    norm = nn.utils.clip_grad_norm_(objective.parameters(), limit or math.inf)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)  # pyright: ignore[reportAttributeAccessIssue]
