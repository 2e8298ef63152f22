"""The whole path as a user walks it: draw, pre-train, fine-tune, evaluate, predict, convert."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import mien
from conftest import DATA, ONE_PROCESS, TINY_DECODER, TINY_TPSBT
from mien import cli
from mien.commands import evaluate
from mien.encoders.tpsbt import TPSBTConfig
from mien.encoders.vit import ViTConfig
from mien.engine.checkpoint import load_strictly
from mien.inference.analyzer import Scores
from mien.modules.pixels import PixelsConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.tasks.classification import ClassificationConfig
from mien.video.manifest import read_manifest
from mien.video.views import ViewConfig, ViewDataset, distinct_views


def run(*arguments: object) -> None:
    assert cli.main([str(a) for a in arguments]) == 0


def train(command: str, corpus: Path, output: Path, *more: str) -> None:
    flags = ["--train.steps=3", "--train.batch=4", *TINY_TPSBT, *ONE_PROCESS]
    run(command, f"--data.manifest={corpus}", f"--output={output}", *flags, *more)


@pytest.fixture(scope="module")
def runs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a pre-trained run, a classifier started from it, and a regression."""
    folder = tmp_path_factory.mktemp("runs")
    train("pretrain", corpus, folder / "pretrain", *TINY_DECODER)
    train("finetune", corpus, folder / "classes", f"--init={folder / 'pretrain'}", "--train.steps=1", "--optim.lr=0")
    train("finetune", corpus, folder / "values", "--task.name=regression", "--task.columns", "valence", "arousal")
    return folder


def test_finetuning_starts_from_the_pretrained_encoder(runs: Path) -> None:
    before, after = (load_file(runs / name / "weights.safetensors") for name in ("pretrain", "classes"))
    for name, value in before.items():
        if name.startswith("encoder."):
            assert torch.equal(value, after[name]), name


def test_evaluation_marks_every_clip_once(runs: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("evaluate", f"--model={runs / 'classes'}", f"--data.manifest={corpus}", "--workers=0", "--device=cpu")
    assert "28 clips: WAR" in capsys.readouterr().out
    folder = runs / "classes" / "evaluation"
    table = pd.read_csv(folder / "predictions.csv")
    assert len(table) == 28
    assert table["path"].is_unique
    names = json.loads((runs / "classes" / "model.json").read_text())["names"]
    np.testing.assert_allclose(table[names].sum(axis=1), 1.0, atol=1e-6)
    saved = json.loads((folder / "metrics.json").read_text())
    assert saved["WAR"] == pytest.approx((table["truth"] == table["predicted"]).mean())
    assert (folder / "confusion.png").stat().st_size > 0


def test_evaluation_of_values(runs: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("evaluate", f"--model={runs / 'values'}", f"--data.manifest={corpus}", "--workers=0", "--device=cpu")
    out = capsys.readouterr().out
    assert all(word in out for word in ("PCC", "CCC", "RMSE", "1-MAE", "CCC.valence"))
    assert (runs / "values" / "evaluation" / "scatter.png").is_file()


def test_prediction_is_the_same_on_the_command_line_and_in_python(
    runs: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = sorted((corpus.parent / "videos").rglob("*.mp4"))[0]
    whole = [f"--model={runs / 'classes'}", "--faces=whole", "--device=cpu"]
    run("predict", video, *whole, "--json", "--matmul=highest")
    printed = json.loads(capsys.readouterr().out)
    scores = mien.load(runs / "classes", device="cpu").scores(video, faces="whole")
    assert printed["scores"] == pytest.approx(scores)
    assert {name: printed[name] for name in scores} == printed["scores"]
    assert printed["emotion"] == max(scores, key=lambda name: scores[name])
    assert sum(scores.values()) == pytest.approx(1.0)
    run("predict", video, *whole)
    assert "anger" in capsys.readouterr().out


def test_batch_size_does_not_change_scores(runs: Path, corpus: Path) -> None:
    analyzer, clips = mien.load(runs / "classes", device="cpu"), read_manifest(corpus)[:7]
    one, many = (analyzer.score_clips(clips, ViewConfig(batch=size), progress=False) for size in (1, 7))
    np.testing.assert_allclose(one.mean, many.mean, atol=1e-5)


def test_whole_videos_are_scored_by_the_mean_and_the_majority_of_sliding_windows(runs: Path, corpus: Path) -> None:
    analyzer, clips = mien.load(runs / "classes", device="cpu"), read_manifest(corpus)[:3]
    with torch.no_grad():
        analyzer.task.head.get_parameter("linear.weight").mul_(3000.0)  # windows that disagree
    scores = analyzer.score_clips(clips, ViewConfig(sliding=1), progress=False)
    items = ViewDataset(clips, analyzer.clip, ViewConfig(sliding=1))
    for i in range(len(clips)):
        with torch.inference_mode():
            each = analyzer.task.predict({"video": torch.stack(list(distinct_views(items[i])))}).numpy()
        assert len(each) == 2  # 16 frames, windows of 8 at stride 2
        np.testing.assert_allclose(scores.mean[i], each.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(scores.votes[i], np.eye(7)[each.argmax(axis=1)].mean(axis=0))
        assert scores.majority[i] in each.argmax(axis=1)


def test_the_majority_is_told_where_windows_disagree(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    analyzer, targets = mien.load(runs / "classes", device="cpu"), np.arange(7)
    agreed = np.eye(7)
    evaluate.report_majority(Scores(agreed, agreed), targets, analyzer, tmp_path)
    assert capsys.readouterr().out == ""
    split = agreed.copy()
    split[0] = [0.25, 0.75, 0, 0, 0, 0, 0]  # most windows of the first clip say the second class
    evaluate.report_majority(Scores(agreed, split), targets, analyzer, tmp_path)
    assert "majority of the windows: WAR 0.8571" in capsys.readouterr().out
    assert json.loads((tmp_path / "majority.json").read_text())["WAR"] == pytest.approx(6 / 7)


def test_official_weights_convert_strictly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--heads=4", "--clip.size=64", "--depths", "2", "3", "2"]
    run("convert", DATA / "svfap_pretrain.safetensors", tmp_path / "pretrained", "--decoder-heads=4", *flags)
    names = ["--names", "happy", "sad", "neutral", "angry", "surprise", "disgust", "fear"]
    torch.save({"module": load_file(DATA / "svfap_finetune.safetensors")}, tmp_path / "f.pth")
    run("convert", tmp_path / "f.pth", tmp_path / "classes", *flags, *names)
    assert "every key used" in capsys.readouterr().out
    analyzer = mien.load(tmp_path / "classes", device="cpu")
    assert analyzer.names[:2] == ("happiness", "sadness")
    known = load_file(DATA / "svfap_finetune.safetensors")
    with torch.no_grad():
        ours = analyzer.task.predict({"video": known["__video"]})
    torch.testing.assert_close(ours, known["__logits"].softmax(1), rtol=1e-5, atol=1e-5)
    assert cli.main(["convert", str(tmp_path / "f.pth"), str(tmp_path / "x"), *flags]) == 1
    assert "name them with --names" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["pretrained", "classes"])
def test_official_videomae_layouts_convert(kind: str, tmp_path: Path) -> None:
    """VideoMAE checkpoints, written in their own spelling from a model of ours, come back weight for weight."""
    encoder = ViTConfig(dim=64, heads=1, depth=2, patch=8).build(8, 32)
    if kind == "pretrained":
        config = MaskedAutoencodingConfig(decoder_dim=64, decoder_heads=1, decoder_depth=1)
        model = config.build(encoder, PixelsConfig())
        official = {k.replace("encoder_norm.", "encoder.norm."): v for k, v in model.state_dict().items()}
    else:
        model = ClassificationConfig().build(encoder, PixelsConfig(), ("anger", "fear"))
        spelling = {"encoder.": "", "head.norm.": "fc_norm.", "head.linear.": "head."}
        old = {k: next(p for p in spelling if k.startswith(p)) for k in model.state_dict()}
        official = {spelling[p] + k.removeprefix(p): model.state_dict()[k] for k, p in old.items()}
    torch.save({"model": official}, tmp_path / "videomae.pth")
    said = ["--names", "anger", "fear"] if kind == "classes" else ["--decoder-heads=1"]
    run("convert", tmp_path / "videomae.pth", tmp_path / "out", "--heads=1", "--clip.frames=8", "--clip.size=32", *said)
    back = load_file(tmp_path / "out" / "weights.safetensors")
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[k], v) for k, v in model.state_dict().items())


def test_loading_names_every_key_that_does_not_fit() -> None:
    encoder = TPSBTConfig(dim=32, heads=2, depths=(1, 2), bottleneck=2, patch=8).build(8, 32)
    weights = encoder.state_dict()
    weights["extra.weight"] = weights.pop("blocks.0.norm1.weight")
    weights["blocks.0.norm1.bias"] = torch.zeros(5)
    with pytest.raises(ValueError, match=r"missing blocks\.0\.norm1\.weight .*unknown extra\.weight .*\(5,\)"):
        load_strictly(encoder, weights, "file")


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    overview = capsys.readouterr().out
    for command in cli.COMMANDS:
        assert command in overview
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert f"usage: mien {command}" in capsys.readouterr().out


def test_former_names_of_commands_work_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    for former, name in cli.FORMER.items():
        with pytest.raises(SystemExit):
            cli.main([former, "--help"])
        out, err = capsys.readouterr()
        assert f"usage: mien {name}" in out
        assert err == f"note: mien {former} is now called mien {name}; the old name works until the next version\n"


def test_mistakes_are_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["paint"]) == 2
    assert "no command 'paint'" in capsys.readouterr().err
    recipe = tmp_path / "r.yaml"
    recipe.write_text("optim: {learning_rate: 1}")
    assert cli.main(["pretrain", str(recipe)]) == 1
    assert "optim.learning_rate" in capsys.readouterr().err
    recipe.write_text("optim: {lr: 1e-4}")
    assert cli.main(["pretrain", str(recipe)]) == 1
    assert "--data.manifest" in capsys.readouterr().err


def test_no_traceback_in_a_real_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mien", "predict", str(tmp_path / "no.mp4"), "--model", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "model.json is missing" in result.stderr
