"""A video is read the same way by every command: the same faces, crops, windows and means."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mien
from mien.cli import main
from mien.config import to_tree
from mien.faces.crop import CropConfig
from mien.inference.timeline import Timeline
from mien.video.decode import open_video
from toy_models import write_model, write_video

DETECTOR = "--detector.name=haar"


@pytest.fixture(scope="module")
def face(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of one real face in a frame that is much larger than it."""
    with open_video(next(media.rglob("*1001_DFA_ANG*.flv"))) as video:
        frames = video.read(range(25))
    return write_video(
        tmp_path_factory.mktemp("face") / "face.mp4", np.pad(frames, ((0, 0), (40, 40), (80, 0), (0, 0)))
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), face_crop=to_tree(CropConfig()))


def test_predict_explain_and_analyze_say_the_same(
    face: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = [str(face), "--model", str(model), "--device=cpu", "--matmul=highest", DETECTOR]
    assert main(["analyze", *shared, f"--output={tmp_path / 'a'}", "--no-pictures", "--no-overlay"]) == 0
    summary = Timeline.load(tmp_path / "a").summary()
    assert len(summary) == 1
    row = summary.iloc[0]
    capsys.readouterr()
    assert main(["predict", *shared, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["emotion"] == row["emotion"]
    assert said["scores"] == {name: row[name] for name in said["scores"]}
    assert said["faces"][0]["frames"] == row["frames"]
    assert main(["predict", *shared]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[0] == row["emotion"]  # the likeliest comes first
    assert main(["explain", *shared, f"--output={tmp_path / 'e'}"]) == 0
    explained = json.loads((tmp_path / "e" / "explanation.json").read_text())
    assert (explained["target"], explained["answer"]) == (row["emotion"], row[row["emotion"]])
    whole = mien.load(model, device="cpu").scores(face, faces="whole")
    assert max(abs(whole[name] - row[name]) for name in whole) > 0.01  # whole frames are another picture


def test_without_a_face_the_way_out_is_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grey = write_video(tmp_path / "grey.mp4", np.full((6, 64, 64, 3), 127, np.uint8))
    for command in (["predict"], ["explain", f"--output={tmp_path / 'e'}"]):
        assert main([*command, str(grey), "--model", str(model), "--device=cpu", DETECTOR]) == 1
        assert (
            "grey.mp4: no face is seen; for a clip that is cropped to one face: --faces whole"
            in capsys.readouterr().err
        )


def test_manifests_are_read_as_they_are_and_it_is_said(
    corpus: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--model={model}", f"--data.manifest={corpus}", "--data.select=fold=1", "--device=cpu", "--workers=0"]
    assert main(["evaluate", *flags]) == 0
    assert "faces that mien extract-faces cut (loose)" in capsys.readouterr().out
    plain = write_model(tmp_path / "plain")
    assert main(["evaluate", f"--model={plain}", *flags[1:]]) == 0
    assert "warning" not in capsys.readouterr().out
