"""Calibration: temperature, conformal sets and intervals, feature density, reasons, and the commands around them."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from conftest import ONE_PROCESS, TINY_TPSBT
from mien.calibration import density
from mien.calibration.calibrated import ClassSets, calibration_error, reliability_bins, top_class
from mien.calibration.calibration import Calibration
from mien.calibration.conformal import threshold
from mien.calibration.maps import (
    Intervals,
    Temperature,
    cross_entropy,
    fit_scaling,
    fit_temperature,
    scale_probabilities,
)
from mien.calibration.reliability import Limits, reasons
from mien.cli import main
from mien.faces.quality import clip_sharpness, face_sharpness, sharpness
from mien.inference.analyzer import Scores, load
from mien.reports import calibration_quality
from mien.reports.diagrams import reliability
from mien.reports.plots import png
from mien.tasks.classification import ClassificationConfig
from mien.video.manifest import read_manifest
from mien.video.views import ViewConfig


def people(rng: np.random.Generator, subjects: int, clips: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, 5) that are three times too sharp, and labels; clips of a person lean the same way."""
    lean = rng.normal(0, 0.5, (subjects, 1, 5))
    logits = (lean + rng.normal(0, 1.2, (subjects, clips, 5))).reshape(-1, 5)
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # drawn from softmax(logits)
    return softmax(3 * logits), labels


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(dim=1).numpy()


def test_temperature_is_found_and_keeps_the_order() -> None:
    probabilities, labels = people(np.random.default_rng(0), 500)
    temperature = fit_temperature(probabilities, labels)
    assert temperature == pytest.approx(3, rel=0.06)
    tried = [cross_entropy(scale_probabilities(probabilities, t), labels) for t in np.linspace(0.5, 8, 300)]
    after = scale_probabilities(probabilities, temperature)
    assert cross_entropy(after, labels) <= min(tried) + 1e-9
    assert (after.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    np.testing.assert_allclose(after.sum(axis=1), 1, atol=1e-12)


def test_temperature_lowers_the_calibration_error_of_other_people() -> None:
    rng = np.random.default_rng(1)
    temperature = fit_temperature(*people(rng, 300))
    probabilities, labels = people(rng, 300)
    assert calibration_error(*top_class(probabilities, labels)) > 0.15
    assert calibration_error(*top_class(scale_probabilities(probabilities, temperature), labels)) < 0.03


def test_labels_by_chance_are_told_from_a_sharp_model() -> None:
    rng = np.random.default_rng(9)

    def noisy() -> tuple[np.ndarray, np.ndarray]:
        probabilities, labels = people(rng, 500)
        chance = rng.random(len(labels)) < 0.3
        return probabilities, np.where(chance, rng.integers(0, 5, len(labels)), labels)

    seen, known = noisy()
    temperature, uniform = fit_scaling(seen, known)
    assert uniform == pytest.approx(0.3, abs=0.06)
    assert temperature == pytest.approx(3, rel=0.2)
    assert cross_entropy(scale_probabilities(seen, temperature, uniform), known) < cross_entropy(
        scale_probabilities(seen, fit_temperature(seen, known)), known
    )
    new, truth = noisy()
    after = scale_probabilities(new, temperature, uniform)
    assert calibration_error(*top_class(after, truth)) < 0.03
    np.testing.assert_allclose(after.sum(axis=1), 1, atol=1e-12)
    assert (after.argmax(axis=1) == new.argmax(axis=1)).all()


def test_no_chance_is_mixed_in_where_labels_hold_none() -> None:
    seen, known = people(np.random.default_rng(10), 500)
    temperature, uniform = fit_scaling(seen, known)
    assert uniform < 0.03
    assert temperature == pytest.approx(3, rel=0.1)


def test_scaling_survives_a_probability_of_zero() -> None:
    np.testing.assert_allclose(scale_probabilities([[1.0, 0.0]], 1.0), [[1, 0]], atol=1e-9)


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05], [0.91, 0.09], [0.45, 0.55], [1.0, 0.0]])
    labels = np.array([0, 1, 1, 0])
    bins = reliability_bins(*top_class(probabilities, labels), 10)
    assert bins.count.tolist() == [1, 3]
    np.testing.assert_allclose(bins.confidence, [0.55, (0.95 + 0.91 + 1) / 3])
    np.testing.assert_allclose(bins.accuracy, [1, 2 / 3])
    assert calibration_error(*top_class(probabilities, labels), 10) == pytest.approx(
        (0.45 + 3 * (0.95333333 - 2 / 3)) / 4
    )


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_hold_the_truth_of_other_people_as_often_as_asked(coverage: float) -> None:
    rng = np.random.default_rng(2)
    (seen, known), (new, truth) = people(rng, 500), people(rng, 500)
    temperature = fit_temperature(seen, known)
    scores = Temperature.scores(scale_probabilities(seen, temperature), known)
    answers = Temperature.conformal(scale_probabilities(new, temperature), scores, coverage)
    assert abs(answers.covers(truth).mean() - coverage) < 0.02
    assert answers.size().mean() < 5


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_intervals_hold_each_value_of_other_people_as_often_as_asked(coverage: float) -> None:
    rng = np.random.default_rng(3)

    def persons() -> tuple[np.ndarray, np.ndarray]:
        truth = rng.uniform(-1, 1, (5000, 2))
        bias = np.repeat(rng.normal(0, 0.1, (500, 1, 2)), 10, axis=1).reshape(-1, 2)
        return truth + bias + rng.standard_t(3, truth.shape) * [0.1, 0.4], truth

    scores = Intervals.scores(*persons())
    limits = threshold(scores, coverage)
    values, truth = persons()
    answers = Intervals.conformal(values, scores, coverage)
    assert (np.abs(answers.covers(truth).mean(axis=0) - coverage) < 0.02).all()
    assert limits[1] > 2 * limits[0]


def test_threshold_is_the_published_rank() -> None:
    scores = np.random.default_rng(4).permutation(np.arange(1, 100))  # 99 scores: the 90th of 100 places
    assert threshold(scores, 0.9) == 90
    assert threshold(scores, 0.99) == 99
    with pytest.raises(ValueError, match="needs at least 199 validation clips, there are 99"):
        threshold(scores, 0.995)
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold(scores, 1.0)


def test_sets_and_intervals_agree_with_another_implementation() -> None:
    crepes = pytest.importorskip("crepes")
    rng = np.random.default_rng(5)
    probabilities, labels = people(rng, 40)
    scores = Temperature.scores(probabilities, labels)
    other = crepes.ConformalClassifier().fit(scores)
    values = people(rng, 20)[0]
    theirs = other.predict_set(1 - values, confidence=0.9, smoothing=False).astype(bool)
    np.testing.assert_array_equal(theirs, 1 - values <= threshold(scores, 0.9))
    residuals = rng.normal(size=333)
    intervals = crepes.ConformalRegressor().fit(residuals).predict_int(np.zeros(1), confidence=0.9)
    assert intervals[0, 1] == pytest.approx(threshold(np.abs(residuals), 0.9))


def test_reasons_name_what_is_beyond_its_limit_and_nothing_unknown() -> None:
    limits = Limits(sharpness=20, width=40, pose=45, distance=0.5)
    assert reasons(30, 60, (10, -20, 59), 0.4, limits) == []
    assert reasons(30, 60, (10, -20, -61), 0.4, limits) == ["pose"]
    assert reasons(19, 60, 10.0, 0.4, limits) == ["blur"]
    assert reasons(30, 39, 10, 0.4, limits) == ["small"]
    assert reasons(30, 60, (10, -50, 0), 0.4, limits) == ["pose"]
    assert reasons(30, 60, None, 0.6, limits) == ["unfamiliar"]
    assert reasons(1, 1, 90, 1, limits) == ["blur", "small", "pose", "unfamiliar"]
    assert reasons(None, float("nan"), None, None, limits) == []


def test_blur_lowers_sharpness() -> None:
    frames = np.random.default_rng(6).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    soft = torch.nn.functional.avg_pool2d(torch.from_numpy(frames).permute(0, 3, 1, 2).float(), 5, 1, 2)
    soft = soft.permute(0, 2, 3, 1).numpy().astype(np.uint8)
    assert clip_sharpness(soft) < 0.2 * clip_sharpness(frames)
    small = [frame[::2, ::2] for frame in soft]  # enlarged, it is no sharper than what it was made from
    large = [frame.repeat(3, 0).repeat(3, 1) for frame in soft]
    assert face_sharpness(small[0], (0, 0, 32, 32)) == sharpness(small[0]) < sharpness(large[0])


def test_density_knows_other_people_and_not_other_things() -> None:
    rng = np.random.default_rng(7)
    faces = rng.normal(0, 1, (80, 1, 16)) * 0.3 + rng.normal(0, 0.2, (80, 10, 16)) + np.eye(16)[0] * 3
    groups = np.repeat(np.arange(40), 10)
    fitted, limit = density.fit(faces[:40].reshape(-1, 16), groups.tolist(), 0.95)
    beyond = (fitted.distance(faces[40:].reshape(-1, 16)) > limit).mean()
    assert 0.01 < beyond < 0.15
    assert (fitted.distance(rng.normal(0, 1, (100, 16)) - np.eye(16)[0]) > limit).mean() > 0.95
    again = density.Density.of(fitted.tensors())
    np.testing.assert_array_equal(again.distance(faces[0]), fitted.distance(faces[0]))
    with pytest.raises(ValueError, match="one subject"):
        density.fit(faces[0], ["a"] * 10, 0.95)


def test_trust_by_group_counts_each_group_alone() -> None:
    outputs = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
    targets = np.array([0, 0, 0, 0])
    calibrated = ClassSets(outputs, outputs > 0.5)
    judged = calibration_quality.CalibrationQuality(
        ClassificationConfig.outputs, outputs, targets, ("a", "b"), calibrated, [[], [], ["blur"], []]
    )
    first, second = judged.group_rows({"x": np.array([0, 1]), "none": np.array([], int), "y": np.array([2, 3])})
    assert (first["group"], first["coverage"], second["group"], second["coverage"]) == ("x", 1, "y", 0)
    assert second["unreliable"] == 0.5
    assert first["ECE"] == pytest.approx(0.1)
    assert second["ECE"] == pytest.approx(0.8)
    bare = calibration_quality.assess(ClassificationConfig.outputs, None, Scores(outputs, outputs), targets, ("a", "b"))
    assert set(bare.group_rows({"all": np.arange(4)})[0]) == {"group", "clips", "ECE_raw"}


def test_diagram_draws_each_row() -> None:
    probabilities, labels = people(np.random.default_rng(8), 30)
    assert (
        png(
            reliability(
                {
                    "before": top_class(probabilities, labels),
                    "after": top_class(scale_probabilities(probabilities, 3), labels),
                },
                ClassificationConfig.outputs,
            )
        )[:4]
        == b"\x89PNG"
    )


@pytest.fixture(scope="module", params=["classification", "regression"])
def tuned(request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two steps."""
    folder = tmp_path_factory.mktemp("tuned") / request.param
    assert main([
        "finetune", "--output", str(folder), "--data.manifest", str(corpus), "--data.select", "fold=1",
        "--train.steps=2", "--train.batch=4", *TINY_TPSBT, *ONE_PROCESS, f"--task.name={request.param}",
    ]) == 0  # fmt: skip
    return folder


def run(command: str, *arguments: object) -> int:
    return main([command, *map(str, arguments), "--device=cpu"])


def test_one_pass_gives_the_same_outputs_as_the_analyzer(tuned: Path, corpus: Path) -> None:
    analyzer, clips = load(tuned, "cpu"), read_manifest(corpus)[:6]
    views = ViewConfig(segments=3, crops=3, batch=5)
    read = analyzer.score_clips(clips, views, measure=True)
    scores = analyzer.score_clips(clips, views)
    np.testing.assert_array_equal(read.mean, scores.mean)
    np.testing.assert_allclose(read.votes, scores.votes)
    assert read.features.shape == (6, 15 + 4 * 32)
    assert (read.sharpness > 0).all()


def test_calibrate_evaluate_predict(tuned: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = (tuned / "weights.safetensors").read_bytes()
    data = ["--model", tuned, "--data.manifest", corpus, "--data.select", "fold=2", "--workers=0"]
    assert run("calibrate", *data, "--coverage=0.8") == 0
    assert (tuned / "weights.safetensors").read_bytes() == weights
    facts = yaml.safe_load((tuned / "calibration.yaml").read_text())
    assert facts["weights"] == hashlib.sha256(weights).hexdigest()
    assert facts["manifest_sha256"] == hashlib.sha256(corpus.read_bytes()).hexdigest()
    assert (facts["clips"], facts["subjects"], facts["coverage"]) == (14, 2, 0.8)
    calibration = Calibration.load(tuned)
    assert calibration is not None
    assert len(calibration.scores) == 14
    capsys.readouterr()
    assert run("evaluate", *data, "--subgroups", "style", "subject") == 0
    assert "these very clips" in capsys.readouterr().out
    table = pd.read_csv(tuned / "evaluation" / "trust.csv")
    assert table["group"].tolist()[:2] == ["all", "cartoon"]
    assert table["clips"].tolist() == [14, 14, 7, 7]
    name = "coverage" if facts["task"] == "classification" else "coverage.valence"
    everybody, _, *styles = table[name].tolist()
    assert everybody == pytest.approx(np.mean(styles))
    assert everybody >= 12 / 14 - 1e-9  # 0.8 of 15 places is the 12th of the 14 clips it was fitted on
    rows = pd.read_csv(tuned / "evaluation" / "calibrated.csv")
    assert rows["reliable"].dtype == bool
    whole = [read_manifest(corpus)[0].path, "--model", tuned, "--json", "--faces=whole", "--coverage=0.6"]
    assert run("predict", *whole) == 0
    both = capsys.readouterr()
    assert "this is a mean over 2 windows" in both.err  # 16 frames, windows of 15
    answer = json.loads(both.out.splitlines()[-1])
    assert answer["coverage"] == 0.6
    assert isinstance(answer["reliable"], bool)
    assert ("set" in answer) == (facts["task"] == "classification")
    assert ("intervals" in answer) == (facts["task"] == "regression")
    assert run("evaluate", *data, "--views.segments=5") == 0
    assert "calibrate again with these --views" in capsys.readouterr().out


def test_calibration_of_other_weights_is_refused(tuned: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--model", tuned, "--data.manifest", corpus, "--data.select", "fold=2", "--workers=0", "--coverage=0.8"]
    assert run("calibrate", *data) == 0
    file = tuned / "calibration.yaml"
    text = yaml.safe_load(file.read_text())
    numbers = file.with_suffix(".safetensors")
    whole = numbers.read_bytes()
    for bad in (whole[:100], None):
        numbers.unlink() if bad is None else numbers.write_bytes(bad)
        assert run("evaluate", *data[:-1]) == 1
        assert "not readable; run mien calibrate again" in capsys.readouterr().err
    numbers.write_bytes(whole)
    file.write_text(yaml.safe_dump(text | {"weights": "0" * 64}))
    assert run("evaluate", *data[:-1]) == 1
    assert "run mien calibrate again" in capsys.readouterr().err
    assert run("calibrate", *data[:-1], "--coverage=0.95") == 1
    assert "needs at least 19 validation clips, there are 14" in capsys.readouterr().err
    trained = ["fold=1" if argument == "fold=2" else argument for argument in data]
    assert run("calibrate", *trained) == 1
    assert "was trained on these clips" in capsys.readouterr().err
    file.unlink()
    assert run("evaluate", *data[:-1]) == 0
    assert "not calibrated" in capsys.readouterr().out
    page = (tuned / "evaluation" / "report.html").read_text()
    assert re.search(r'class="warning"[^>]*><strong>not calibrated', page), "what was printed stands in the report too"
    for named in (tuned.name, "manifest.csv", "fold=2", "clips</td><td>14"):
        assert named in page
    assert str(tuned.parent) not in page, "no folders of this machine"
