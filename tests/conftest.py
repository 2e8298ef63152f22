"""One thread, so that parallel test processes do not fight; real videos if they are there; a small drawn corpus; a tiny
model, and a server of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from mien.inference.analyzer import Analyzer
    from mien.web.queue import Queue

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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier of seven expressions; tests leave it as it is."""
    from toy_models import write_model

    return write_model(tmp_path_factory.mktemp("models") / "expressions")


@pytest.fixture(scope="module")
def analyzer(model: Path) -> Analyzer:
    """The same, ready to read."""
    import mien

    return mien.load(model, "cpu", matmul="highest")


HERE = "http://127.0.0.1:8000"
"""Where a server of ``client`` and ``idle`` takes itself to be."""


@pytest.fixture
def queue(analyzer: Analyzer, tmp_path: Path, request: pytest.FixtureRequest) -> Queue:
    """What a server works off, under the ``LIMITS`` of the test's module."""
    from mien.inference.predict import ReadConfig
    from mien.web.queue import Queue

    root = tmp_path / "server"
    root.mkdir()
    return Queue({"expressions": analyzer}, ReadConfig(faces="whole"), request.module.LIMITS, root)


@pytest.fixture
def client(idle: TestClient) -> Iterator[TestClient]:
    """A server at work."""
    with idle:
        yield idle


@pytest.fixture
def idle(queue: Queue) -> TestClient:
    """A server whose queue does not move."""
    from fastapi.testclient import TestClient

    from mien.web.app import application

    return TestClient(application(queue), base_url=HERE)


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
