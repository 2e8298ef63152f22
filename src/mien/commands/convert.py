"""Import official weights: sizes are read off the shapes, every key must fit, nothing that no shape tells is guessed.

mien convert checkpoint-99.pth runs/svfap_base          SVFAP, VideoMAE, VideoMAE V2
mien convert videomae-base/ runs/videomae               VideoMAE: a folder of transformers
mien convert vith16-384.pth.tar runs/vjepa_huge         V-JEPA 1: encoder, teacher and predictor
mien convert vjepa2-vitl-fpc64-256/ runs/vjepa2_large   V-JEPA 2: a folder of transformers
mien convert vitl.pt runs/vjepa2_large                  V-JEPA 2: the encoder of an original checkpoint
mien convert net.onnx models/net --card net.yaml        a network that reads one picture of a face

A layout is known by what the file holds. The folder then serves as --init of finetune and pretrain and as --model of
probe, and, if the checkpoint was fine-tuned (or --probe names a V-JEPA probe) and --names gives its classes in their own
order, as --model of evaluate and predict.
"""

from __future__ import annotations

from pathlib import Path

import tyro
from pydantic.dataclasses import dataclass

from mien.config import STRICT, build, changed
from mien.models.layouts import WeightLayout, import_weights
from mien.models.layouts.import_options import ImportOptions
from mien.models.layouts.onnx_file import FrameCard, save_frame_model
from mien.models.layouts.source import Imported
from mien.yaml_files import read_yaml


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Config(ImportOptions):
    """Options of ``mien convert``."""

    checkpoint: tyro.conf.Positional[Path]
    """Official .pth, .pth.tar, .pt or .safetensors file, or a folder with model.safetensors."""
    output: tyro.conf.Positional[Path]
    """Folder to write."""
    card: Path | None = None
    """For an .onnx file that reads one picture of a face: YAML with its names, size, alignment, colours (docs/frame-models.md)."""


def run(config: Config) -> None:
    """Recognise, read, load strictly, export."""
    if config.checkpoint.suffix.lower() == ".onnx":
        convert_onnx(config)
        return
    imported, layout = import_weights(config.checkpoint, config)
    refuse_unread(config, imported, layout)
    imported.card.save(config.output, imported.model)
    count = sum(p.numel() for p in imported.model.parameters())
    for note in imported.notes:
        print(note)
    name = type(imported.model.encoder).__name__
    print(f"{layout.name}: {name}, {count / 1e6:.2f} M parameters, every key used: {config.output}")


def refuse_unread(config: Config, imported: Imported, layout: WeightLayout) -> None:
    """Options that say nothing of what was imported are refused, for they would change nothing."""
    made = imported.card
    probed = config.probe is not None and layout.probes
    unread = {
        "--probe": ("for V-JEPA's encoders", not layout.probes),
        "--segments": ("of the probe that --probe names", not probed),
        "--names": (
            "of the classes of a fine-tuned checkpoint or a probe, and there are none here",
            made.task is None,
        ),
        "--depths": ("of the stages of SVFAP's encoder", made.encoder.name != "tpsbt"),
        "--decoder-heads": ("of a decoder or predictor, and none is imported here", made.objective is None),
        "--card": ("of an .onnx file", True),
        "--encoder-only": ("not together with --probe, which reads the encoder", probed),
    }
    given = [flag.replace("_", "-") for flag in changed(config)]
    if ineffective := [f"{flag} is {what}" for flag, (what, lost) in unread.items() if lost and flag in given]:
        raise ValueError(f"{config.checkpoint} ({layout.name}): {'; '.join(ineffective)}; leave it out")


def convert_onnx(config: Config) -> None:
    """A frame model's folder from an ONNX file and what its user says of it."""
    file = config.checkpoint
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    if config.card is None:
        raise ValueError(
            f"{file}: no file tells what its picture and its scores are: give --card CARD.yaml (docs/frame-models.md)"
        )
    if given := [flag for flag in changed(config) if flag not in ("--checkpoint", "--output", "--card")]:
        raise ValueError(
            f"{', '.join(given)}: for weights of video encoders; what an .onnx file needs stands in --card"
        )
    try:
        card = build(FrameCard, read_yaml(config.card))
    except ValueError as error:
        raise ValueError(f"{config.card}: {error}") from error
    save_frame_model(config.output, file.read_bytes(), card)
    print(f"frame model of {', '.join(card.names)}: {config.output}")
