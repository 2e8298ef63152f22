"""YAML files of strangers: read without being swollen by their aliases."""

from __future__ import annotations

import math
from pathlib import Path

import yaml


def read_yaml(path: Path) -> object:
    """What a YAML file holds; ``ValueError`` that names the file if it is none, or if its aliases would swell it.

    An alias costs nothing until somebody walks the tree, and a few lines of them can stand for billions of values.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        swollen = node is not None and expanded(node, {}) > NODES
        tree = None if node is None or swollen else loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if swollen:
        raise ValueError(f"{path}: its aliases stand for more than {NODES:,} values")
    return tree


NODES = 100_000
"""Values that a YAML file may stand for."""


def expanded(node: yaml.Node, known: dict[int, float]) -> float:
    """Number of values in a tree of YAML nodes with every alias written out; infinite where one holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # until it is known: a node inside itself
        inner = [n for pair in node.value for n in pair] if isinstance(node, yaml.MappingNode) else node.value
        parts = inner if isinstance(inner, list) else []
        known[id(node)] = 1 + sum(expanded(part, known) for part in parts)
    return known[id(node)]
