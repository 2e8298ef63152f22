"""Import official weights: sizes are read off the shapes, every key must fit, nothing that no shape tells is guessed.

mien convert checkpoint-99.pth runs/svfap_base          SVFAP, VideoMAE, VideoMAE V2
mien convert videomae-base/ runs/videomae               VideoMAE: a folder of transformers
mien convert vith16-384.pth.tar runs/vjepa_huge         V-JEPA 1: encoder, teacher and predictor
mien convert vjepa2-vitl-fpc64-256/ runs/vjepa2_large   V-JEPA 2: a folder of transformers
mien convert vitl.pt runs/vjepa2_large                  V-JEPA 2: the encoder of an original checkpoint

A layout is known by what the file holds. The folder then serves as --init of finetune and pretrain and as --model of
probe, and, if the checkpoint was fine-tuned (or --probe names a V-JEPA probe) and --names gives its classes in their own
order, as --model of evaluate and predict.
"""

from __future__ import annotations

from pathlib import Path

import tyro
from pydantic.dataclasses import dataclass

from mien.config import STRICT, changed
from mien.models.layouts import WeightLayout, recognise
from mien.models.layouts.import_options import ImportOptions
from mien.models.layouts.source import Imported, WeightFile


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Config(ImportOptions):
    """Options of ``mien convert``."""

    checkpoint: tyro.conf.Positional[Path]
    """Official .pth, .pth.tar, .pt or .safetensors file, or a folder with model.safetensors."""
    output: tyro.conf.Positional[Path]
    """Folder to write."""


def run(config: Config) -> None:
    """Recognise, read, load strictly, export."""
    source = WeightFile.open(config.checkpoint)
    layout = recognise(source)
    try:
        imported = layout.read(source, config)
    except ValueError as error:
        if str(source.path) in str(error):
            raise
        raise ValueError(f"{source.path} ({layout.name}): {error}") from error
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
        "--encoder-only": ("not together with --probe, which reads the encoder", probed),
    }
    given = [flag.replace("_", "-") for flag in changed(config)]
    if ineffective := [f"{flag} is {what}" for flag, (what, lost) in unread.items() if lost and flag in given]:
        raise ValueError(f"{config.checkpoint} ({layout.name}): {'; '.join(ineffective)}; leave it out")
