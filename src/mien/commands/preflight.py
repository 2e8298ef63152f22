"""What a command that trains is about to cost, said before anything is made; what cannot fit is refused with a way out."""

from __future__ import annotations

import os
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from mien.cost import COPIES, RUNTIME, Cost, finish, made_up, measure
from mien.distributed import Session
from mien.interfaces import Objective, Task
from mien.memory import available, gigabytes
from mien.training import TrainConfig
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
    session.say(
        f"{cost.parameters / 1e6:.1f} million parameters; a step of {micro} clips at once needs about {gigabytes(need)}"
        + (f", {gigabytes(room)} are there" if room is not None else "")
    )
    session.say(time_line(cost, train, steps, session))
    if room is not None and need > room:
        raise ValueError(refusal(objective, cost, config, need, room, session, fits))


def preflight_probes(
    task: Task, heads: int, config: Any, clip: ClipConfig, views: int, clips: int, target: Tensor, device: torch.device
) -> None:
    """The same for ``heads`` probes over the features of a frozen encoder: ``views`` of all clips are read, and ``clips``
    of them are learnt from."""
    encoder, pixels = task.encoder, 3 * clip.frames * clip.size**2
    video = made_up(1, clip.frames, clip.size, device)["video"]
    with torch.inference_mode(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        began = perf_counter()
        tokens = encoder.features(task.pixels(video))
        finish(device)
        read = perf_counter() - began
    joint = task.segments if task.segments > 1 else 1
    one = tokens.clone().repeat(1, joint, 1).float()  # a tensor that autograd may keep
    cost = measure(
        task.head,
        lambda n: task.judge(task.head(one.expand(n, -1, -1).contiguous()), target.expand(n, *target.shape).to(device))[
            "loss"
        ],
        0,
        device,
        most=config.probe.batch,
    )
    batch: int = config.probe.batch
    features = min(config.features.memory * 2**30, 4.0 * tokens.numel() * views)
    reading = config.views.batch * (4 * COPIES * pixels + 4 * WIDTHS * tokens.numel())
    learning = heads * (cost.memory(batch) - RUNTIME) + 4 * batch * one.numel()
    weights = 4 * sum(p.numel() for p in encoder.parameters())
    need, free = weights + RUNTIME + features + max(reading, learning), available(device)
    room = None if free is None else free + weights
    print(
        f"{weights / 4e6:.1f} million frozen parameters, {heads} probes of {cost.parameters / 1e6:.2f} million; they need about "
        f"{gigabytes(need)}" + (f", {gigabytes(room)} are there" if room is not None else "") + "\n"
        f"at most {duration(read * views)} for the features of {views} views (kept ones are not made again), then about "
        f"{duration(heads * cost.seconds * clips * config.probe.epochs)} for {config.probe.epochs} epochs; the reading of "
        "clips not counted",
        flush=True,
    )
    if room is not None and need > room:
        raise ValueError(
            f"probing needs about {gigabytes(need)} of memory, and {gigabytes(room)} are there. Lower --views.batch, "
            "--probe.batch, --features.memory, --segments or the number of --probe.lrs, or take --features.pool 2"
        )


def measure_objective(objective: Objective, config: Any, session: Session, target: Tensor | None) -> Cost:
    """One small step of an objective at the size of ``config.clip``."""

    def loss(clips: int) -> Tensor:
        return objective(made_up(clips, config.clip.frames, config.clip.size, session.device, target))["loss"]

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
    how = f"measured on {cost.measured} clips" if cost.measured else "reckoned from a forward pass over one clip"
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
        f"a step of {train.micro_batch(session.world)} clips needs about {gigabytes(need)} of memory "
        f"({gigabytes(cost.weights + cost.states)} for the model and its optimizer, {gigabytes(cost.each)} for each clip), and "
        f"{gigabytes(room)} are there. "
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
