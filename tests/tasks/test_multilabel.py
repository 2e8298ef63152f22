"""Labels that are yes or no each: targets, loss, metrics, calibration; and every command over a toy model of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as reference

from conftest import ONE_PROCESS, TINY_TPSBT
from mien.calibration.calibration import Calibration
from mien.calibration.maps import Logistic, sigmoid
from mien.cli import main
from mien.encoders.tpsbt import TPSBTConfig
from mien.inference.timeline import Timeline
from mien.interfaces import Clip
from mien.modules.pixels import PixelsConfig
from mien.statistics import metrics
from mien.statistics.intervals import bootstrap, intervals
from mien.statistics.predictions import label_predictions
from mien.tasks.multilabel import MultilabelConfig

NAMES = ("brow", "smile", "jaw")
UNITS = ("brow_raise", "lid_raise", "nose_wrinkle", "jaw_drop")


def made(clips: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities with ties, truth with unknown cells, subjects."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((clips, 3)) < (0.2, 0.5, 0.8)).astype(int)
    values = np.round(np.clip(0.35 * truth + 0.65 * rng.random((clips, 3)), 0, 1), 1)
    truth[rng.random((clips, 3)) < 0.2] = metrics.UNKNOWN
    return values, truth, rng.integers(0, 8, clips)


def clip(**columns: str | None) -> Clip:
    return Clip(Path("a.mp4"), columns=columns, row=7)


def test_metrics_are_those_of_scikit_learn_over_the_known_cells() -> None:
    values, truth, _ = made()
    measured = metrics.labels(values, truth, NAMES)
    zero: Any = 0  # scikit-learn's signature says str
    for i, name in enumerate(NAMES):
        known = truth[:, i] != metrics.UNKNOWN
        right, predicted = truth[known, i], (values[known, i] >= 0.5).astype(int)
        often = np.full(len(right), int(right.mean() > 0.5))
        expected = {
            "F1": reference.f1_score(right, predicted),
            "F1_majority": reference.f1_score(right, often, zero_division=zero),
            "AUC": reference.roc_auc_score(right, values[known, i]), "AUC_majority": 0.5,
            "accuracy": reference.accuracy_score(right, predicted),
            "accuracy_majority": reference.accuracy_score(right, often),
            "rate": right.mean(),
        }  # fmt: skip
        for metric, value in expected.items():
            assert measured[f"{metric}.{name}"] == pytest.approx(value), (metric, name)
    for metric in metrics.LABEL_METRICS:
        assert measured[metric] == pytest.approx(np.mean([measured[f"{metric}.{name}"] for name in NAMES]))


def test_a_label_that_cannot_be_measured_is_left_out_of_the_mean() -> None:
    values, truth, _ = made()
    truth[:, 0], truth[:, 1] = 0, 1
    measured = metrics.labels(values, truth, NAMES)
    assert np.isnan(measured["F1.brow"])
    assert np.isnan(measured["AUC.smile"])
    assert measured["AUC"] == measured["AUC.jaw"]
    assert measured["F1"] == pytest.approx((measured["F1.smile"] + measured["F1.jaw"]) / 2)
    assert label_predictions(values, truth, NAMES).absent() == ["brow", "smile"]
    for bad, why in ((values[:, :2], "not \\(N, 3\\)"), (values * np.nan, "not finite"), (values[:0], "at least one")):
        with pytest.raises(ValueError, match=why):
            metrics.labels(bad, truth[: len(bad)], NAMES)
    with pytest.raises(ValueError, match="other than 1"):
        metrics.labels(values, truth + 1, NAMES)


def test_drawing_people_again_equals_a_plain_loop() -> None:
    values, truth, people = made()
    fast = intervals(label_predictions(values, truth, NAMES, people), 20)
    slow = bootstrap(lambda rows: metrics.labels(values[rows], truth[rows], NAMES), people, 20)
    assert list(fast) == list(slow)
    for name, one in slow.items():
        np.testing.assert_allclose([fast[name].value, fast[name].low, fast[name].high], [one.value, one.low, one.high])


def test_cells_are_yes_no_or_unknown_and_anything_else_names_its_row() -> None:
    config = MultilabelConfig(columns=("a", "b"))
    rows = [clip(a="1", b="no"), clip(a="YES", b=None), clip(a="true", b="0.0")]
    assert config.targets(rows, config.columns).tolist() == [[1, 0], [1, -1], [1, 0]]
    with pytest.raises(ValueError, match=r"line 7 .*'3' in column 'b' is neither yes nor no.*--task\.at_least"):
        config.targets([clip(a="1", b="3")], config.columns)
    with pytest.raises(ValueError, match=r"no column 'b'; there are a"):
        config.targets([clip(a="1")], config.columns)
    strong = MultilabelConfig(columns=("a", "b"), at_least=2)
    assert strong.targets([clip(a="2", b="1.5"), clip(a="5", b="")], strong.columns).tolist() == [[1, 0], [1, -1]]
    with pytest.raises(ValueError, match=r"--task\.columns; there are a, b"):
        MultilabelConfig().names(rows)


def test_loss_is_the_mean_over_all_cells_and_unknown_ones_teach_nothing() -> None:

    encoder = TPSBTConfig(dim=32, heads=2, depths=(1, 2), bottleneck=2, patch=8).build(8, 32)
    targets = torch.tensor([[1, 0], [0, 1], [0, -1], [0, 0]])
    task = MultilabelConfig(columns=("a", "b"), positive_weights=True).build(
        encoder, PixelsConfig(), ("a", "b"), targets
    )
    raw = torch.randn(4, 2, requires_grad=True)
    losses = task.losses(raw, targets)
    p, weights = raw.sigmoid(), torch.tensor([3.0, 2.0])
    each = -(weights * (targets == 1) * p.log() + (targets == 0) * (1 - p).log())
    torch.testing.assert_close(losses["loss"], each.sum() / 8)
    losses["loss"].backward()
    assert raw.grad is not None
    assert raw.grad[2, 1] == 0
    halves = [task.losses(raw[rows], targets[rows])["loss"] for rows in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(losses["loss"], (halves[0] + halves[1]) / 2)
    with pytest.raises(ValueError, match="no training row says yes in b"):
        MultilabelConfig().build(encoder, PixelsConfig(), ("a", "b"), torch.tensor([[1, 0], [0, 0]]))


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_logistic_calibration_finds_the_truth_and_its_sets_hold_among_yes_and_no_alike(coverage: float) -> None:
    rng = np.random.default_rng(3)

    def draw(clips: int) -> tuple[np.ndarray, np.ndarray]:
        logits = rng.normal((-3, 0), 1.5, (clips, 2))
        return sigmoid(2 * logits + 1), (rng.random((clips, 2)) < sigmoid(logits)).astype(int)

    seen, known = draw(20000)
    known[::7, 0] = metrics.UNKNOWN
    logistic = Logistic.fit(seen, known, ("rare", "even"))
    np.testing.assert_allclose(logistic.slopes, 0.5, atol=0.06)
    np.testing.assert_allclose(logistic.shifts, -0.5, atol=0.12)
    new, truth = draw(20000)
    sets = logistic.conformal(logistic.apply(new), logistic.scores(logistic.apply(seen), known), coverage)
    for answer in (0, 1):
        shares = [sets.covers(truth)[truth[:, i] == answer, i].mean() for i in range(2)]
        np.testing.assert_allclose(shares, coverage, atol=0.045)


def test_too_few_clips_of_an_answer_leave_it_in_every_set() -> None:
    values, truth = np.full((30, 1), 0.01), np.zeros((30, 1), dtype=int)
    truth[0] = 1
    conformal = Logistic.conformal(values, Logistic.scores(values, truth), 0.9)
    assert conformal.sets[..., 1].all()


@pytest.fixture(scope="module")
def labels(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn corpus with half of its rows, one unknown cell and a column of both."""
    table = pd.read_csv(corpus, dtype=str, keep_default_na=False)
    table["path"] = [str(corpus.parent / path) for path in table["path"]]
    table.loc[3, "jaw_drop"] = ""
    manifest = tmp_path_factory.mktemp("labels") / "manifest.csv"
    table.to_csv(manifest, index=False)
    return manifest


@pytest.fixture(scope="module")
def trained(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy run: two steps, weights chosen on validation."""
    run = tmp_path_factory.mktemp("run") / "finetune"
    flags = [*TINY_TPSBT, *ONE_PROCESS, "--train.steps=2", "--train.batch=4", "--split.test", "fold=2"]
    command = ["finetune", "--data.manifest", str(labels), "--output", str(run), *task(), *flags]
    assert main([*command, "--split.validation", "subject=s002"]) == 0
    return run


def task() -> list[str]:
    return ["--task.name=multilabel", "--task.columns", *UNITS]


def test_finetune_chooses_weights_by_auc_and_marks_each_beside_the_majority(trained: Path) -> None:
    rows = json.loads((trained / "results.json").read_text())
    assert [row["weights"] for row in rows] == ["last epoch", "best on validation"]
    assert all("validation AUC" in row for row in rows)
    saved = json.loads((trained / "evaluation" / "metrics.json").read_text())
    assert saved["task"] == "multilabel"
    assert {"F1", "F1_majority", "AUC", "accuracy", "rate.jaw_drop", "AUC.jaw_drop"} <= saved.keys()
    assert "CCC" not in saved
    assert (trained / "evaluation" / "labels.png").is_file()
    table = pd.read_csv(trained / "evaluation" / "labels.csv", index_col=0)
    assert list(table.index) == list(UNITS)


def test_evaluate_calibrate_and_compare(trained: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data.manifest", str(labels), "--device=cpu", "--workers=0", "--model", str(trained)]
    assert main(["calibrate", *data, "--data.select", "fold=2", "--coverage=0.5"]) == 0
    calibration = Calibration.load(trained)
    assert calibration is not None
    assert len(calibration.facts.slopes) == len(UNITS)
    out = trained / "marked"
    assert main(["evaluate", *data, "--output", str(out), "--subgroups", "expression", "--coverage=0.6"]) == 0
    printed = capsys.readouterr().out
    assert "(majority" in printed
    assert "coverage_yes" in printed
    table = pd.read_csv(out / "predictions.csv")
    assert np.isnan(table["jaw_drop_truth"].to_numpy(float)).sum() == 1
    calibrated = pd.read_csv(out / "calibrated.csv", keep_default_na=False)
    assert set(calibrated["jaw_drop_set"]) <= {"", "no", "yes", "no|yes"}
    assert (out / "reliability.png").is_file()
    again = trained / "again"
    assert main(["evaluate", *data, "--output", str(again)]) == 0
    assert main(["compare", str(out), str(again), "--draws=20"]) == 0
    printed = capsys.readouterr().out
    assert "F1 per label" in printed
    assert "majority" not in printed.partition("minus")[2]


def test_probe_and_its_baselines(trained: Path, labels: Path, tmp_path: Path) -> None:
    flags = [
        "--probe.epochs=1",
        "--probe.lrs",
        "1e-3",
        "--probe.weight-decays",
        "0.01",
        "--probe.batch=8",
        "--views.crops=1",
    ]
    rows = [
        "--train",
        "fold=1",
        "--validation",
        "subject=s001",
        "--test",
        "subject=s003",
        "--segments=1",
        "--leaks-allowed",
    ]
    command = ["probe", "--model", str(trained), "--data.manifest", str(labels), "--output", str(tmp_path), *task()]
    assert main([*command, *flags, *rows, "--baselines", "--workers=0", "--device=cpu"]) == 0
    table = json.loads((tmp_path / "probe.json").read_text())
    assert "raw pixels, linear" in [row["features"] for row in table]
    assert all("AUC" in row for row in table)


def test_crossval_pools_the_folds(labels: Path, tmp_path: Path) -> None:
    flags = [*TINY_TPSBT, *ONE_PROCESS, "--train.steps=1", "--train.batch=4"]
    command = [
        "cross-validate",
        "finetune",
        "--data.manifest",
        str(labels),
        "--output",
        str(tmp_path / "run"),
        *task(),
        *flags,
    ]
    assert main(command) == 0
    table = pd.read_csv(tmp_path / "run" / "folds.csv").set_index("metric")
    assert {"F1", "AUC", "AUC_majority", "rate.jaw_drop"} <= set(table.index)
    assert (tmp_path / "run" / "radar.png").is_file()


def test_videos_are_read_to_tables_and_pages(
    trained: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(pd.read_csv(labels)["path"].tolist()[0])
    flags = ["--model", str(trained), "--faces", "whole", "--device", "cpu"]
    assert main(["analyze", video, "--output", str(tmp_path / "one"), *flags]) == 0
    timeline = Timeline.load(tmp_path / "one")
    assert {"jaw_drop", "jaw_drop_sd"} <= set(timeline.frames)
    assert {"jaw_drop", "jaw_drop_set", "reliable"} <= set(timeline.windows)
    assert {"timeline.png", "overlay.mp4", "report.html"} <= {path.name for path in (tmp_path / "one").iterdir()}
    capsys.readouterr()
    assert main(["predict", video, *flags, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert all(0 <= answer[name] <= 1 for name in UNITS)
    assert main(["predict", video, *flags]) == 0
    assert main(["study", str(labels), "--output", str(tmp_path / "study"), "--select", "subject=s000; expression=anger,fear",
                 "--condition", "expression", "--no-pictures", *flags]) == 0  # fmt: skip
    summary = pd.read_csv(tmp_path / "study" / "summary.csv")
    assert set(summary["measure"]) == set(UNITS)
    assert (
        main(["explain", video, "--output", str(tmp_path / "maps"), "--target", "jaw_drop", "--windows=1", *flags]) == 0
    )
    about = json.loads((tmp_path / "maps" / "explanation.json").read_text())
    assert about["unit"] == "log-odds"


def test_what_needs_classes_says_so(trained: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cross-corpus", "--model", str(trained), "--data.manifest", str(labels), "--device=cpu"]) == 1
    assert "gives labels, not classes" in capsys.readouterr().err


def test_cost_needs_no_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "finetune", "--task.name=multilabel", *TINY_TPSBT, *ONE_PROCESS, "--train.batch=2"]) == 0
    assert "parameters" in capsys.readouterr().out


def test_the_page_is_told_that_outputs_are_probabilities(trained: Path) -> None:
    from mien.inference.analyzer import load
    from mien.web.schemas import about_model

    about = about_model("toy", load(trained, "cpu"))
    assert (about.kind, about.bounds, about.names) == ("multilabel", (0.0, 1.0), list(UNITS))
