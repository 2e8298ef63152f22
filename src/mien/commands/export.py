"""A model for elsewhere: one ONNX file, or a folder for a model hub.

mien export runs/finetune model.onnx                          read without PyTorch, by mien or by 40 lines of NumPy
mien export runs/finetune model.onnx --clips clips.csv        compared with PyTorch on these clips instead of drawn noise
mien export runs/finetune hub/faces --format hub --name owner/faces --licence cc-by-4.0 --corpora 'CREMA-D (ODbL 1.0)'

Both are read as any model: mien analyze VIDEO --model model.onnx, or --model hub/faces. The folder is uploaded by the hub's
own command: hf upload owner/faces hub/faces. docs/export.md says what is inside.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from mien.config import STRICT, changed
from mien.engine import distributed
from mien.inference.analyzer import Analyzer, load
from mien.inference.onnx_export import Parity, export
from mien.model_files import ONNX
from mien.training.data import DataConfig, load_clips
from mien.training.hub_folder import Statement, write_hub_folder
from mien.video.views import ViewConfig, ViewDataset, distinct_views

OFTEN = ("model", "output", "format", "clips", "name", "licence", "corpora")


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien export``."""

    model: tyro.conf.Positional[str]
    """Folder of a fine-tuned run or a probe, name of a public model, or hf://owner/name."""
    output: tyro.conf.Positional[Path]
    """File to write, NAME.onnx, or folder."""
    format: Literal["onnx", "hub"] = "onnx"
    """onnx: one file; hub: a folder with config.json, model.safetensors and README.md."""
    clips: str = ""
    """Of ONNX: manifest, folder of videos, or video, whose clips are read by PyTorch and by the file; without one, noise is."""
    compared: Annotated[int, Field(ge=2, le=1000)] = 8
    """Of ONNX: views of these clips, or drawn ones, that are compared."""
    evaluation: Path | None = None
    """Of the hub: folder of `mien evaluate`; by default the folder evaluation inside the model's."""
    name: str = ""
    """Of the hub: owner/name that it will have there."""
    licence: str = ""
    """Of the hub: licence of these weights, by its name there, such as cc-by-4.0."""
    corpora: tuple[str, ...] = ()
    """Of the hub: corpora that it learnt from, each with its terms, such as 'CREMA-D (ODbL 1.0)'."""


def writes(config: Config) -> Path | None:
    """The lock of the folder that is written."""
    return config.output / ".lock" if config.format == "hub" else config.output.with_name(f".{config.output.name}.lock")


def run(config: Config) -> Parity | None:
    """Export, and print what came out; the comparison of an ONNX file with PyTorch."""
    other = (
        ("--evaluation", "--name", "--licence", "--corpora") if config.format == "onnx" else ("--clips", "--compared")
    )
    if given := [flag for flag in changed(config) if flag in other]:
        raise ValueError(f"{', '.join(given)}: not of --format {config.format}; leave it out")
    if config.format == "onnx" and config.output.suffix != ONNX:
        raise ValueError(f"{config.output}: name a file that ends in .onnx, or take --format hub for a folder")
    with distributed.session("cpu", "highest"):
        analyzer = load(config.model, "cpu", "highest")
        if config.format == "hub":
            save_folder(analyzer, config)
            return None
        parity = export(analyzer, config.output, clips_of(analyzer, config))
    print(parity.table())
    print(f"{config.output}: {config.output.stat().st_size / 1e6:.1f} MB; mien analyze VIDEO --model {config.output}")
    return parity


def save_folder(analyzer: Analyzer, config: Config) -> None:
    """The folder for the hub."""
    if analyzer.folder is None or not analyzer.folder.is_dir():
        raise ValueError(f"{config.model}: a folder for the hub is made of the run that this was exported from")
    evaluation = config.evaluation or analyzer.folder / "evaluation"
    write_hub_folder(analyzer, config.output, evaluation, Statement(config.licence, config.corpora, config.name))
    print(f"{config.output}: read its README.md, then: hf upload {config.name or 'owner/name'} {config.output}")


def clips_of(analyzer: Analyzer, config: Config) -> Tensor:
    """Views (N, 3, T, size, size), uint8, that are compared."""
    count, clip = config.compared, analyzer.clip
    if not config.clips:
        shape = (count, 3, clip.frames, clip.size, clip.size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clips = load_clips(DataConfig(manifest=config.clips), workers=0)
    items = ViewDataset(clips, clip, ViewConfig())
    views = list(islice((view for i in range(len(items)) for view in distinct_views(items[i])), count))
    return torch.stack([*views, *views[: max(2 - len(views), 0)]])
