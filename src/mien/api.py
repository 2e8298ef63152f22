"""The commands as functions: ``mien.finetune("svfap_finetune", data={"manifest": "clips.csv"}, output="runs/finetune")``.

A function runs the command of its name, with ``-`` for ``_``, and returns what came out. It takes the command's options as
keywords: a section is a dict or the config itself (``encoder={"size": "small"}``, ``encoder=TPSBTConfig(dim=384)``); recipes,
by name or as YAML files, stand in front, later ones win, and keywords win over them. What goes wrong is a ``ValueError`` with
the sentence that the command line prints, in which options have their names there: ``--data.manifest`` is
``data={"manifest": ...}``. What the system refuses is Python's ``OSError``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints, overload

if TYPE_CHECKING:
    from mien.calibration.calibration import Calibration
    from mien.evaluation.results import Evaluation
    from mien.explanations.result import Explanation
    from mien.faces.store import FaceStore
    from mien.inference.analyzer import VideoFeatures
    from mien.inference.live import LiveStatistics
    from mien.inference.timeline import Timeline
    from mien.reports.study import Study
    from mien.training.outcome import CrossValidationResults, ProbeResults, TrainingRun

Words = str | os.PathLike[str]
"""The name of a recipe or its file; where a command takes a video, that comes first."""


def extract_faces(*words: Words, **options: object) -> FaceStore:
    """Find, follow and crop every face of videos: ``mien.extract_faces("interviews", output="faces").manifest``."""
    return call("extract_faces", words, options)


def pretrain(*recipes: Words, **options: object) -> TrainingRun:
    """Learn from unlabelled video: ``mien.pretrain("svfap_tiny", data={"manifest": "clips.csv"}).history``."""
    return call("pretrain", recipes, options)


def finetune(*recipes: Words, **options: object) -> TrainingRun:
    """Adapt an encoder to labels: ``mien.finetune("svfap_finetune", init="runs/pretrain", data={...}).load()``."""
    return call("finetune", recipes, options)


def probe(*recipes: Words, **options: object) -> ProbeResults:
    """Read labels off frozen encoders: ``mien.probe("vjepa_probe", model=["runs/vjepa"], data={...}).table``."""
    return call("probe", recipes, options)


def evaluate(*recipes: Words, **options: object) -> Evaluation:
    """Metrics on labelled clips: ``mien.evaluate(model="runs/finetune", data={...}).metrics["UAR"].low``."""
    return call("evaluate", recipes, options)


def cross_validate(command: str, *recipes: Words, **options: object) -> CrossValidationResults:
    """Train and evaluate on every fold: ``mien.cross_validate("finetune", "svfap_finetune", data={...}).folds.mean["UAR"]``.

    ``command`` is finetune or probe. Of several ranks (torchrun), the first one has the results, the others None.
    """
    return call("cross_validate", (command, *recipes), options)


def calibrate(*recipes: Words, **options: object) -> Calibration:
    """Make a model's outputs mean what they say: ``mien.calibrate(model="runs/finetune", data={...}).facts``."""
    return call("calibrate", recipes, options)


@overload
def analyze(video: int, *recipes: Words, **options: object) -> LiveStatistics: ...
@overload
def analyze(video: Words, *recipes: Words, **options: object) -> Timeline: ...
def analyze(video: Words | int, *recipes: Words, **options: object) -> Timeline | LiveStatistics:
    """Read a video, with tables and pictures: ``mien.analyze("interview.mp4", model="runs/finetune").frames``.

    A number is a camera, which is read until it is interrupted.
    """
    return call("analyze", (str(video) if isinstance(video, int) else video, *recipes), options)


def study(videos: Words, *recipes: Words, **options: object) -> Study:
    """Read many videos and sum them up: ``mien.study("recordings.csv", model="runs/finetune").summary``."""
    return call("study", (videos, *recipes), options)


def explain(video: Words, *recipes: Words, **options: object) -> Explanation:
    """When and where a model looks: ``mien.explain("clip.mp4", model="runs/finetune", check=True).checks``."""
    return call("explain", (video, *recipes), options)


def extract_features(*recipes: Words, **options: object) -> VideoFeatures:
    """A frozen encoder's features: ``mien.extract_features(model="runs/pretrain", data={...}).values``."""
    return call("extract_features", recipes, options)


def call(name: str, words: tuple[Words, ...], options: Mapping[str, object]) -> Any:
    """Run the command of a module in ``commands/``; ``words`` are what stands in front of its options."""
    command = import_module(f"mien.commands.{name}")
    return perform(command, configure(command, [os.fspath(word) for word in words], options, f"mien.{name}"))


def configure(command: ModuleType, words: list[str], options: Mapping[str, object], name: str) -> Any:
    """A command's config, made as the command line makes it. Raises ``ValueError`` for words that it has no place for."""
    from mien.config import build, layered, read_recipe, recipe_file, renamed, renamings
    from mien.help import positional

    if kinds := getattr(command, "CONFIGS", None):
        if not words or words[0] not in kinds:
            raise ValueError(f"{name}: name one of {', '.join(kinds)} first")
        schema, words = kinds[words[0]], words[1:]
    else:
        schema = command.Config
    places = [field for field, kind in get_type_hints(schema, include_extras=True).items() if positional(kind)]
    recipes = [word for word in words if not places or Path(word).suffix in (".yaml", ".yml")]
    given = [word for word in words if word not in recipes]
    if more := given[len(places) :]:
        raise ValueError(f"{name}: no place for {', '.join(more)}; options are given by name")
    if twice := set(places[: len(given)]) & set(options):
        raise ValueError(f"{name}: {twice.pop()} is given by its place and by its name; leave one out")
    tree = dict(zip(places, given, strict=False)) | {key: plain(value) for key, value in options.items()}
    trees = [*((read_recipe(recipe_file(recipe)), recipe) for recipe in recipes), (tree, name)]
    return build(schema, layered(schema, *(renamed(tree, renamings(schema), where) for tree, where in trees)))


def plain(value: object) -> object:
    """A section as a dict, a path as text, anything else as it is."""
    from mien.config import to_tree

    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if is_dataclass(value):
        return to_tree(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def perform(command: ModuleType, config: object) -> Any:
    """Run a command with the folder held that it writes, and no larger frames read than --max-pixels allows.

    The folder is what its ``writes(config)`` names, or ``config.output``; of several ranks, the first one holds it.
    """
    from mien.files import LOCK, locked
    from mien.video.container import limit_pixels

    output = getattr(config, "output", None)
    lock = command.writes(config) if hasattr(command, "writes") else output and output / LOCK
    first = os.environ.get("RANK", "0") == "0"
    held: AbstractContextManager[object] = locked(lock) if lock and first else nullcontext()
    most = getattr(config, "max_pixels", None)
    with held, nullcontext() if most is None else limit_pixels(most):
        return command.run(config)
