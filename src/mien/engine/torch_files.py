"""PyTorch's own files (.pth, .pt, .pth.tar) of other people, read without running anything in them.

Such a file is a pickle, which is a program. PyTorch's reader for weights runs only the few functions that make tensors;
everything else in a file (settings as an ``argparse.Namespace``, numbers of NumPy) becomes an empty ``Inert`` here, so
that the tensors beside it can be read. No class or function that a file names is ever looked up or called.
"""

from __future__ import annotations

import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

LEGACY = 4
"""Pickles at the beginning of a file in the format before PyTorch 1.6."""


class Inert:
    """What stands for an object of a class that is not looked up: takes any arguments and any state, and keeps none."""

    def __new__(cls, *_: object, **__: object) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        """Nothing."""

    def __setstate__(self, _: object) -> None:
        """Nothing."""


def load_pickled(path: Path) -> object:
    """What a file holds, with ``Inert`` for every object that is no tensor and no plain value.

    Raises ``ValueError`` that names the file for everything that cannot be read so.
    """
    try:
        require_plain_archive(path)
        stand_ins: list[Callable | tuple[Callable, str]] = [
            (inert_class(name), name) for name in sorted(global_names(path))
        ]
        with torch.serialization.safe_globals(stand_ins):  # what PyTorch knows itself comes before these
            state = torch.load(path, "cpu", weights_only=True)
    except MemoryError as error:
        raise ValueError(f"{path}: not readable as weights: it asks for more memory than there is") from error
    except Exception as error:  # a made-up file can end PyTorch's reader in any way
        raise ValueError(f"{path}: not readable as weights: {first_line(error)}") from error
    require_plain_tensors(state, path)
    return state


def inert_class(name: str) -> type[Inert]:
    """A class of its own for a name; PyTorch keeps them apart by identity."""
    return type(name.rpartition(".")[2] or "Inert", (Inert,), {})


def global_names(path: Path) -> set[str]:
    """All names of classes and functions in a file's pickles, as they stand there and as Python 3 calls them."""
    names = set()
    for stream in pickle_streams(path):
        for code, argument, _ in pickletools.genops(stream):
            if code.name == "GLOBAL":
                module, name = str(argument).split(" ", 1)
                now = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
                names |= {f"{module}.{name}", ".".join(now)}
    return names


def pickle_streams(path: Path) -> Iterator[IO[bytes]]:
    """The pickles of a file one after the other, each at its beginning."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    with archive.open(name) as stream:
                        yield stream
        return
    with path.open("rb") as stream:
        for _ in range(LEGACY):
            yield stream


def require_plain_archive(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is; PyTorch never compresses. ``RuntimeError`` says so."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > path.stat().st_size:
            raise RuntimeError("a compressed archive, which PyTorch does not write")


def require_plain_tensors(state: object, path: Path) -> None:
    """Refuse tensors that claim more values than the file has bytes for, or that have no values at all."""
    size = path.stat().st_size
    for name, value in named_values(state):
        if not isinstance(value, Tensor):
            continue
        if value.device.type != "cpu" or value.layout is not torch.strided or value.is_quantized:
            raise ValueError(f"{path}: {name} is not a plain tensor ({value.layout}, on {value.device})")
        if value.numel() * value.element_size() > size:
            raise ValueError(f"{path}: {name} claims {tuple(value.shape)}, more values than the file holds")


def named_values(state: object) -> Iterator[tuple[str, object]]:
    """The values of dicts up to three levels deep, with their names: where published files keep their weights."""
    level = [("", state)]
    for _ in range(3):
        level = [
            (f"{name}.{key}".lstrip("."), value)
            for name, tree in level
            if isinstance(tree, dict)
            for key, value in tree.items()
            if isinstance(key, str)
        ]
        yield from level


def first_line(error: Exception) -> str:
    """What went wrong in a line, without PyTorch's advice to read the file unsafely."""
    first = str(error).strip().splitlines()[:1]
    if first and isinstance(error, OSError | RuntimeError) and "weights_only" not in str(error):
        return first[0][:200]
    return "it is no file of PyTorch's, is damaged, or asks for more than tensors and plain values"
