"""An option that a command would not honour is refused, before any work, with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.calibration.calibration import require_calibration
from mien.cli import main
from mien.faces.detectors import DetectConfig
from mien.interfaces import Clip
from mien.tasks.classification import ClassificationConfig
from mien.training.partition import SplitConfig, divide

REFUSED = {
    "finetune: the means of a probe": (["finetune", "--task.head.standardise"], "mien probe --head.standardise"),
    "finetune: values too": (
        ["finetune", "--task.name=regression", "--task.head.standardise"], "mien probe --head.standardise",
    ),
    "finetune: segments": (["finetune", "--task.segments=8"], "mien probe --segments 8"),
    "finetune: two ways to validate": (
        ["finetune", "--split.validation=split=val", "--split.holdout=5"], "--split.holdout takes nobody",
    ),
    "probe: mixing": (["probe", "--task.mixup=0.8"], "leave --task.mixup"),
    "probe: augmentation of one view": (["probe", "--augment.flip=0.5"], "--augment.flip changes nothing"),
    "probe: cache of training": (["probe", "--data.cache"], "--data.cache"),
    "evaluate: cache of training": (["evaluate", "--data.cache"], "--data.cache"),
    "features: views of training": (["extract-features", "--features.variants=3"], "--features.variants"),
    "cross-validate: two devices": (
        ["cross-validate", "finetune", "--folds.devices", "cpu", "cpu", "--train.device=cuda"], "leave the device cuda out",
    ),
    "cross-validate: two columns of people": (["cross-validate", "finetune", "--split.group=person"], "--folds.group"),
    "cross-validate probe: two columns of people": (["cross-validate", "probe", "--group=person"], "--folds.group"),
    "faces: workers of ray": (["extract-faces", "x.mp4", "--engine=ray", "--workers=2"], "leave it out"),
    "faces: a cluster without ray": (["extract-faces", "x.mp4", "--ray-address=head:1"], "--engine ray"),
    "models: list of one": (["models", "list", "yunet"], "mien models get"),
    "prepare: seed of no folds": (["prepare", "folder", ".", "--seed=3"], "--folds"),
    "analyze: whole frames hold no faces to join": (["analyze", "x.mp4", "--faces=whole", "--identity=sface"], "--identity out"),
    "analyze: likeness of nobody": (["analyze", "x.mp4", "--same-person=0.5"], "--identity sface"),
    "explain: persons": (["explain", "x.mp4", "--identity=sface"], "leave it out"),
    "analyze: whole frames": (
        ["analyze", "x.mp4", "--faces=whole", "--follow.every=3", "--crop=loose"], "leave --follow.every, --crop out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, way_out = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    try:
        code = main(flags)
    except SystemExit as stop:  # unknown options end in the parser
        code = stop.code
    said = capsys.readouterr()
    assert code not in (0, None)
    assert way_out in " ".join((said.out + said.err).replace("│", " ").split())
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_coverage_is_for_calibrated_models() -> None:
    require_calibration(None, None)
    with pytest.raises(ValueError, match="mien calibrate"):
        require_calibration(None, 0.8)


def test_a_detector_without_a_file_takes_none(tmp_path: Path) -> None:
    file = tmp_path / "x.onnx"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="leave --detector-model out"):
        DetectConfig(name="haar", model=file).resolved()


def test_a_choice_on_test_needs_test_rows() -> None:
    clips = [Clip(Path("a.mp4"), columns={"expression": "anger"}, row=2)]
    with pytest.raises(ValueError, match=r"--split\.test"):
        divide(clips, SplitConfig(choose_on_test=True), ClassificationConfig(), 0)
