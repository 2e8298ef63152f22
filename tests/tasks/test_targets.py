"""What training learns: votes as soft labels, scaled values; and answers of clips that belong to one video."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import mien
from conftest import ONE_PROCESS, TINY_TPSBT
from mien import cli
from mien.encoders.vit import ViTConfig
from mien.evaluation.clip_groups import mean_by_column
from mien.interfaces import Clip
from mien.modules.pixels import PixelsConfig
from mien.tasks.classification import ClassificationConfig
from mien.tasks.regression import RegressionConfig

NAMES = ("anger", "fear", "sadness")


def voted(*shares: tuple[str | float | None, ...]) -> list[Clip]:
    return [
        Clip(Path(f"{i}.mp4"), columns={f"face_{n}": v for n, v in zip(NAMES, row, strict=True)}, row=i + 2)
        for i, row in enumerate(shares)
    ]


def test_votes_become_shares_of_the_classes() -> None:
    config = ClassificationConfig(votes="face_")
    shares = config.training_targets(voted((0.5, 0.5, 0), ("0.2", "0.2", "0.6")), NAMES)
    torch.testing.assert_close(shares, torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.2, 0.6]]))
    part = config.training_targets(voted((0.2, 0.2, 0.6)), NAMES[:2])
    torch.testing.assert_close(part, torch.tensor([[0.5, 0.5]]))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ((0.5, None, 0.5), r"line 3 \(1\.mp4\): no label in column 'face_fear'"),
        ((0.5, "many", 0.5), "line 3 .*'many' in column 'face_fear' is not a finite number"),
        ((1.5, -0.5, 0), "line 3 .*shares are 0 or more"),
        ((0, 0, 0), "line 3 .*one of the classes must have a vote"),
    ],
)
def test_bad_votes_name_their_row(row, says) -> None:
    with pytest.raises(ValueError, match=says):
        ClassificationConfig(votes="face_").training_targets(voted((1, 0, 0), row), NAMES)


def test_votes_for_an_absent_column_name_those_there_are() -> None:
    with pytest.raises(ValueError, match="no column 'voice_anger'; there are face_anger"):
        ClassificationConfig(votes="voice_").training_targets(voted((1, 0, 0)), NAMES)


def test_the_loss_of_votes_is_the_cross_entropy_of_their_shares() -> None:
    config = ClassificationConfig(smoothing=0.0, mixup=0.0, cutmix=0.0)
    task = config.build(ViTConfig.sized("tiny").build(4, 16), PixelsConfig(), NAMES).train()
    video, shares = torch.randint(256, (2, 3, 4, 16, 16), dtype=torch.uint8), torch.tensor([[0.2, 0.8, 0], [1, 0, 0]])
    predicted = task.predict({"video": video}).detach()
    loss = task({"video": video, "target": shares})["loss"]
    assert loss.item() == pytest.approx(float(-(shares * predicted.log()).sum(1).mean()), rel=1e-5)
    hard, index = torch.eye(3)[[1, 0]], torch.tensor([1, 0])
    losses = [task({"video": video, "target": target})["loss"].item() for target in (hard, index)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0] == pytest.approx(float(F.cross_entropy(predicted.log(), index)), rel=1e-5)


def values(scaling: str, output: str = "none", targets: torch.Tensor | None = None):
    config = RegressionConfig(columns=("a", "b"), scaling=scaling, output=output)  # pyright: ignore[reportArgumentType]
    return config.build(ViTConfig.sized("tiny").build(4, 16), PixelsConfig(), ("a", "b"), targets)


TARGETS = torch.tensor([[1.0, 100.0], [2.0, 300.0], [6.0, 500.0]])


def test_scaled_targets_have_no_units_and_answers_have() -> None:
    task = values("zscore", targets=TARGETS)
    scaled = (TARGETS - task.shift) / task.spread
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(2))
    torch.testing.assert_close(task.postprocess(scaled), TARGETS)
    assert float(task.losses(scaled, TARGETS)["loss"]) == pytest.approx(0, abs=1e-10)
    assert float(task.losses(scaled + 1, TARGETS)["loss"]) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("output", "inverse"), [("none", lambda x: x), ("sigmoid", torch.logit), ("tanh", torch.atanh)]
)
def test_least_and_greatest_values_are_the_ends_of_the_range(output, inverse) -> None:
    task = values("minmax", output, TARGETS)
    low = -1.0 if output == "tanh" else 0.0
    scaled = (TARGETS - task.shift) / task.spread
    torch.testing.assert_close(scaled.amin(0), torch.full((2,), low))
    torch.testing.assert_close(scaled.amax(0), torch.ones(2))
    middle = torch.tensor([[(low + 1) / 2] * 2])
    torch.testing.assert_close(task.postprocess(inverse(middle)), torch.tensor([[3.5, 300.0]]))


def test_scales_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="one value of b only"):
        values("minmax", targets=torch.tensor([[1.0, 2.0], [3.0, 2.0]]))
    with pytest.raises(ValueError, match="z-scores leave the range of output sigmoid"):
        values("zscore", "sigmoid")


def test_the_scale_travels_with_the_weights_alone() -> None:
    assert {"shift", "spread"} <= values("zscore").state_dict().keys()
    assert not {"shift", "spread"} & values("none").state_dict().keys()
    again = values("zscore")
    again.load_state_dict(values("zscore", targets=TARGETS).state_dict())
    torch.testing.assert_close(again.shift, TARGETS.mean(0))


def enlarged(corpus: Path, folder: Path) -> Path:
    """The corpus with valence in thousands above a million, votes, and films of two clips each."""
    with corpus.open(newline="") as file:
        rows = [row | {"path": str(corpus.parent / row["path"])} for row in csv.DictReader(file)]
    names = sorted({row["expression"] for row in rows})
    for row in rows:
        row["valence"] = str(1e6 + 1e3 * float(row["valence"]))
        row["video"] = f"{row['subject']}-{row['expression']}"
        row |= {f"face_{n}": "0.7" if n == row["expression"] else "0.05" for n in names}
    with (folder / "clips.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return folder / "clips.csv"


def finetune(manifest: Path, output: Path, *more: str) -> None:
    flags = ["--train.steps=2", "--train.batch=4", *TINY_TPSBT, *ONE_PROCESS]
    assert cli.main(["finetune", f"--data.manifest={manifest}", f"--output={output}", *flags, *more]) == 0


def test_predictions_are_in_the_units_of_the_manifest(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = enlarged(corpus, tmp_path)
    task = ["--task.name=regression", "--task.columns", "valence", "--task.scaling=zscore"]
    finetune(manifest, tmp_path / "run", *task)
    video = sorted((corpus.parent / "videos").rglob("*.mp4"))[0]
    capsys.readouterr()
    whole = ["--faces=whole", "--json", "--device=cpu"]
    assert cli.main(["predict", str(video), f"--model={tmp_path / 'run'}", *whole]) == 0
    assert json.loads(capsys.readouterr().out)["valence"] == pytest.approx(1e6, abs=2e3)
    loss = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])["loss"]
    assert loss < 10  # in deviations, not in thousands


def test_finetuning_learns_votes_and_is_marked_on_labels(corpus: Path, tmp_path: Path) -> None:
    manifest = enlarged(corpus, tmp_path)
    split = ["--split.test=fold=2", "--split.holdout=2"]
    finetune(manifest, tmp_path / "run", "--task.votes=face_", *split)
    marks = json.loads((tmp_path / "run/evaluation/metrics.json").read_text())
    assert marks["clips"] == 14
    assert mien.load(tmp_path / "run", device="cpu").names == mien.load(tmp_path / "run", device="cpu").task.names
    losses = []
    for name, flag in (("votes", "--task.votes=face_"), ("labels", "--task.votes=")):
        off = ["--task.smoothing=0", "--task.mixup=0", "--task.cutmix=0", "--task.head.scale=100"]
        finetune(manifest, tmp_path / name, flag, *off, "--train.steps=1")
        losses.append(json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0])["loss"])
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def of_video(video: str | None, subject: str = "s", row: int = 2) -> Clip:
    return Clip(Path(f"{row}.avi"), columns={"video": video, "subject": subject}, row=row)


def test_clips_of_a_video_are_marked_by_their_mean() -> None:
    clips = [of_video("b", row=2), of_video("a", row=3), of_video("b", row=4)]
    predictions = np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]])
    grouped, means, targets = mean_by_column(clips, predictions, np.array([1, 0, 1]), "video")
    assert [(clip.path.name, dict(clip.columns)) for clip in grouped] == [
        ("b", {"video": "b", "subject": "s"}), ("a", {"video": "a", "subject": "s"}),
    ]  # fmt: skip
    np.testing.assert_allclose(means, [[0.45, 0.55], [0.5, 0.5]])
    assert targets.tolist() == [1, 0]
    values = mean_by_column(clips, predictions, np.array([[1.0, 2], [0, 0], [1, 2]]), "video")[2]
    assert values.tolist() == [[1, 2], [0, 0]]


def test_groups_that_cannot_be_name_their_rows() -> None:
    ones = np.ones((2, 2))
    with pytest.raises(ValueError, match=r"line 3 .*another label than line 2, though both are video a"):
        mean_by_column([of_video("a"), of_video("a", row=3)], ones, np.array([0, 1]), "video")
    with pytest.raises(ValueError, match=r"line 3 .*no video"):
        mean_by_column([of_video("a"), of_video(None, row=3)], ones, np.array([0, 0]), "video")
    assert dict(mean_by_column([of_video("a"), of_video("a", "t", 3)], ones, np.zeros(2), "video")[0][0].columns) == {
        "video": "a"
    }


def test_evaluation_groups_clips(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = enlarged(corpus, tmp_path)
    finetune(manifest, tmp_path / "run")
    command = ["evaluate", f"--model={tmp_path / 'run'}", f"--data.manifest={manifest}", "--workers=0", "--device=cpu"]
    assert cli.main([*command, "--group-by=expression"]) == 0
    assert "7 clips: WAR" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cell", "output", "message"),
    [("1e19", "none", "no plausible label"), ("3.2", "tanh", "range of --task.output tanh, -1 to 1")],
)
def test_values_that_training_cannot_reach_are_refused(cell: str, output: str, message: str) -> None:
    clips = [
        Clip(Path("a.mp4"), columns={"valence": "0.5"}, row=2),
        Clip(Path("b.mp4"), columns={"valence": cell}, row=3),
    ]
    config = RegressionConfig(columns=("valence",), output=output)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=message) as error:
        config.training_targets(clips, ("valence",))
    assert "line 3" in str(error.value)
