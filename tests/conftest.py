"""One thread, so that parallel test processes do not fight; real videos if they are there; a small drawn corpus."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch

torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def media() -> Path:
    """Folder of real face videos."""
    folder = Path(os.environ.get("MIEN_MEDIA", ROOT.parent / "shared" / "media"))
    if not folder.is_dir():
        pytest.skip(f"no folder of real videos at {folder} (MIEN_MEDIA names another)")
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 28 drawn clips of 4 persons, 32 px, 16 frames."""
    from mien.commands import synth

    folder = tmp_path_factory.mktemp("corpus")
    synth.run(synth.Config(output=folder, clips=28, subjects=4, folds=2, size=32, frames=16, workers=1))
    return folder / "manifest.csv"


@pytest.fixture(autouse=True)
def exact_products():
    """fp32 products in fp32; commands set their own precision and put this back."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


TINY = [
    "--clip.frames=8", "--clip.stride=2", "--clip.size=32", "--encoder.dim=32", "--encoder.heads=2",
    "--encoder.patch=8",
]  # fmt: skip
"""Flags of an encoder that trains in milliseconds."""

TINY_TPSBT = [*TINY, "--encoder.depths", "1", "2", "--encoder.bottleneck=2"]
TINY_DECODER = ["--objective.decoder-dim=32", "--objective.decoder-heads=2", "--objective.decoder-depth=1"]
TINY_VJEPA = [
    *TINY, "--encoder.name=vjepa", "--encoder.depth=2", "--objective.name=joint_embedding",
    "--objective.predictor-dim=24", "--objective.predictor-heads=2", "--objective.predictor-depth=1",
]  # fmt: skip
ONE_PROCESS = ["--train.workers=0", "--train.device=cpu", "--train.matmul=highest"]
