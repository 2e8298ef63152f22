"""Frame models: a network in an ONNX file reads every frame of every face, as any other model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mien
from mien.cli import main
from mien.interfaces import Clip
from mien.models.frame import open_network, open_with_opencv
from mien.models.layouts.onnx_file import FrameCard, save_frame_model
from mien.models.registry import known
from mien.video.views import ViewConfig
from toy_models import expression_network, pictures, write_video


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of a network in the layout of ``fer-opencv``."""
    card = known("fer-opencv").card
    assert card is not None
    save_frame_model(tmp_path / "model", expression_network(), card)
    return tmp_path / "model"


def test_both_libraries_give_the_same_scores() -> None:
    content, draw = expression_network(), np.random.default_rng(0)
    shown = draw.normal(size=(3, 3, 112, 112)).astype(np.float32)
    np.testing.assert_allclose(open_with_opencv(content)(shown), open_network(content)(shown), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("open_file", [open_network, open_with_opencv])
def test_what_is_no_network_is_refused(open_file) -> None:
    with pytest.raises(ValueError, match="not an ONNX network"):
        open_file(b"no network at all")


def test_a_clip_is_the_mean_over_all_its_frames(model: Path, tmp_path: Path) -> None:
    shown = pictures(9, size=112)
    path = write_video(tmp_path / "clip.mp4", shown)
    analyzer = mien.load(model, device="cpu")
    scores = analyzer.score_clips([Clip(path)], ViewConfig(), progress=False)
    timeline = analyzer.predict(path, faces="whole", progress=False)
    assert len(timeline.windows) == 9
    frames = timeline.frames[list(analyzer.names)].to_numpy(float)
    np.testing.assert_allclose(frames.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(scores.mean[0], frames.mean(0), atol=1e-5)


@pytest.mark.parametrize("colour", ["rgb", "bgr", "grey"])
def test_colours_are_ordered_and_numbers_scaled_as_the_card_says(colour, tmp_path: Path) -> None:
    card = FrameCard(
        names=("a", "b"), size=112, colour=colour, mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255), first=2
    )
    if colour == "grey":  # its network wants three colours
        with pytest.raises(ValueError, match="does not take"):
            save_frame_model(tmp_path, expression_network(), card)
        return
    save_frame_model(tmp_path, expression_network(), card)
    video = torch.randint(0, 256, (1, 3, 1, 112, 112), dtype=torch.uint8)
    given = mien.load(tmp_path, device="cpu").task.predict({"video": video})
    shown = video[:, :, 0].float().numpy()
    expected = open_network(expression_network())(np.ascontiguousarray(shown if colour == "rgb" else shown[:, ::-1]))
    torch.testing.assert_close(given, torch.from_numpy(expected[:, 2:4]).softmax(1), rtol=1e-4, atol=1e-5)


def test_any_onnx_file_with_a_card_is_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.onnx").write_bytes(expression_network())
    (tmp_path / "card.yaml").write_text("names: [angry, sad]\nsize: 112\nfirst: 5\n")
    assert main(["convert", str(tmp_path / "net.onnx"), str(tmp_path / "out")]) == 1
    assert "--card" in capsys.readouterr().err
    command = ["convert", str(tmp_path / "net.onnx"), str(tmp_path / "out"), "--card", str(tmp_path / "card.yaml")]
    assert main(command) == 0
    assert mien.load(tmp_path / "out").names == ("anger", "sadness")
    (tmp_path / "card.yaml").write_text("names: [angry, sad]\nsize: 112\nfirst: 6\n")
    assert main(command) == 1
    assert "gives 7 scores, its card takes 2 from number 6 on" in capsys.readouterr().err


def test_nothing_is_trained_from_it(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "pretrain",
        "svfap_tiny",
        "--init",
        str(model),
        f"--data.manifest={corpus}",
        f"--output={tmp_path / 'run'}",
    ]
    assert main(command) == 1
    assert "this is a frame model" in capsys.readouterr().err
