"""What a command that trains is about to cost, said before anything is made; what cannot fit is refused with a way out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from mien.engine.cost import COPIES, RUNTIME, Cost, measure, noise_batch, synchronize
from mien.engine.distributed import Session
from mien.engine.loop import TrainConfig
from mien.engine.memory import available, format_bytes
from mien.features.cache import DTYPES, pool_sites
from mien.interfaces import Objective, Task
from mien.video.clips import ClipConfig

WORKER = 150e6
"""Bytes of a decoding process beside what it shares with the others (benchmarks/cost.py)."""
WIDTHS = 12
"""Copies of a token that are alive at once in a block that only reads: queries, keys, values, hidden units."""
AHEAD = 2
"""Batches that each decoding process has ready, as PyTorch's loader does."""


def preflight(
    objective: Objective, config: Any, clips: int, session: Session, fits: str, target: Tensor | None = None
) -> None:
    """Print parameters, memory and time of what ``config`` (with clip and train) asks for; ``ValueError`` where the memory
    does not suffice, which names the recipe that ``fits``. ``target`` is that of one clip.

    The objective, its device and the random state stay as they are.
    """
    train: TrainConfig = config.train
    objective.to(session.device)
    cost = measure_objective(objective, config, session, target)
    steps, micro = train.total(clips), train.micro_batch(session.world)
    free = available(session.device)
    room = None if free is None else free / ranks(session) + cost.weights
    need = needed(cost, config, micro, session)
    session.print(
        f"{cost.parameters / 1e6:.1f} million parameters; a step of {micro} clips at once needs about {format_bytes(need)}"
        + (f", {format_bytes(room)} are there" if room is not None else "")
    )
    session.print(time_line(cost, train, steps, session))
    if room is not None and need > room:
        raise ValueError(refusal(objective, cost, config, need, room, session, fits))


@dataclass(frozen=True)
class ProbeCost:
    """What probes over the features of a frozen encoder cost."""

    weights: int
    """Bytes of the encoder."""
    seconds: float
    """Of the encoder, per view."""
    inside: int
    """Numbers of a view's tokens as the encoder gives them."""
    tokens: tuple[int, int]
    """Tokens that a probe reads at once, and their width."""
    heads: int
    """Probes that are trained together."""
    head: Cost
    """Of one of them."""
    kept: float
    """Bytes of the features of one view, as they are kept."""

    def features(self, config: Any, views: int | None) -> float:
        """Bytes of features in memory for so many views; of None, all that may be there."""
        most = 0.0 if config.features.live else config.features.memory * 2**30
        return most if views is None else min(most, self.kept * views)

    def reading(self, config: Any, clip: ClipConfig) -> float:
        """Bytes that the encoder takes while it reads."""
        pixels = 3 * clip.frames * clip.size**2
        return config.views.batch * (4 * COPIES * pixels + 4 * WIDTHS * self.inside)

    def learning(self, config: Any) -> float:
        """Bytes that the probes take while they learn."""
        batch: int = config.probe.batch
        return self.heads * (self.head.memory(batch) - RUNTIME) + 4 * batch * self.tokens[0] * self.tokens[1]

    def memory(self, config: Any, clip: ClipConfig, views: int | None) -> float:
        """Bytes at the peak."""
        work = max(self.reading(config, clip), self.learning(config))
        return self.weights + RUNTIME + self.features(config, views) + work


def measure_probes(task: Task, config: Any, clip: ClipConfig, target: Tensor, device: torch.device) -> ProbeCost:
    """One view through the encoder of ``task`` and one small step of its head; ``config`` is that of mien probe."""
    encoder = task.encoder
    video = noise_batch(1, clip.frames, clip.size, device)["video"]
    with torch.inference_mode(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        began = perf_counter()
        tokens = encoder.features(task.pixels(video))
        synchronize(device)
        seconds, inside = perf_counter() - began, tokens.numel()
        tokens = pool_sites(tokens, encoder.grid, config.features.pool)
    one = tokens.clone().repeat(1, task.segments, 1).float()  # a tensor that autograd may keep

    def loss(clips: int) -> Tensor:
        answer = task.head(one.expand(clips, -1, -1).contiguous())
        return task.losses(answer, target.expand(clips, *target.shape).to(device))["loss"]

    cost = measure(task.head, loss, 0, device, most=config.probe.batch)
    return ProbeCost(
        4 * sum(p.numel() for p in encoder.parameters()), seconds, inside, (one.shape[1], one.shape[2]),
        len(config.probe.settings()) * config.probe.seeds, cost, DTYPES[config.features.dtype].itemsize * tokens.numel(),
    )  # fmt: skip


def preflight_probes(
    task: Task, config: Any, clip: ClipConfig, views: int, clips: int, target: Tensor, device: torch.device
) -> None:
    """The same for probes over the features of a frozen encoder: it reads ``views``, they learn from ``clips``."""
    cost = measure_probes(task, config, clip, target, device)
    need, free = cost.memory(config, clip, views), available(device)
    room = None if free is None else free + cost.weights
    print(
        f"{cost.weights / 4e6:.1f} million frozen parameters, {cost.heads} probes of {cost.head.parameters / 1e6:.2f} million; "
        f"they need about {format_bytes(need)}"
        + (f", {format_bytes(room)} are there" if room is not None else "")
        + "\n"
        f"{probe_times(cost, config, views, clips)}; the reading of clips not counted",
        flush=True,
    )
    if room is not None and need > room:
        raise ValueError(
            f"probing needs about {format_bytes(need)} of memory, and {format_bytes(room)} are there. Lower --views.batch, "
            "--probe.batch, --features.memory, --segments or the number of --probe.lrs, or take --features.pool 2"
        )


def probe_times(cost: ProbeCost, config: Any, views: int, clips: int) -> str:
    """Time for all features and for all epochs."""
    again = "read anew in each epoch" if config.features.live else "kept ones are not made again"
    return (
        f"at most {duration(cost.seconds * views)} for the features of {views} views ({again}), then about "
        f"{duration(cost.heads * cost.head.seconds * clips * config.probe.epochs)} for {config.probe.epochs} epochs"
    )


def measure_objective(objective: Objective, config: Any, session: Session, target: Tensor | None) -> Cost:
    """One small step of an objective at the size of ``config.clip``."""

    def loss(clips: int) -> Tensor:
        return objective(noise_batch(clips, config.clip.frames, config.clip.size, session.device, target))["loss"]

    pixels = 3 * config.clip.frames * config.clip.size**2
    most = config.train.micro_batch(session.world)
    return measure(objective, loss, pixels, session.device, config.train.precision, most)


def needed(cost: Cost, config: Any, micro: int, session: Session) -> float:
    """Bytes of a step over ``micro`` clips at once: the model's, and on a CPU those of the batches that wait for it."""
    bucket = 4 * cost.trained if session.world > 1 else 0
    if session.device.type != "cpu":
        return cost.memory(micro) + bucket
    return cost.memory(micro) + bucket + waiting(config, micro)


def waiting(config: Any, micro: int) -> float:
    """Bytes of the decoding processes and of the batches they hold ready."""
    clip = 3 * config.clip.frames * config.clip.size**2
    return config.train.workers * (WORKER + AHEAD * micro * clip) + micro * clip


def ranks(session: Session) -> int:
    """Processes that share one device's memory."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", session.world)) if session.device.type == "cpu" else 1


def time_line(cost: Cost, train: TrainConfig, steps: int, session: Session) -> str:
    """Time per step and for the whole."""
    step = cost.seconds * train.batch / session.world
    how = f"measured on {cost.timed_clips} clips" if cost.timed_clips else "reckoned from a forward pass over one clip"
    return (
        f"about {duration(step)} per step of {train.batch} clips, {duration(step * steps)} for {steps} steps ({how}; the "
        "reading of clips not counted)"
    )


def duration(seconds: float) -> str:
    """A time for a reader."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def refusal(
    objective: Objective, cost: Cost, config: Any, need: float, room: float, session: Session, fits: str
) -> str:
    """What to lower, by how much, or which recipe to take."""
    train: TrainConfig = config.train
    said = (
        f"a step of {train.micro_batch(session.world)} clips needs about {format_bytes(need)} of memory "
        f"({format_bytes(cost.weights + cost.optimizer_bytes)} for the model and its optimizer, {format_bytes(cost.bytes_per_clip)} for each clip), and "
        f"{format_bytes(room)} are there. "
    )
    splits = [
        a
        for a in range(train.accumulate + 1, train.batch // session.world + 1)
        if train.batch % (session.world * a) == 0
    ]
    way = next((a for a in splits if needed(cost, config, train.batch // (session.world * a), session) <= room), None)
    if way and objective.mean_over_clips and train.batch // (session.world * way) >= objective.least_clips:
        said += f"Take --train.accumulate {way}, which gives the same gradient, or lower "
    else:
        said += "Lower "
    return (
        said + f"--train.batch, --clip.size, --train.workers or the sizes of the encoder; {fits} fits a small machine"
    )
