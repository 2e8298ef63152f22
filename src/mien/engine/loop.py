"""The training loop: any Objective, one CPU process or many GPUs, and nothing lost when it is killed.

Nothing here depends on history but the weights, the optimizer's moments and the step: order, clips, masks and rates
are functions of (seed, step), so a run that was killed and started again ends with the same weights, bit for bit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn

from mien.config import STRICT
from mien.engine import checkpoint, distributed
from mien.engine.checkpoint import NonFiniteError
from mien.engine.distributed import Session
from mien.engine.optim import OptimConfig, adamw, set_rates
from mien.engine.runlog import RunLog
from mien.engine.stopping import Stopped, Stopper
from mien.interfaces import Batch, Objective
from mien.modules.layers import divide_exactly, drawn_paths


@dataclasses.dataclass(frozen=True)
class MicroBatch:
    """What one rank takes in one micro-step."""

    batch: Batch
    weight: float = 1.0
    """Its clips over an even share of the step's, by which its mean loss counts: 1 but where clips are left out."""
    none_left: bool = False
    """Whether all clips of the whole step, over all ranks, are left out."""


MicroBatches = Callable[[int], Iterable[MicroBatch]]
"""Micro-batches of this rank from a step on, endlessly."""


@dataclass(frozen=True, config=STRICT)
class TrainConfig(distributed.ReaderOptions):
    """Length, batch, precision and what is kept."""

    steps: NonNegativeInt = 0
    """Optimizer steps; 0 takes epochs."""
    epochs: PositiveFloat = 100.0
    """Passes over the training clips, if steps is 0."""
    batch: PositiveInt = 256
    """Clips per optimizer step, over all ranks and micro-steps."""
    accumulate: PositiveInt = 1
    """Micro-steps per optimizer step: less memory, same gradient. Mixup and cutmix blend clips of one micro-step."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs matrix products in bfloat16 (autocast); weights stay fp32."""
    parallel: distributed.Parallel = "ddp"
    """Over several ranks: ddp copies the model, fsdp shards it."""
    compile: bool = False
    """torch.compile the model: worth it on GPUs, needs a C++ compiler on CPUs. Masks, mixing and drop path are the same."""
    seed: NonNegativeInt = 0
    """All randomness follows from it."""
    skip: tuple[str, ...] = ()
    """Training clips that broke since the run began, by line of the manifest or by file: from the step at which the run
    stands on their places stay empty, so that batch is smaller. The run keeps this, and every report on it says so."""
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
        return divide_exactly("train.batch / (ranks x train.accumulate)", self.batch, world * self.accumulate)


EXECUTION = ("device", "workers", "log_every", "save_every", "picture_every", "tensorboard", "compile", "skip")
"""Fields of TrainConfig that a resume may change: they do not decide the result, or (skip) are kept in the run's folder."""


DrawPictures = Callable[[int], None]
"""Called with the number of steps done, every ``picture_every`` steps, on every rank."""

Validate = Callable[[int], dict[str, float]]
"""Called with the number of steps done after each step; what it returns is logged."""


def train(
    objective: Objective,
    batches: MicroBatches,
    steps: int,
    config: TrainConfig,
    optim: OptimConfig,
    folder: Path,
    session: Session,
    name_clip: Callable[[int], str] = str,
    draw: DrawPictures | None = None,
    validate: Validate | None = None,
) -> None:
    """Train ``objective`` in place until ``steps`` steps are done, from the newest checkpoint in ``folder`` on.

    ``validate`` is called on every rank. A step none of whose clips is left changes nothing. Raises ``NonFiniteError``
    where loss or gradient are not finite, naming the step and its clips, before they reach the weights. SIGINT and SIGTERM
    end it with ``Stopped`` after the step under way and a checkpoint of it.
    """
    require_whole_batches(objective, config, session)
    objective.to(session.device)
    model = distributed.wrap(objective, config.parallel, session)
    optimizer = adamw(objective, optim)
    start = checkpoint.resume(folder, model, optimizer, session)
    forward = torch.compile(model) if config.compile else model
    stream = iter(batches(start))
    log = RunLog(folder, start, steps, session.first, config.tensorboard)
    objective.train()
    clock = perf_counter()

    def end(done: int, number: int) -> Stopped:
        checkpoint.save(folder, done, model, optimizer, write=True)
        return stopped(number, done, steps)

    with closing(log), Stopper() as stop:
        for step in range(start, steps):
            set_rates(optimizer, lr := optim.rate(step, steps, config.batch), optim.decay(step, steps))
            with stop.ending(
                session.world == 1, partial(end, step)
            ):  # the step cannot be taken, those before it are kept
                scalars, clips = backward(forward, model, objective, stream, step, config, session, name_clip)
            if scalars:
                scalars |= {"grad_norm": clip_gradient(objective, optim.clip_grad), "lr": lr}
                if not math.isfinite(scalars["grad_norm"]):
                    named = distributed.gather(clips, session)
                    raise not_finite("gradient", scalars["grad_norm"], step, named, name_clip)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                objective.after_step(step / (steps * optim.stretch))
            done = step + 1
            scalars["clips_per_s"] = config.batch / (perf_counter() - clock)
            log.step({k: scalars[k] for k in ("loss", "clips_per_s") if k in scalars})
            with stop.ending(session.world == 1, partial(not_validated, done, steps)):
                scores = validate(done) if validate else {}
            if scores or done % config.log_every == 0 or done == steps:
                log.write(done, scalars | scores)
                log.warn(done, objective.alarms(scalars | scores))
            number = session.max_over_ranks(stop.number)
            if number or done % config.save_every == 0 or done == steps:
                checkpoint.save(folder, done, model, optimizer, write=session.first)
            if draw and (done % config.picture_every == 0 or done == steps):
                draw(done)
            if number and done < steps:
                raise stopped(number, done, steps)
            clock = perf_counter()


def not_validated(done: int, steps: int, number: int) -> Stopped:
    """What a signal ends a validation with: no checkpoint is kept, so that the step is validated when it is done again."""
    return Stopped(
        number,
        f"stopped while step {done} of {steps} was validated; the same command goes on from the newest checkpoint",
    )


def stopped(number: int, done: int, steps: int) -> Stopped:
    """What a signal ends training with."""
    return Stopped(number, f"stopped after step {done} of {steps}; the same command goes on from there")


def require_whole_batches(objective: Objective, config: TrainConfig, session: Session) -> None:
    """Refuse to split batches whose loss is not a mean over clips: the parts would add up to another gradient."""
    if not objective.mean_over_clips and session.world * config.accumulate > 1:
        raise ValueError(
            f"this loss is computed over the whole batch, not clip by clip, so the gradients of {session.world} ranks x "
            f"{config.accumulate} micro-steps do not add up to that of the batch. Take one process and --train.accumulate "
            "1, with a --train.batch that fits into memory, or a loss that is a mean over clips (--task.loss mse)"
        )


def require_company(objective: Objective, config: TrainConfig, session: Session) -> None:
    """Refuse micro-steps of a single clip where clips are blended with one another: it would be blended with itself."""
    if config.micro_batch(session.world) < objective.least_clips:
        raise ValueError(
            f"mixup and cutmix blend the clips of one micro-step, which is a single clip here (--train.batch {config.batch} / "
            f"({session.world} ranks x --train.accumulate {config.accumulate})), so they would change nothing. Take a larger "
            "--train.batch or a smaller --train.accumulate, or leave mixing out: --task.mixup 0 --task.cutmix 0"
        )


def backward(
    forward: Callable[[Batch], dict[str, torch.Tensor]],
    model: nn.Module,
    objective: Objective,
    stream: Iterator[MicroBatch],
    step: int,
    config: TrainConfig,
    session: Session,
    name_clip: Callable[[int], str],
) -> tuple[dict[str, float], list[int]]:
    """Gradients of one step, over its micro-steps; returns the mean of what the objective logs over all clips of all
    ranks, which is nothing where the step has no clips left, and the clips of this rank.

    All chance is drawn here, before ``forward``, which may be compiled.
    """
    total: dict[str, torch.Tensor] = {}
    clips: list[int] = []
    for micro in range(config.accumulate):
        part = next(stream)
        if part.none_left:
            continue
        batch, weight = session.to_device(part.batch), part.weight / config.accumulate
        distributed.seed_step(config.seed, step, micro, session.rank)
        batch = objective.draw(batch)
        paths = drawn_paths(objective, len(batch["index"]), session.device)
        with paths, distributed.accumulating(model, last=micro == config.accumulate - 1):
            with torch.autocast(session.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                out = forward(batch)
            clips += [int(i) for i in batch["index"] if i >= 0]
            if not torch.isfinite(out["loss"]):
                raise not_finite("loss", out["loss"].item(), step, clips[-len(batch["index"]) :], name_clip)
            (out["loss"] * weight).backward()
        for name, value in out.items():
            total[name] = total.get(name, 0) + value.detach().float() * weight
    if not total:
        return {}, clips
    means = distributed.mean_over_ranks(torch.stack(list(total.values())), session)
    return dict(zip(total, means.tolist(), strict=True)), clips


def not_finite(
    what: str, value: float, step: int, clips: Sequence[int], name_clip: Callable[[int], str], shown: int = 20
) -> NonFiniteError:
    """The error of a loss or gradient that is NaN or infinite, before it reaches the weights."""
    names = ", ".join(map(name_clip, clips[:shown])) + (f" and {len(clips) - shown} more" if len(clips) > shown else "")
    return NonFiniteError(
        f"the {what} is {value} at step {step + 1}, with the clips {names}. The last good checkpoint is kept; lower "
        "--optim.lr, set --optim.clip_grad, or look at those clips and their labels"
    )


def clip_gradient(objective: Objective, limit: float) -> float:
    """Norm of the gradient before it is cut to ``limit`` (0: only measured)."""
    norm = nn.utils.clip_grad_norm_(objective.parameters(), limit or math.inf)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)  # pyright: ignore[reportAttributeAccessIssue]
