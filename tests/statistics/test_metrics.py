"""Metrics equal scikit-learn, scipy and the textbook, over all predictions at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as reference

from mien.statistics import metrics
from mien.tasks.regression import ccc_loss

NAMES = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")


def answers(seed: int, clips: int = 200, missing: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Random probabilities (N, 7) that are often right, and targets without the ``missing`` classes."""
    random = np.random.default_rng(seed)
    targets = random.choice([c for c in range(7) if c not in missing], clips)
    logits = random.standard_normal((clips, 7))
    logits[np.arange(clips), targets] += 1.0
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), targets


def values(seed: int, clips: int = 300, names: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and targets (N, K) that agree in part, with other means and spreads."""
    random = np.random.default_rng(seed)
    targets = random.uniform(-1, 1, (clips, names))
    return 0.6 * targets + 0.3 * random.standard_normal((clips, names)) + 0.2, targets


@pytest.mark.parametrize("missing", [(), (5,), (0, 5, 6)])
@pytest.mark.parametrize("seed", range(3))
def test_classification_equals_scikit_learn(seed: int, missing: tuple[int, ...]) -> None:
    probabilities, targets = answers(seed, missing=missing)
    predicted, found = probabilities.argmax(1), metrics.classification(probabilities, targets, NAMES)
    labels: Any = sorted(set(range(7)) - set(missing))
    f1 = {a: reference.f1_score(targets, predicted, labels=labels, average=a) for a in ("macro", "weighted")}
    assert found == pytest.approx({
        "WAR": reference.accuracy_score(targets, predicted),
        "UAR": np.mean([(predicted[targets == c] == c).mean() for c in labels]),
        "F1_macro": f1["macro"],
        "F1_weighted": f1["weighted"],
    })  # fmt: skip
    assert all(0 <= value <= 1 for value in found.values())


def test_classes_that_do_not_occur_are_named() -> None:
    probabilities, targets = answers(0, missing=(0, 5))
    assert metrics.absent_classes(targets, NAMES) == ["happiness", "disgust"]
    assert metrics.absent_classes(torch.arange(7), NAMES) == []
    recalls = metrics.recalls(probabilities, targets, NAMES)
    assert list(recalls) == list(NAMES)
    assert {name for name, recall in recalls.items() if math.isnan(recall)} == {"happiness", "disgust"}
    assert np.nanmean(list(recalls.values())) == pytest.approx(
        metrics.classification(probabilities, targets, NAMES)["UAR"]
    )


def test_confusion_has_the_truth_in_rows_and_every_class() -> None:
    counts = metrics.confusion(np.eye(7)[[1, 1, 2]], [1, 2, 2], NAMES)
    assert counts.shape == (7, 7)
    assert counts.sum() == 3
    assert counts[2, 1] == counts[1, 1] == counts[2, 2] == 1
    np.testing.assert_array_equal(counts, metrics.confusion([1, 1, 2], [1, 2, 2], NAMES))


def test_uar_of_all_is_not_the_mean_over_ranks() -> None:
    """Shards hold classes in unlike shares, so averaging their UARs is wrong; gathering first is right."""
    predicted, targets = np.array([0, 0, 0, 1, 0, 1, 1, 1]), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    shards = [slice(0, 5), slice(5, 8)]
    per_rank = [metrics.classification(predicted[s], targets[s], ("a", "b"))["UAR"] for s in shards]
    gathered = metrics.classification(predicted, targets, ("a", "b"))["UAR"]
    assert gathered == 0.75
    assert np.mean(per_rank) == pytest.approx(0.6875)


def test_torch_tensors_are_taken() -> None:
    probabilities, targets = answers(1)
    tensors = torch.from_numpy(probabilities).float(), torch.from_numpy(targets)
    assert metrics.classification(*tensors, NAMES) == metrics.classification(probabilities, targets, NAMES)


@pytest.mark.parametrize(
    ("predictions", "targets", "word"),
    [
        (np.zeros((0, 7)), [], "at least one"),
        (np.eye(7)[:3], [0, 1], "equally many"),
        (np.eye(7)[:2], [0, 7], "hold class 7"),
        (np.eye(7)[:2], [0, -1], "hold class -1"),
        (np.eye(7)[:2], [0.0, 1.0], "not class indices"),
        (np.eye(5)[:2], [0, 1], r"probabilities \(N, 7\)"),
        (np.full((2, 7), np.nan), [0, 1], "happiness.* not finite"),
    ],
)
def test_what_cannot_be_marked_is_an_error(predictions: Any, targets: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        metrics.classification(predictions, targets, NAMES)


@pytest.mark.parametrize("seed", range(3))
def test_regression_equals_scipy_and_the_textbook(seed: int) -> None:
    predictions, targets = values(seed)
    found = metrics.regression(predictions, targets, ("valence", "arousal", "dominance"))
    for name, p, t in zip(("valence", "arousal", "dominance"), predictions.T, targets.T, strict=True):
        pcc = float(stats.pearsonr(p, t)[0])  # type: ignore[arg-type]
        ccc = 2 * pcc * p.std() * t.std() / (p.var() + t.var() + (p.mean() - t.mean()) ** 2)
        assert found[f"PCC.{name}"] == pytest.approx(pcc)
        assert found[f"CCC.{name}"] == pytest.approx(ccc)
        assert found[f"RMSE.{name}"] == pytest.approx(math.sqrt(reference.mean_squared_error(t, p)))
        assert found[f"1-MAE.{name}"] == pytest.approx(1 - reference.mean_absolute_error(t, p))
    for metric in ("PCC", "CCC", "RMSE", "1-MAE"):
        each = [value for name, value in found.items() if name.startswith(f"{metric}.")]
        assert found[metric] == pytest.approx(np.mean(each))


def test_ccc_is_one_minus_the_loss_over_everything() -> None:
    predictions, targets = map(torch.from_numpy, values(3))
    ccc = metrics.regression(predictions, targets, ("a", "b", "c"))["CCC"]
    assert ccc == pytest.approx(1 - float(ccc_loss(predictions, targets)))
    batches = [
        metrics.regression(p, t, ("a", "b", "c"))["CCC"]
        for p, t in zip(predictions.split(5), targets.split(5), strict=True)
    ]
    assert abs(np.mean(batches) - ccc) > 0.01


def test_agreement_and_its_opposite() -> None:
    _, targets = values(4)
    same = metrics.regression(targets, targets, ("a", "b", "c"))
    assert [same[m] for m in ("PCC", "CCC", "RMSE", "1-MAE")] == pytest.approx([1, 1, 0, 1])
    shifted = metrics.regression(targets + 1, targets, ("a", "b", "c"))
    assert shifted["PCC"] == pytest.approx(1)
    assert shifted["CCC"] < 0.5
    assert metrics.regression(-targets, targets, ("a", "b", "c"))["PCC"] == pytest.approx(-1)


def test_constants_earn_nothing() -> None:
    _, targets = values(5, names=1)
    for predictions, truth in ((np.full_like(targets, 0.1), targets), (targets, np.full_like(targets, 0.1))):
        found = metrics.regression(predictions, truth, ("valence",))
        assert found["PCC"] == found["CCC"] == 0.0
    both = np.full((7, 1), 0.1)
    assert metrics.regression(both, both, ("valence",)) == {"PCC": 0.0, "CCC": 0.0, "RMSE": 0.0, "1-MAE": 1.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_name_their_column(bad: float) -> None:
    predictions, targets = values(6)
    broken = targets.copy()
    broken[3, 1] = bad
    with pytest.raises(ValueError, match="targets of arousal hold"):
        metrics.regression(predictions, broken, ("valence", "arousal", "dominance"))
    with pytest.raises(ValueError, match="predictions of arousal hold"):
        metrics.regression(broken, targets, ("valence", "arousal", "dominance"))


@pytest.mark.parametrize(
    "shapes", [((0, 2), (0, 2)), ((3, 2), (4, 2)), ((3, 1), (3, 2)), ((3, 3), (3, 3)), ((3,), (3,))]
)
def test_shapes_that_do_not_fit_are_errors(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="predictions"):
        metrics.regression(np.zeros(shapes[0]), np.zeros(shapes[1]), ("valence", "arousal"))
