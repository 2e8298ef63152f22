"""What training or probing costs, as lines for a person: parameters, products, memory and time."""

from __future__ import annotations

import torch
from torch import Tensor

from mien.engine.cost import forward_macs, noise_batch
from mien.engine.distributed import Session
from mien.engine.loop import TrainConfig
from mien.engine.memory import available, format_bytes
from mien.interfaces import Objective, Task
from mien.training.preflight import (
    ProbeCost,
    duration,
    loss_of_noise,
    measure_objective,
    measure_probes,
    needed,
    probe_times,
    ranks,
)
from mien.training.probe_setup import ProbeSetup
from mien.video.clips import ClipConfig


def training_costs(
    objective: Objective, clip: ClipConfig, train: TrainConfig, clips: int, session: Session, target: Tensor | None
) -> dict[str, str]:
    """What a step of training costs, and the whole where the number of clips is known (not 0)."""
    objective.to(session.device)
    cost, micro = measure_objective(objective, clip, train, session, target), train.micro_batch(session.world)
    macs = forward_macs(objective, loss_of_noise(objective, clip, session.device, target))
    need, free = needed(cost, clip, train, micro, session), available(session.device)
    step = cost.seconds * train.batch / session.world
    lines = {
        "parameters": f"{cost.parameters / 1e6:.2f} million, {cost.trained / 1e6:.2f} million of them learnt",
        "products": f"{macs / 1e9:.2f} GMACs in a forward pass over one clip",
        "memory": f"{format_bytes(need)} for {micro} clips at once: {format_bytes(cost.weights + cost.optimizer_bytes)} for weights, "
        f"gradients and moments, {format_bytes(cost.bytes_per_clip)} for each clip; estimated from 1 and 2 clips",
        "there": "not known" if free is None else format_bytes(free / ranks(session) + cost.weights),
        "time": f"{duration(step)} per step of {train.batch} clips on {session.device}, from "
        + (f"one step over {cost.timed_clips} clips" if cost.timed_clips else "a forward pass over one clip")
        + "; reading not counted",
    }
    if clips or train.steps:
        steps = train.total(clips)
        lines["whole"] = f"{duration(step * steps)} for {steps} steps"
    return lines


def probing_costs(
    task: Task, setup: ProbeSetup, clip: ClipConfig, target: Tensor, views: int | None, clips: int
) -> dict[str, str]:
    """What the features of one encoder and its probes cost; without a number of views as if they filled
    --features.memory."""
    cost = measure_probes(task, setup, clip, target)
    whole = {} if views is None else {"whole": probe_times(cost, setup, views, clips)}
    return probe_lines(task, setup, clip, cost, views) | whole


def probe_lines(task: Task, setup: ProbeSetup, clip: ClipConfig, cost: ProbeCost, views: int | None) -> dict[str, str]:
    """The lines of one step, and of the memory of all."""
    device, batch = setup.device, setup.probe.batch
    video = task.pixels(noise_batch(1, clip.frames, clip.size, device)["video"])
    tokens = torch.zeros(1, *cost.tokens, device=device)
    encoder = forward_macs(task.encoder, lambda _: task.encoder.features(video))
    head, free = forward_macs(task.head, lambda _: task.head(tokens)), available(device)
    return {
        "parameters": f"{cost.weights / 4e6:.2f} million frozen, {cost.heads} probes of {cost.head.parameters / 1e6:.2f} "
        "million learnt together",
        "products": f"{encoder / 1e9:.3g} GMACs of the encoder over one view, {head / 1e9:.3g} of a probe over its "
        f"{cost.tokens[0]} tokens",
        "memory": f"{format_bytes(cost.memory(views))}: {format_bytes(cost.weights)} for the encoder, "
        f"{format_bytes(cost.features(views))} for features, {format_bytes(cost.reading)} while {setup.views.batch} views are "
        f"read or {format_bytes(cost.learning)} while probes learn from {batch} clips",
        "there": "not known" if free is None else format_bytes(free + cost.weights),
        "time": f"{duration(cost.seconds)} per view, {duration(cost.heads * cost.head.seconds * batch)} per step of {batch} "
        f"clips on {device}; reading not counted",
    }
