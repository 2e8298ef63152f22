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

from mien.commands import finetune, pretrain, probe
from mien.config import read_recipe, recipe_file, recipe_words
from mien.engine import distributed
from mien.engine.loop import require_company
from mien.interfaces import Clip
from mien.models.card import ModelCard
from mien.training.cost_table import probing_costs, training_costs
from mien.training.data import DataConfig
from mien.training.initial_weights import initial_encoder
from mien.training.partition import divide
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
        print_probes(config)
    else:
        print_training(config)


def print_training(config: Training) -> None:
    """Print what a step of training costs."""
    train = config.train
    with distributed.session(train.device, train.matmul) as session:
        encoder = initial_encoder(config.encoder, config.init, session.print)
        clips, encoder = len(clips_of(config.data)), encoder.build(config.clip.frames, config.clip.size)
        if isinstance(config, pretrain.Config):
            objective, target = config.objective.build(encoder, config.pixels), None
        else:
            names, target = config.task.example()
            objective = config.task.build(encoder, config.pixels, names)
        require_company(objective, train, session)
        for name, line in training_costs(objective, config.clip, train, clips, session, target).items():
            session.print(f"{name:<12}{line}")


def print_probes(config: probe.Config) -> None:
    """Print what the features of each model cost, and the probes over them."""
    probe.refuse_unread(config)
    with distributed.session(config.device, config.matmul) as session:
        clips = clips_of(config.data)
        config = replace(config, task=config.task.with_columns(clips)[0]) if clips else config
        setup = probe.setup_of(config, session.device)
        parts = divide(clips, setup.split, setup.task, config.probe.seed) if clips else {"train": []}
        views = setup.views_in_all(parts) if clips else None
        names, target = setup.task.example(parts["train"])
        for folder in config.model:
            card = ModelCard.load(folder)
            task = setup.task.build(card.build_encoder(), card.pixels, names).to(session.device).eval()
            lines = probing_costs(task, setup, card.clip, target, views, len(parts["train"]))
            for name, line in ({"model": str(folder)} | lines).items():
                session.print(f"{name:<12}{line}")


def clips_of(data: DataConfig) -> list[Clip]:
    """The selected clips of the manifest; none without one."""
    return select(read_manifest(Path(data.manifest)), data.select) if data.manifest else []
