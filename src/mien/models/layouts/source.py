"""A file of weights as it lies there, and what comes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mien.engine import checkpoint
from mien.interfaces import Objective
from mien.models.card import ModelCard
from mien.video.clips import ClipConfig


@dataclass(frozen=True)
class WeightFile:
    """All that a file of weights holds."""

    path: Path
    tree: Mapping[str, object]
    """What the file holds, by name."""
    weights: dict[str, Tensor]
    """The tensors of the model by name, without a ``module.`` in front."""

    @classmethod
    def open(cls, path: Path) -> WeightFile:
        """Read a .pth, .pth.tar, .pt or .safetensors file, or the one in a folder."""
        tree = checkpoint.read_state(path)
        weights = checkpoint.tensors_of(tree)
        return cls(path, tree, {name.removeprefix("module."): value for name, value in weights.items()})

    def has(self, pattern: str) -> bool:
        """Whether a weight's name has a match of a regular expression."""
        return any(re.search(pattern, name) for name in self.weights)

    def names(self, part: str) -> list[str]:
        """The names in one network of several in the file; none if there is no such network."""
        network = self.tree.get(part)
        return [str(name) for name in network] if isinstance(network, Mapping) else []

    def network(self, part: str) -> dict[str, Tensor]:
        """The weights of one network of several in the file, such as ``predictor``."""
        weights = self.tree.get(part)
        if not isinstance(weights, Mapping):
            raise ValueError(f"{self.path}: no {part!r} in the file; {self.summary()}")
        return {str(name): value for name, value in weights.items() if isinstance(value, Tensor)}

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file that lies beside the weights, such as ``config.json``; nothing if there is none."""
        file = (self.path if self.path.is_dir() else self.path.parent) / name
        try:
            told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        except ValueError as error:
            raise ValueError(f"{file}: not JSON: {error}") from error
        if not isinstance(told, dict):
            raise ValueError(f"{file}: holds {type(told).__name__}, not settings by name")
        return told

    def summary(self) -> str:
        """The first names in the file."""
        names = [str(name) for name in self.tree]
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        return f"the file holds {', '.join(names[:6]) or 'nothing'}{more}"


@dataclass(frozen=True)
class Imported:
    """A model with an official file's weights."""

    model: Objective
    card: ModelCard
    notes: tuple[str, ...] = ()
    """What was left out, and other things to tell."""


def attention_heads(given: int, table: Mapping[int, int], width: int, what: str, flag: str = "--heads") -> int:
    """Attention heads: as given, or published for a width; anything else is an error, for no shape tells them."""
    if given or width in table:
        return given or table[width]
    sizes = ", ".join(map(str, table))
    raise ValueError(
        f"{what} is {width} wide, which is no published size ({sizes}), and no shape tells its attention heads: say {flag}"
    )


def shape_of(weights: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    """The shape of a weight that sizes are read off; ``ValueError`` if it is missing or has other axes."""
    if name not in weights:
        raise ValueError(f"{name} is missing in the file, and sizes are read off it")
    shape = tuple(weights[name].shape)
    if len(shape) != axes or 0 in shape:
        raise ValueError(f"{name} is {shape}, where {axes} axes are needed to read sizes off it")
    return shape


def position_table(weights: Mapping[str, Tensor], name: str) -> Tensor:
    """The position table (1, places, width) of a network, whatever stands before its name."""
    key = next((key for key in weights if key.endswith(name)), name)
    shape_of(weights, key, 3)
    return weights[key]


def count_modules(weights: Mapping[str, Tensor], part: str) -> int:
    """How many numbered modules a part has."""
    return len({key.split(".")[1] for key in weights if key.startswith(f"{part}.")})


def clip_of(clip: ClipConfig, frames: int, size: int) -> ClipConfig:
    """The clip that was asked for, or, where nothing was, the one that the weights were made for."""
    return ClipConfig(frames=frames, stride=4, size=size) if clip == ClipConfig() else clip
