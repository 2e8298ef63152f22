"""What a command that trains is about to cost, said before anything is made; what cannot fit is refused with a way out."""

from __future__ import annotations

import os
from typing import Any

from torch import Tensor

from mien.cost import Cost, made_up, measure
from mien.distributed import Session
from mien.interfaces import Objective
from mien.memory import available, gigabytes
from mien.training import TrainConfig

WORKER = 150e6
"""Bytes of a decoding process beside what it shares with the others (benchmarks/cost.py)."""
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


def measure_objective(objective: Objective, config: Any, session: Session, target: Tensor | None) -> Cost:
    """One small step of an objective at the size of ``config.clip``."""

    def loss(clips: int) -> Tensor:
        return objective(made_up(clips, config.clip.frames, config.clip.size, session.device, target))["loss"]

    pixels = 3 * config.clip.frames * config.clip.size**2
    return measure(objective, loss, pixels, session.device, config.train.precision)


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
    if way and objective.mean_over_clips:
        said += f"Take --train.accumulate {way}, which gives the same gradient, or lower "
    else:
        said += "Lower "
    return (
        said + f"--train.batch, --clip.size, --train.workers or the sizes of the encoder; {fits} fits a small machine"
    )
