"""What survives: checkpoints of a run (whole or absent), exported weights with their config, strict loading.

RUN/checkpoints/step-000500.pt   model, optimizer, step: all a resume needs, on any number of ranks
RUN/weights.safetensors          the model's weights alone
RUN/model.json                   what the weights are: config, clip and pixel settings, names of the outputs
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated
from zipfile import BadZipFile, ZipFile

import torch
from pydantic import AfterValidator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)

from mien import downloads
from mien.engine.distributed import Session, gather
from mien.engine.torch_files import load_pickled
from mien.extras import install
from mien.files import write_whole as write_whole
from mien.model_files import weights_file

CARD = "model.json"
FULL_STATE = StateDictOptions(full_state_dict=True, cpu_offload=True)
KEEP = 2
"""Checkpoints kept: the newest, and the one before it."""


def save(run: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, write: bool) -> None:
    """Keep the state after ``step`` steps; every rank must call, one of them writes. Refuses weights that are not finite.

    Before the optimizer's first step there is nothing to keep: asked for moments that it has not, PyTorch makes some up and
    counts a step, and a run that went on from these would not equal one that was never stopped.
    """
    if not optimizer.state:
        return
    weights, moments = get_state_dict(model, optimizer, options=FULL_STATE)
    if write:
        tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
        refuse_non_finite(
            tensors, f"the weights after step {step}", "The last good checkpoint is kept; lower --optim.lr"
        )
        kept = {"model": weights, "optimizer": moments, "step": step}
        write_whole(run / "checkpoints" / f"step-{step:07d}.pt", lambda path: save_state(kept, path))
        for old in checkpoints(run)[:-KEEP]:
            old.unlink()


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((run / "checkpoints").glob("step-*.pt"))


def save_state(state: Mapping[str, object], path: Path) -> None:
    """Write through a file of Python's, whose errors tell what the disk said; torch's own do not."""
    with path.open("wb") as file:
        torch.save(state, file)


def resume(run: Path, model: nn.Module, optimizer: torch.optim.Optimizer, session: Session) -> int:
    """Load the newest whole checkpoint of a run, if there is one; returns the number of steps done.

    One that is damaged is said, put aside as ``damaged-...`` and left out; if no other is there, ``ValueError``.
    """
    newest = newest_intact(run, session.print) if session.first else None
    newest = gather([newest], session)[0]
    if newest is None:
        return 0
    state = torch.load(newest, map_location="cpu", weights_only=True)
    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=FULL_STATE,
    )
    return state["step"]


def newest_intact(run: Path, say: Callable[[str], object]) -> Path | None:
    """The newest checkpoint that can be relied on."""
    found = checkpoints(run)
    for path in reversed(found):
        if (fault := fault_of(path)) is None:
            return path
        say(f"{path} is damaged ({fault}): it is put aside, and the run goes on from the checkpoint before it")
        path.rename(path.with_name(f"damaged-{path.name}"))
    if found:
        raise ValueError(
            f"no checkpoint of {run} is whole: all have been put aside as damaged-*. Restore one from a backup, or give the "
            "same command again to begin anew"
        )
    return None


def fault_of(path: Path) -> str | None:
    """What is wrong with a checkpoint, by the checksums that torch writes into it and by its numbers; None if nothing is."""
    try:
        with ZipFile(path) as file:
            if broken := file.testzip():
                return f"the checksum of {broken} is wrong"
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["model"]
    except (BadZipFile, EOFError, OSError, RuntimeError, KeyError, ValueError, TypeError, UnpicklingError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'it ends too early'}"
    bad = non_finite(weights)
    return f"{len(bad)} of its {len(weights)} tensors hold NaN or infinity" if bad else None


def non_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinity."""
    return [name for name, value in weights.items() if value.is_floating_point() and not bool(value.isfinite().all())]


def refuse_non_finite(weights: Mapping[str, Tensor], what: str, way: str) -> None:
    """Raise ``NonFiniteError`` where weights hold NaN or infinity."""
    if bad := non_finite(weights):
        raise NonFiniteError(
            f"{what}: {len(bad)} of {len(weights)} tensors hold NaN or infinity ({bad[0]}, ...). {way}"
        )


class NonFiniteError(ArithmeticError):
    """A loss, a gradient or weights became NaN or infinite."""


def export(run: Path, model: nn.Module, card: str, write: bool = True) -> None:
    """Write a model's weights and, as text, what they are; ``mien.models.card`` knows what that is.

    Every rank must call, one of them writes. The card is removed first and written last: where it is missing, the weights
    are not finished.
    """
    state = get_model_state_dict(model, options=FULL_STATE)
    weights = {name: value.contiguous() for name, value in state.items() if isinstance(value, Tensor)}
    if not write:
        return
    refuse_non_finite(weights, f"{run}: the weights", "Nothing was written")
    (run / CARD).unlink(missing_ok=True)
    write_whole(run / "weights.safetensors", lambda path: save_file(weights, path))
    write_whole(run / CARD, lambda path: path.write_text(card))


def model_folder(name: str | Path) -> Path:
    """The folder of a model: a path, a name that ``mien models get`` made a folder for, or ``hf://owner/name@revision``, which is
    fetched from the Hugging Face hub.

    Only files that say what weights are, and weights themselves, are fetched, into the user's cache; nothing is executed.
    """
    hub = re.match("hf:/+", str(name))  # a path has lost one of two slashes
    if hub is None:
        card = None if Path(name).exists() or Path(name).name != str(name) else downloads.find(f"{name}/{CARD}")
        return card.parent if card else Path(name)
    repository, _, revision = str(name)[hub.end() :].partition("@")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError as error:
        raise ValueError(f"{name} needs the extra hub: {install('hub')}; or name a folder") from error
    wanted, mirror = ["*.json", "*.yaml", "*.safetensors", "seen.csv"], os.environ.get("HF_ENDPOINT")
    try:
        fetched = snapshot_download(repository, revision=revision or None, allow_patterns=wanted, endpoint=mirror)
    except (HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError) as error:
        raise ValueError(f"{name} cannot be fetched: {error}") from error
    folder = Path(fetched)
    if not revision:
        print(
            f"note: {name}: commit {folder.name} was taken; {name}@{folder.name} always means this one", file=sys.stderr
        )
    return folder


ModelFolder = Annotated[Path, AfterValidator(model_folder)]
"""The folder of a model in a config, which may be named by all that ``model_folder`` knows."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights by name from an exported folder, a .safetensors file, or an official .pth/.pt/.pth.tar checkpoint.

    Of an official checkpoint the state dict under ``model`` or ``module`` is taken.
    """
    return tensors_of(read_state(path))


def tensors_of(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The weights by name in what a file holds."""
    for key in ("model", "module", "state_dict"):
        inner = state.get(key)
        state = inner if isinstance(inner, Mapping) else state
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, Tensor) and isinstance(name, str) and name[:2] != "__"
    }


def read_state(path: Path) -> Mapping[str, object]:
    """All that a weights file holds by name, or the one in a folder; nothing in it is executed."""
    file = weights_file(path)
    if not file.is_file():
        raise ValueError(f"{path}: no weights here; name a run's folder, a .safetensors or a .pth file")
    if file.suffix != ".safetensors":
        state = load_pickled(file)
        if not isinstance(state, Mapping):
            raise ValueError(f"{file}: holds {type(state).__name__}, not weights by name")
        return state
    try:
        return load_file(file)
    except (SafetensorError, RuntimeError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{file}: not readable as weights: {error}") from error


def encoder_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder among a model's weights, by its own names; where there is a teacher, it is the better encoder."""
    prefix = "teacher." if any(name.startswith("teacher.") for name in weights) else "encoder."
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def load_strictly(module: nn.Module, weights: Mapping[str, Tensor], source: object) -> None:
    """Fill every parameter of ``module``; a missing, extra or misshapen key is an error that names it.

    The released code of SVFAP only prints such keys and trains on from random weights.
    """
    require_fit(module, weights, source)
    if bad := non_finite(weights):
        raise ValueError(
            f"{source}: {len(bad)} of {len(weights)} tensors hold NaN or infinity ({bad[0]}, ...); of no use"
        )
    module.load_state_dict(dict(weights))


def require_fit(module: nn.Module, weights: Mapping[str, Tensor], source: object) -> None:
    """Raise ``ValueError`` that names every key of ``weights`` that is missing, extra or misshapen for ``module``."""
    own = module.state_dict()
    faults = [f"missing {name} {tuple(own[name].shape)}" for name in own if name not in weights]
    faults += [f"unknown {name} {tuple(weights[name].shape)}" for name in weights if name not in own]
    faults += [
        f"{name} is {tuple(weights[name].shape)}, the model needs {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if faults:
        more = f" and {len(faults) - 8} more" if len(faults) > 8 else ""
        raise ValueError(
            f"{source} does not fit {type(module).__name__}: {'; '.join(faults[:8])}{more}. "
            "Use the sizes that the weights were made with."
        )
