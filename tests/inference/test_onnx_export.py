"""A model as one ONNX file: the same answers as PyTorch's, read by every command, and by a script without mien."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import mien
from mien.calibration.calibration import Calibration
from mien.calibration.maps import CalibrationMap, Intervals, Logistic, Temperature
from mien.calibration.reliability import Limits
from mien.cli import main
from mien.encoders.tpsbt import TPSBTConfig
from mien.encoders.vit import ViTConfig
from mien.encoders.vjepa import VJEPAConfig
from mien.engine.distributed import choose_device
from mien.inference.analyzer import Analyzer
from mien.inference.onnx_export import Parity, export
from mien.inference.onnx_export import calibrated as calibrated_scores
from mien.model_files import append_notes, read_notes
from mien.models.card import ModelCard
from mien.modules.heads import AttentiveHeadConfig, MeanHeadConfig
from mien.modules.pixels import PixelsConfig
from mien.tasks.classification import ClassificationConfig
from mien.video.clips import ClipConfig
from toy_models import EXPRESSIONS, calibrated, pictures, write_model, write_video

EXAMPLE = Path(__file__).parents[2] / "examples" / "read_onnx.py"
CLIP = ClipConfig(frames=8, stride=2, size=32)
LIMIT = 6.0
"""Distance beyond which a clip is unfamiliar: that of about half of the windows here."""


def noise(count: int, clip: ClipConfig = CLIP) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, clip.frames, clip.size, clip.size), dtype=torch.uint8, generator=drawn)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small calibrated model, quick to export; ``test_every_encoder_and_head_is_pytorchs`` has the others."""
    folder = tmp_path_factory.mktemp("runs") / "faces"
    torch.manual_seed(0)
    encoder, task = ViTConfig(dim=16, heads=2, depth=1, patch=16), ClassificationConfig(head=MeanHeadConfig(scale=40.0))
    model = task.build(encoder.build(CLIP.frames, CLIP.size), PixelsConfig(), EXPRESSIONS)
    ModelCard(encoder, CLIP, PixelsConfig(), task=task, names=EXPRESSIONS).save(folder, model)
    return calibrated(folder, Limits(distance=LIMIT))


@pytest.fixture(scope="module")
def parity(run: Path) -> Parity:
    """The comparison of the exported file with PyTorch."""
    return export(mien.load(run, "cpu", "highest"), run.with_suffix(".onnx"), noise(5))


@pytest.fixture(scope="module")
def file(run: Path, parity: Parity) -> Path:
    return run.with_suffix(".onnx")


def test_scores_features_and_distance_are_pytorchs(parity: Parity) -> None:
    assert parity.clips == 5
    assert set(parity.differences) == {"scores", "features", "calibrated", "distance"}
    assert max(parity.differences.values()) < 1e-5
    assert "largest difference of scores" in parity.table()
    assert parity.milliseconds.keys() == {1, 4}


@pytest.mark.parametrize(
    "found, parameters",
    [
        (Temperature(1.7, 0.1), {"temperature": 1.7, "uniform": 0.1}),
        (Logistic((0.5, 2.0), (0.3, -1.0)), {"slopes": (0.5, 2.0), "shifts": (0.3, -1.0)}),
        (Intervals(), {}),
    ],
)
def test_scores_are_calibrated_as_by_the_maps(run: Path, found: CalibrationMap, parameters: dict[str, Any]) -> None:
    kept = Calibration.load(run)
    assert kept is not None
    facts = replace(kept.facts, **{"temperature": 1.0, "uniform": 0.0} | parameters)
    scores = np.array([[0.0, 1.0], [0.25, 0.75], [1e-9, 1.0]], np.float32)
    given = calibrated_scores(torch.from_numpy(scores), facts).numpy()
    np.testing.assert_allclose(given, found.apply(scores), atol=1e-6)


def test_a_video_is_read_as_by_the_run(run: Path, file: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", pictures(60))
    ours, theirs = (mien.load(p, "cpu", "highest").predict(video, faces="whole", progress=False) for p in (run, file))
    assert list(theirs.windows) == list(ours.windows)
    for table in ("windows", "frames"):
        numbers = getattr(ours, table).select_dtypes("number").columns
        apart = getattr(theirs, table)[numbers].to_numpy(float) - getattr(ours, table)[numbers].to_numpy(float)
        assert np.nanmax(np.abs(apart)) < 1e-4
    for column in ("emotion", "reliable", "reasons", "prediction_set"):
        assert theirs.windows[column].equals(ours.windows[column]), column
    assert theirs.windows["reliable"].any()
    assert not theirs.windows["reliable"].all(), "the distance says what is unfamiliar"


def test_it_is_evaluated_like_a_run(run: Path, file: Path, corpus: Path) -> None:
    """Into a folder beside the file."""
    for model in (run, file):
        assert main(["evaluate", "--model", str(model), "--data.manifest", str(corpus), "--workers", "0", "--matmul", "highest"]) == 0  # fmt: skip
    places = (run, run.with_name("faces-onnx"))
    one, other = (json.loads((place / "evaluation" / "metrics.json").read_text()) for place in places)
    assert one["UAR"] == other["UAR"]


def test_a_script_without_mien_and_pytorch_reads_it(file: Path, tmp_path: Path) -> None:
    frames = pictures(40, size=32)
    np.save(tmp_path / "frames.npy", frames)
    blocked = "import sys; sys.modules['torch'] = sys.modules['mien'] = None; import runpy; sys.argv = sys.argv[1:]; "
    code = blocked + "runpy.run_path(sys.argv[0], run_name='__main__')"
    told = subprocess.run(
        [sys.executable, "-c", code, str(EXAMPLE), str(file), str(tmp_path / "frames.npy")], capture_output=True, text=True, check=True
    ).stdout.splitlines()  # fmt: skip
    assert told[0].split("\t") == ["frame", *EXPRESSIONS]
    clip = torch.from_numpy(frames[8 : 8 + 15 : 2].copy()).permute(3, 0, 1, 2)[None]
    with torch.no_grad():
        analyzer = mien.load(file.with_suffix(""), "cpu")
        assert analyzer.calibration is not None
        expected = analyzer.calibration.apply(analyzer.task.predict({"video": clip})).values[0]
    row = next(line.split("\t") for line in told if line.startswith("8\t"))
    np.testing.assert_allclose([float(cell) for cell in row[1:]], expected, atol=1e-5)
    assert len(EXAMPLE.read_text().splitlines()) <= 42


def test_it_says_of_itself_how_to_feed_it(run: Path, file: Path) -> None:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert (entry.name, entry.type) == ("video", "tensor(uint8)")
    assert entry.shape[1:] == [3, 8, 32, 32]
    assert isinstance(entry.shape[0], str), "any batch"
    notes = session.get_modelmeta().custom_metadata_map
    assert notes == read_notes(file)
    assert json.loads(notes["names"]) == list(EXPRESSIONS)
    assert json.loads(notes["preprocessing"])["stride"] == 2
    assert ModelCard.load(file) == ModelCard.load(run)
    kept, carried = Calibration.load(run), Calibration.load(file)
    assert kept is not None
    assert carried is not None
    assert carried.facts == kept.facts


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["calibrate", "--data.manifest", "x.csv"], "calibrate the run"),
        (["explain", "x.mp4", "--faces", "whole"], "folder that it was exported from"),
    ],
)
def test_what_a_file_cannot_do_is_refused(
    file: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [str(write_video(tmp_path / "x.mp4", pictures(20))) if word == "x.mp4" else word for word in arguments]
    assert main([*arguments, "--model", str(file)]) == 1
    assert said in capsys.readouterr().err


def test_features_of_a_file_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exported from"):
        mien.load(file, "cpu").extract_features(write_video(tmp_path / "x.mp4", pictures(20)), faces="whole")


def test_a_file_that_is_not_ours_is_named(tmp_path: Path, file: Path) -> None:
    broken, strange = tmp_path / "broken.onnx", tmp_path / "strange.onnx"
    broken.write_bytes(file.read_bytes()[:-40])
    strange.write_bytes(b"")
    append_notes(strange, {"author": "somebody", "long": "x" * 1000})
    assert read_notes(strange) == {"author": "somebody", "long": "x" * 1000}
    with pytest.raises(ValueError, match="not written by mien export"):
        mien.load(strange)
    with pytest.raises(ValueError, match=r"broken\.onnx"):
        mien.load(broken, "cpu").predict(
            np.zeros((16, 32, 32, 3), np.uint8), timestamps=[i / 25 for i in range(16)], faces="whole"
        )


def test_nothing_is_written_of_what_cannot_be_exported(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joint = write_model(tmp_path / "joint", ClassificationConfig(head=AttentiveHeadConfig(), segments=2))
    assert main(["export", str(joint), str(tmp_path / "joint.onnx")]) == 1
    assert "2 segments" in capsys.readouterr().err
    assert main(["export", str(run), str(tmp_path / "model")]) == 1
    assert "ends in .onnx" in capsys.readouterr().err
    assert main(["export", str(run), str(tmp_path / "m.onnx"), "--licence", "mit"]) == 1
    assert "--licence" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["joint"]


ENCODERS = {
    "tpsbt": TPSBTConfig(dim=32, heads=2, depths=(1, 2), bottleneck=2, patch=8),
    "vit": ViTConfig(dim=32, heads=2, depth=2, patch=8),
    "vjepa": VJEPAConfig(dim=32, heads=2, depth=2, patch=8),
    "rotary": VJEPAConfig(dim=32, heads=2, depth=2, patch=8, positions="rotary"),
}
HEADS = {"mean": MeanHeadConfig(scale=40.0), "attentive": AttentiveHeadConfig(depth=2, standardise=True)}


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_and_head_is_pytorchs(encoder: str, head: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = ClassificationConfig(head=HEADS[head])
    model = task.build(ENCODERS[encoder].build(CLIP.frames, CLIP.size), PixelsConfig(), EXPRESSIONS)
    card = ModelCard(ENCODERS[encoder], CLIP, PixelsConfig(), task=task, names=EXPRESSIONS)
    found = export(Analyzer(model, card, choose_device("cpu")), tmp_path / "model.onnx", noise(3))
    assert max(found.differences.values()) < 1e-5
