"""A 20-epoch probe with kept features against one that runs the frozen encoder anew in every epoch, as published code does.

    python benchmarks/probe.py [--clips 40] [--threads 1]

Same drawn clips, same encoder (ViT-Ti/16 with random weights, 16x112x112, 8 segments attended at once), same seed; the
two must end with the same numbers. Prints wall times and their ratio.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from datetime import date
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from mien import checkpoint
from mien.commands import probe, synth
from mien.config import parse, to_tree
from mien.encoders.vjepa import VJEPAConfig
from mien.objectives.joint_embedding import JointEmbeddingConfig
from mien.pixels import PixelsConfig
from mien.video.clips import ClipConfig


def encoder(folder: Path) -> Path:
    """An exported V-JEPA with random weights."""
    torch.manual_seed(0)
    config, clip, pixels = VJEPAConfig(dim=192, heads=3, depth=12), ClipConfig(16, 4, 112), PixelsConfig()
    objective = JointEmbeddingConfig(predictor_dim=96, predictor_depth=1).build(config.build(16, 112), pixels)
    about = {"encoder": to_tree(config), "clip": to_tree(clip), "pixels": to_tree(pixels)}
    checkpoint.export(folder, objective, about)
    return folder


def timed(model: Path, corpus: Path, folder: Path, *more: str) -> tuple[float, dict]:
    """Seconds of a whole ``mien probe``, decoding included, and its row."""
    flags = [
        f"--model={model}", f"--data.manifest={corpus}", f"--output={folder}", "--train=fold!=0,1",
        "--validation=fold=1", "--test=fold=0", "--views.crops=1", "--workers=0", f"--features.folder={folder / 'kept'}",
        "--features.dtype=fp32", *more,
    ]  # fmt: skip
    start = time.perf_counter()
    rows = probe.run(parse(probe.Config, flags, prog="mien probe"))
    return time.perf_counter() - start, rows[0]


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        synth.run(synth.Config(root / "corpus", clips=a.clips, subjects=10, folds=5, size=128, frames=64, workers=1))
        model, corpus = encoder(root / "model"), root / "corpus" / "manifest.csv"
        kept, row = timed(model, corpus, root / "a")
        live, other = timed(model, corpus, root / "b", "--features.live")
    print(f"\n{a.clips} clips, 20 epochs, 6 probes, torch {torch.__version__}, {a.threads} threads, {date.today()}\n")
    print("| features | seconds | validation UAR | test UAR |\n|---|---|---|---|")
    for name, seconds, found in (("kept", kept, row), ("anew each epoch", live, other)):
        print(f"| {name} | {seconds:.1f} | {found['validation']:.4f} | {found['UAR']:.4f} |")
    print(f"\nanew / kept: {live / kept:.1f}")


if __name__ == "__main__":
    main()
