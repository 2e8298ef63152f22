"""What a command that trains is about to cost, printed before anything is made; what cannot fit is refused with a way out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from mien.engine.cost import COPIES, RUNTIME, Cost, measure, noise_batch, synchronize
from mien.engine.distributed import Session
from mien.engine.loop import TrainConfig
from mien.engine.memory import available, format_bytes
from mien.features.cache import DTYPES, pool_sites
from mien.interfaces import Objective, Task
from mien.training.probe_setup import ProbeSetup
from mien.video.clips import ClipConfig

WORKER = 150e6
"""Bytes of a decoding process beside what it shares with the others (benchmarks/cost.py)."""
WIDTHS = 12
"""Copies of a token that are alive at once in a block that only reads: queries, keys, values, hidden units."""
AHEAD = 2
"""Batches that each decoding process has ready, as PyTorch's loader does."""


def preflight(
    objective: Objective, clip: ClipConfig, train: TrainConfig, clips: int, session: Session, fits: str,
    target: Tensor | None = None,
) -> None:  # fmt: skip
    """Print parameters, memory and time of training on so many ``clips``; ``ValueError`` where the memory does not
    suffice, which names the recipe that ``fits``. ``target`` is that of one clip.

    The objective, its device and the random state stay as they are.
    """
    objective.to(session.device)
    cost = measure_objective(objective, clip, train, session, target)
    steps, micro = train.total(clips), train.micro_batch(session.world)
    free = available(session.device)
    room = None if free is None else free / ranks(session) + cost.weights
    need = needed(cost, clip, train, micro, session)
    session.print(
        f"{cost.parameters / 1e6:.1f} million parameters; a step of {micro} clips at once needs about {format_bytes(need)}"
        + (f", {format_bytes(room)} are there" if room is not None else "")
    )
    session.print(time_line(cost, train, steps, session))
    if room is not None and need > room:
        raise ValueError(refusal(objective, cost, clip, train, need, room, session, fits))


@dataclass(frozen=True)
class ProbeCost:
    """What probes over the features of a frozen encoder cost."""

    weights: int
    """Bytes of the encoder."""
    seconds: float
    """Of the encoder, per view."""
    tokens: tuple[int, int]
    """Tokens that a probe reads at once, and their width."""
    heads: int
    """Probes that are trained together."""
    head: Cost
    """Of one of them."""
    kept: float
    """Bytes of the features of one view, as they are kept."""
    reading: float
    """Bytes that the encoder takes while it reads."""
    learning: float
    """Bytes that the probes take while they learn."""
    most: float
    """Bytes of features that may be held in memory."""

    def features(self, views: int | None) -> float:
        """Bytes of features in memory for so many views; of None, all that may be there."""
        return self.most if views is None else min(self.most, self.kept * views)

    def memory(self, views: int | None) -> float:
        """Bytes at the peak."""
        return self.weights + RUNTIME + self.features(views) + max(self.reading, self.learning)


def measure_probes(task: Task, setup: ProbeSetup, clip: ClipConfig, target: Tensor) -> ProbeCost:
    """One view through the encoder of ``task`` and one small step of its head."""
    encoder, device = task.encoder, setup.device
    video = noise_batch(1, clip.frames, clip.size, device)["video"]
    with torch.inference_mode(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        began = perf_counter()
        tokens = encoder.features(task.pixels(video))
        synchronize(device)
        seconds, inside = perf_counter() - began, tokens.numel()
        tokens = pool_sites(tokens, encoder.grid, setup.features.pool)
    one = tokens.clone().repeat(1, task.segments, 1).float()  # a tensor that autograd may keep

    def loss(clips: int) -> Tensor:
        answer = task.head(one.expand(clips, -1, -1).contiguous())
        return task.losses(answer, target.expand(clips, *target.shape).to(device))["loss"]

    batch, heads = setup.probe.batch, len(setup.probe.settings()) * setup.probe.seeds
    cost = measure(task.head, loss, 0, device, most=batch)
    pixels = 3 * clip.frames * clip.size**2
    return ProbeCost(
        weights=4 * sum(p.numel() for p in encoder.parameters()),
        seconds=seconds,
        tokens=(one.shape[1], one.shape[2]),
        heads=heads,
        head=cost,
        kept=DTYPES[setup.features.dtype].itemsize * tokens.numel(),
        reading=setup.views.batch * (4 * COPIES * pixels + 4 * WIDTHS * inside),
        learning=heads * (cost.memory(batch) - RUNTIME) + 4 * batch * one.shape[1] * one.shape[2],
        most=0.0 if setup.features.live else setup.features.memory * 2**30,
    )


def preflight_probes(task: Task, setup: ProbeSetup, clip: ClipConfig, views: int, clips: int, target: Tensor) -> None:
    """The same for probes over the features of a frozen encoder: it reads ``views``, they learn from ``clips``."""
    cost = measure_probes(task, setup, clip, target)
    need, free = cost.memory(views), available(setup.device)
    room = None if free is None else free + cost.weights
    print(
        f"{cost.weights / 4e6:.1f} million frozen parameters, {cost.heads} probes of {cost.head.parameters / 1e6:.2f} million; "
        f"they need about {format_bytes(need)}"
        + (f", {format_bytes(room)} are there" if room is not None else "")
        + "\n"
        f"{probe_times(cost, setup, views, clips)}; the reading of clips not counted",
        flush=True,
    )
    if room is not None and need > room:
        raise ValueError(
            f"probing needs about {format_bytes(need)} of memory, and {format_bytes(room)} are there. Lower --views.batch, "
            "--probe.batch, --features.memory, --segments or the number of --probe.lrs, or take --features.pool 2"
        )


def probe_times(cost: ProbeCost, setup: ProbeSetup, views: int, clips: int) -> str:
    """Time for all features and for all epochs."""
    again = "read anew in each epoch" if setup.features.live else "kept ones are not made again"
    return (
        f"at most {duration(cost.seconds * views)} for the features of {views} views ({again}), then about "
        f"{duration(cost.heads * cost.head.seconds * clips * setup.probe.epochs)} for {setup.probe.epochs} epochs"
    )


def loss_of_noise(
    objective: Objective, clip: ClipConfig, device: torch.device, target: Tensor | None
) -> Callable[[int], Tensor]:
    """The loss of an objective over so many made-up clips."""
    return lambda clips: objective(noise_batch(clips, clip.frames, clip.size, device, target))["loss"]


def measure_objective(
    objective: Objective, clip: ClipConfig, train: TrainConfig, session: Session, target: Tensor | None
) -> Cost:
    """One small step of an objective at the size of its clips."""
    loss, pixels = loss_of_noise(objective, clip, session.device, target), 3 * clip.frames * clip.size**2
    return measure(objective, loss, pixels, session.device, train.precision, train.micro_batch(session.world))


def needed(cost: Cost, clip: ClipConfig, train: TrainConfig, micro: int, session: Session) -> float:
    """Bytes of a step over ``micro`` clips at once: the model's, and on a CPU those of the processes that decode and of
    the batches that they hold ready."""
    bucket = 4 * cost.trained if session.world > 1 else 0
    batch = micro * 3 * clip.frames * clip.size**2
    decoding = train.workers * (WORKER + AHEAD * batch) + batch if session.device.type == "cpu" else 0
    return cost.memory(micro) + bucket + decoding


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
    objective: Objective, cost: Cost, clip: ClipConfig, train: TrainConfig, need: float, room: float, session: Session,
    fits: str,
) -> str:  # fmt: skip
    """What to lower, by how much, or which recipe to take."""
    why = (
        f"a step of {train.micro_batch(session.world)} clips needs about {format_bytes(need)} of memory "
        f"({format_bytes(cost.weights + cost.optimizer_bytes)} for the model and its optimizer, {format_bytes(cost.bytes_per_clip)} for each clip), and "
        f"{format_bytes(room)} are there. "
    )
    share = train.batch // session.world
    splits = [a for a in range(train.accumulate + 1, share + 1) if train.batch % (session.world * a) == 0]
    split = next((a for a in splits if needed(cost, clip, train, share // a, session) <= room), None)
    same = split and objective.mean_over_clips and share // split >= objective.least_clips
    way = f"Take --train.accumulate {split}, which gives the same gradient, or lower" if same else "Lower"
    sizes = "--train.batch, --clip.size, --train.workers or the sizes of the encoder"
    return f"{why}{way} {sizes}; {fits} fits a small machine"
