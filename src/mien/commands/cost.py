"""What training costs, before it is begun: parameters, products, memory and time of a step, of any encoder and size.

mien cost recipes/svfap_pretrain.yaml
mien cost recipes/finetune.yaml recipes/tiny.yaml --train.batch 32 --data.manifest clips.csv

The recipe may be one of pretrain or of finetune, with their options; the words pretrain or finetune in front say which
where it could be either. Nothing is read but the manifest, if one is given, and nothing is written. Memory and time
come from one small step on noise, as src/mien/cost.py says; time leaves out the reading of clips. Products (GMACs) are
those of a forward pass over one clip.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from torch import Tensor

from mien import distributed
from mien.commands import finetune, pretrain
from mien.commands.preflight import duration, measure_objective, needed, ranks
from mien.config import read_recipe
from mien.cost import made_up, products
from mien.distributed import Session
from mien.interfaces import Objective
from mien.memory import available, gigabytes
from mien.video.manifest import read_manifest, select

OFTEN = (*pretrain.OFTEN, *finetune.OFTEN)
"""Options that ``--help`` explains, as far as the command that trains has them."""
CONFIGS = {"pretrain": pretrain.Config, "finetune": finetune.Config}
"""Whose recipes and options are understood."""
Config = pretrain.Config | finetune.Config


def guess(arguments: list[str]) -> str:
    """The command that recipes and flags belong to: the first that has all their sections."""
    recipes = [Path(word) for word in arguments if word.endswith((".yaml", ".yml"))]
    used = {name for recipe in recipes for name in read_recipe(recipe)}
    used |= {word[2:].split("=")[0].split(".")[0] for word in arguments if word.startswith("--")}
    return next((kind for kind, schema in CONFIGS.items() if used <= {f.name for f in fields(schema)}), "finetune")


def run(config: Config) -> None:
    """Print what a step costs."""
    train = config.train
    with distributed.session(train.device, train.matmul) as session:
        clips, (objective, target) = count(config), make(config)
        objective.to(session.device)
        cost, micro = measure_objective(objective, config, session, target), train.micro_batch(session.world)
        macs = products(objective, lambda n: loss_of(objective, config, session, target, n))
        need, free = needed(cost, config, micro, session), available(session.device)
        step = cost.seconds * train.batch / session.world
        lines = {
            "parameters": f"{cost.parameters / 1e6:.2f} million, {cost.trained / 1e6:.2f} million of them learnt",
            "products": f"{macs / 1e9:.2f} GMACs in a forward pass over one clip",
            "memory": f"{gigabytes(need)} for {micro} clips at once: {gigabytes(cost.weights + cost.states)} for weights, "
            f"gradients and moments, {gigabytes(cost.each)} for each clip; estimated from 1 and 2 clips",
            "there": "not known" if free is None else gigabytes(free / ranks(session) + cost.weights),
            "time": f"{duration(step)} per step of {train.batch} clips on {session.device}, from "
            + (f"one step over {cost.measured} clips" if cost.measured else "a forward pass over one clip")
            + "; reading not counted",
        }
        if clips or train.steps:
            steps = train.total(clips)
            lines["whole"] = f"{duration(step * steps)} for {steps} steps"
        for name, line in lines.items():
            session.say(f"{name:<12}{line}")


def make(config: Config) -> tuple[Objective, Tensor | None]:
    """The model of a config with first weights, and the target of one made-up clip."""
    encoder = config.encoder.build(config.clip.frames, config.clip.size)
    if isinstance(config, pretrain.Config):
        return config.objective.build(encoder, config.pixels), None
    names, target = config.task.example()
    return config.task.build(encoder, config.pixels, names), target


def count(config: Config) -> int:
    """Clips of the manifest; 0 without one."""
    return len(select(read_manifest(Path(config.data.manifest)), config.data.select)) if config.data.manifest else 0


def loss_of(objective: Objective, config: Config, session: Session, target: Tensor | None, clips: int) -> Tensor:
    """The loss of noise."""
    return objective(made_up(clips, config.clip.frames, config.clip.size, session.device, target))["loss"]
