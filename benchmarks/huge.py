"""ViT-H/16 at 384 pixels (632 M weights, random) probed on a CPU: peak memory and seconds per clip.

    python benchmarks/huge.py [--clips 10] [--threads 4]

Runs ``mien probe`` in its own process over drawn 16x384x384 clips with bf16 products; no gradients are kept for the
encoder. Needs about 5 GiB of disk while it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

from mien.commands import synth
from mien.encoders.vjepa import VJEPAConfig
from mien.models.card import EncoderOnly, ModelCard
from mien.modules.pixels import PixelsConfig
from mien.video.clips import ClipConfig


def export(folder: Path) -> float:
    """The encoder with random weights; returns its millions of parameters."""
    config, clip = VJEPAConfig.sized("huge"), ClipConfig(16, 4, 384)
    model = EncoderOnly(config.build(16, 384))
    ModelCard(config, clip, PixelsConfig()).save(folder, model)
    return (sum(p.numel() for p in model.parameters()) + sum(b.numel() for b in model.buffers())) / 1e6


def main() -> None:
    """Run the probe and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--threads", type=int, default=4)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        synth.run(synth.Config(root / "corpus", clips=a.clips, subjects=5, folds=5, size=384, frames=64, workers=1))
        millions = export(root / "huge")
        command = [
            sys.executable, "-m", "mien", "probe", f"--model={root / 'huge'}", "--train=fold!=1,2",
            f"--data.manifest={root / 'corpus' / 'manifest.csv'}", "--validation=fold=2", "--test=fold=1",
            "--segments=1", "--views.segments=1", "--views.crops=1", "--views.batch=1", "--features.precision=bf16",
            "--features.dtype=bf16", f"--features.folder={root / 'kept'}", f"--output={root / 'out'}", "--workers=0",
            "--probe.epochs=2", "--task.name=regression",
        ]  # fmt: skip
        start = time.perf_counter()
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": str(a.threads)}, check=True)
        seconds = time.perf_counter() - start
        done = json.loads((root / "out" / "probe.json").read_text())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert len(done) == 1
    print(f"\ntorch {torch.__version__}, {a.threads} threads, {date.today()}")
    print(f"{millions:.1f} M parameters with the position table; {a.clips} clips of 16x384x384, bf16")
    print(
        f"peak memory {peak:.1f} GiB; {seconds / a.clips:.1f} s per clip, decoding and two epochs of 6 probes included"
    )


if __name__ == "__main__":
    main()
