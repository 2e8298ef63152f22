"""What training costs, before it is begun: parameters, products, memory and time of a step, of any encoder and size.

mien cost svfap_pretrain
mien cost svfap_finetune tiny --train.batch 32 --data.manifest clips.csv
mien cost vjepa_probe --model models/vjepa_h384

The recipe may be one of pretrain, finetune or probe, with their options; one of these words in front says which where it
could be several. Nothing is read but the manifest, if one is given, and for probes the model.json of each --model; nothing
is written. Memory and time come from one small step on noise, as src/mien/cost.py says; time leaves out the reading of
clips. Products (GMACs) are those of a forward pass over one clip.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor

from mien.commands import finetune, pretrain, probe
from mien.config import read_recipe, recipe_file, recipe_words
from mien.engine import distributed
from mien.engine.cost import forward_macs, noise_batch
from mien.engine.distributed import Session
from mien.engine.loop import require_company
from mien.engine.memory import available, format_bytes
from mien.interfaces import Clip, Objective, Task
from mien.models.card import ModelCard
from mien.training.initial_weights import with_encoder_of
from mien.training.preflight import ProbeCost, duration, measure_objective, measure_probes, needed, probe_times, ranks
from mien.video.clips import ClipConfig
from mien.video.manifest import read_manifest, select

OFTEN = (*pretrain.OFTEN, *finetune.OFTEN, *probe.OFTEN)
"""Options that ``--help`` explains, as far as the command that trains has them."""
CONFIGS = {"pretrain": pretrain.Config, "finetune": finetune.Config, "probe": probe.Config}
"""Whose recipes and options are understood."""
Training = pretrain.Config | finetune.Config
Config = Training | probe.Config


def guess(arguments: list[str]) -> str:
    """The command that recipes and flags belong to: the first that has all their sections."""
    used = {name for recipe in recipe_words(arguments) for name in read_recipe(recipe_file(recipe))}
    used |= {word[2:].split("=")[0].split(".")[0] for word in arguments if word.startswith("--")}
    return next((kind for kind, schema in CONFIGS.items() if used <= {f.name for f in fields(schema)}), "finetune")


def run(config: Config) -> None:
    """Print what a step costs, or features and probes."""
    if isinstance(config, probe.Config):
        say_probes(config)
    else:
        say_training(config)


def say_training(config: Training) -> None:
    """Print what a step of training costs."""
    train = config.train
    with distributed.session(train.device, train.matmul) as session:
        config = with_encoder_of(config, session.print)
        clips, (objective, target) = len(clips_of(config)), make(config)
        require_company(objective, train, session)
        objective.to(session.device)
        cost, micro = measure_objective(objective, config, session, target), train.micro_batch(session.world)
        macs = forward_macs(objective, lambda n: loss_of(objective, config, session, target, n))
        need, free = needed(cost, config, micro, session), available(session.device)
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
        for name, line in lines.items():
            session.print(f"{name:<12}{line}")


def say_probes(config: probe.Config) -> None:
    """Print what the features of each model cost, and the probes over them."""
    config = probe.settled(config)
    with distributed.session(config.device, config.matmul) as session:
        clips = clips_of(config)
        config = replace(config, task=config.task.with_columns(clips)[0]) if clips else config
        parts = probe.parts_of(clips, config) if clips else {}
        views = probe.views_in_all(parts, config) if clips else None
        names, target = config.task.example(parts.get("train", []))
        for folder in config.model:
            card = ModelCard.load(folder)
            task = config.task.build(card.build_encoder(), card.pixels, names).to(session.device).eval()
            cost = measure_probes(task, config, card.clip, target, session.device)
            whole = {} if views is None else {"whole": probe_times(cost, config, views, len(parts["train"]))}
            for name, line in (
                {"model": str(folder)} | probe_lines(task, config, card.clip, cost, views) | whole
            ).items():
                session.print(f"{name:<12}{line}")


def probe_lines(
    task: Task, config: probe.Config, clip: ClipConfig, cost: ProbeCost, views: int | None
) -> dict[str, str]:
    """What is said of one encoder and its probes; without a number of views as if they filled --features.memory."""
    device, batch = next(task.parameters()).device, config.probe.batch
    video = task.pixels(noise_batch(1, clip.frames, clip.size, device)["video"])
    tokens = torch.zeros(1, *cost.tokens, device=device)
    encoder = forward_macs(task.encoder, lambda _: task.encoder.features(video))
    head, free = forward_macs(task.head, lambda _: task.head(tokens)), available(device)
    return {
        "parameters": f"{cost.weights / 4e6:.2f} million frozen, {cost.heads} probes of {cost.head.parameters / 1e6:.2f} "
        "million learnt together",
        "products": f"{encoder / 1e9:.3g} GMACs of the encoder over one view, {head / 1e9:.3g} of a probe over its "
        f"{cost.tokens[0]} tokens",
        "memory": f"{format_bytes(cost.memory(config, clip, views))}: {format_bytes(cost.weights)} for the encoder, "
        f"{format_bytes(cost.features(config, views))} for features, {format_bytes(cost.reading(config, clip))} while "
        f"{config.views.batch} views are read or {format_bytes(cost.learning(config))} while probes learn from {batch} clips",
        "there": "not known" if free is None else format_bytes(free + cost.weights),
        "time": f"{duration(cost.seconds)} per view, {duration(cost.heads * cost.head.seconds * batch)} per step of {batch} "
        f"clips on {device}; reading not counted",
    }


def make(config: Training) -> tuple[Objective, Tensor | None]:
    """The model of a config with first weights, and the target of one made-up clip."""
    encoder = config.encoder.build(config.clip.frames, config.clip.size)
    if isinstance(config, pretrain.Config):
        return config.objective.build(encoder, config.pixels), None
    names, target = config.task.example()
    return config.task.build(encoder, config.pixels, names), target


def clips_of(config: Config) -> list[Clip]:
    """The selected clips of the manifest; none without one."""
    return select(read_manifest(Path(config.data.manifest)), config.data.select) if config.data.manifest else []


def loss_of(objective: Objective, config: Training, session: Session, target: Tensor | None, clips: int) -> Tensor:
    """The loss of noise."""
    return objective(noise_batch(clips, config.clip.frames, config.clip.size, session.device, target))["loss"]
