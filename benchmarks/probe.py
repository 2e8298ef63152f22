"""A 20-epoch probe with kept features against one that runs the frozen encoder anew in every epoch, as published code does.

    python benchmarks/probe.py [--clips 40] [--threads 1]

Same drawn clips, same encoder (ViT-Ti/16 with random weights, 16x112x112, 8 segments attended at once), same seed; the
two must end with the same numbers. Prints wall times and their ratio, for the one published probe (lr 1e-3, weight decay
0.01) and for mien's six at once.
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

from mien.commands import probe, synth
from mien.config import parse
from mien.encoders.vjepa import VJEPAConfig
from mien.models.card import ModelCard
from mien.modules.pixels import PixelsConfig
from mien.objectives.joint_embedding import JointEmbeddingConfig
from mien.video.clips import ClipConfig

PROBES = {"one, as published": ("--probe.lrs", "1e-3", "--probe.weight-decays", "0.01"), "six at once": ()}
"""Which probes are trained."""


def encoder(folder: Path) -> Path:
    """An exported V-JEPA with random weights."""
    torch.manual_seed(0)
    config, clip, pixels = VJEPAConfig(dim=192, heads=3, depth=12), ClipConfig(16, 4, 112), PixelsConfig()
    objective = JointEmbeddingConfig(predictor_dim=96, predictor_depth=1).build(config.build(16, 112), pixels)
    ModelCard(config, clip, pixels).save(folder, objective)
    return folder


def timed(model: Path, corpus: Path, folder: Path, *more: str) -> tuple[float, dict]:
    """Seconds of a whole ``mien probe``, decoding included, and its row."""
    flags = [
        f"--model={model}", f"--data.manifest={corpus}", f"--output={folder}", "--train=fold!=1,2",
        "--validation=fold=2", "--test=fold=1", "--views.crops=1", "--views.batch=8", "--workers=0", f"--features.folder={folder / 'kept'}",
        "--features.dtype=fp32", *more,
    ]  # fmt: skip
    start = time.perf_counter()
    results = probe.run(parse(probe.Config, flags, prog="mien probe"))
    return time.perf_counter() - start, results.rows[0]


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
        rows = []
        for name, flags in PROBES.items():
            kept = timed(model, corpus, root / name / "kept", *flags)
            live = timed(model, corpus, root / name / "live", *flags, "--features.live")
            rows.append((name, kept, live))
    print(f"\n{a.clips} clips, 20 epochs, torch {torch.__version__}, {a.threads} threads, {date.today()}\n")
    print("| probes | kept, s | anew each epoch, s | ratio | validation UAR | test UAR |\n|---|---|---|---|---|---|")
    for name, (kept, row), (live, other) in rows:
        scores = [f"{row[key]:.4f} / {other[key]:.4f}" for key in ("validation", "UAR")]
        print(f"| {name} | {kept:.1f} | {live:.1f} | {live / kept:.1f} | " + " | ".join(scores) + " |")


if __name__ == "__main__":
    main()
