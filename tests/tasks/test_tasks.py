"""Labels by name, losses and mixing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from mien.encoders.vit import ViTConfig
from mien.interfaces import Clip
from mien.modules.heads import MeanHeadConfig
from mien.modules.pixels import PixelsConfig
from mien.tasks.classification import ClassificationConfig, blend, draw_blend
from mien.tasks.labels import canonical
from mien.tasks.regression import RegressionConfig, ccc_loss


def clips(*labels: str | None) -> list[Clip]:
    from pathlib import Path

    return [
        Clip(Path(f"{i}.mp4"), columns={"expression": label, "valence": label}, row=i + 2)
        for i, label in enumerate(labels)
    ]


CONFIG = ClassificationConfig()


def test_names_and_aliases() -> None:
    assert [canonical(n) for n in ("Happy", "joy", "ANG", "Sad", "fearful", "Nod")] == [
        "happiness", "happiness", "anger", "sadness", "fear", "Nod",
    ]  # fmt: skip
    rows = clips("Sad", "happy", "joy")
    assert CONFIG.names(rows) == ("happiness", "sadness")
    assert CONFIG.targets(rows, CONFIG.names(rows)).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (("anger", "bored"), r"line 3 \(1\.mp4\): unknown label 'bored'"),
        (("anger", None), r"line 3 .*no label in column 'expression'.*--data\.select"),
        (("anger", "nan"), "line 3 .*no label"),
    ],
)
def test_bad_labels_name_their_row(labels, says) -> None:
    with pytest.raises(ValueError, match=says):
        CONFIG.targets(clips(*labels), ("anger", "sadness"))


@pytest.mark.parametrize("value", ["high", "inf", "nan", None])
def test_bad_values_name_their_row(value) -> None:
    with pytest.raises(ValueError, match="line 3"):
        RegressionConfig(columns=("valence",)).targets(clips("0.5", value), ("valence",))


def test_missing_column_and_absent_class() -> None:
    with pytest.raises(ValueError, match="no column 'mood'; there are expression, valence"):
        ClassificationConfig(column="mood").names(clips("anger"))
    with pytest.raises(ValueError, match="only the class"):
        CONFIG.names(clips("anger", "angry"))
    encoder = ViTConfig.sized("tiny").build(4, 16)
    with pytest.raises(ValueError, match="no training row has the label fear"):
        CONFIG.build(encoder, PixelsConfig(), ("anger", "fear"), torch.tensor([0, 0]))


def test_class_weights_are_inverse_frequencies() -> None:
    task = ClassificationConfig(class_weights=True).build(
        ViTConfig.sized("tiny").build(4, 16), PixelsConfig(), ("a", "b"), torch.tensor([0, 0, 0, 1])
    )
    assert task.class_weights.tolist() == pytest.approx([4 / 6, 4 / 2])


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0)])
def test_targets_are_blended_by_what_was_mixed(mixup, cutmix) -> None:
    torch.manual_seed(0)
    video = torch.stack([torch.zeros(3, 2, 16, 16), torch.ones(3, 2, 16, 16)])
    for _ in range(20):
        mixed, target = blend(video, torch.eye(2), draw_blend(16, 16, mixup, cutmix))
        assert mixed[0].mean() == pytest.approx(float(target[0, 1]), abs=1e-5)
        assert target.sum(dim=1).tolist() == pytest.approx([1, 1])
    task = ClassificationConfig(mixup=0.0, cutmix=0.0).build(
        ViTConfig.sized("tiny").build(4, 16), PixelsConfig(), ("a", "b")
    )
    assert "mix" not in task.draw({"video": video})


def test_ccc_loss_is_one_minus_the_metric() -> None:
    from mien.statistics.metrics import concordance

    values, truth = torch.randn(30, 2), torch.randn(30, 2)
    expected = 1 - concordance(values.numpy(), truth.numpy()).mean()
    assert float(ccc_loss(values, truth)) == pytest.approx(expected, rel=1e-4)
    assert float(ccc_loss(truth, truth)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("output", "low", "high"), [("sigmoid", 0, 1), ("tanh", -1, 1)])
def test_output_ranges(output, low, high) -> None:
    config = RegressionConfig(columns=("a", "b", "c"), output=output, head=MeanHeadConfig(scale=100.0))
    task = config.build(ViTConfig.sized("tiny").build(4, 16), PixelsConfig(), ("a", "b", "c"))
    values = task.predict({"video": torch.randn(4, 3, 4, 16, 16)}).detach()
    assert values.shape == (4, 3)
    assert low <= values.min() < values.max() <= high


def test_metrics_equal_scikit_learn_and_scipy() -> None:
    from scipy.stats import pearsonr
    from sklearn.metrics import balanced_accuracy_score, f1_score

    from mien.statistics import metrics

    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 3], 200)  # class 2 does not occur
    scores = rng.random((200, 4))
    result = metrics.classification(scores, truth, list("abcd"))
    with warnings.catch_warnings(action="ignore"):
        assert result["UAR"] == pytest.approx(balanced_accuracy_score(truth, scores.argmax(1)))
    assert result["WAR"] == pytest.approx((scores.argmax(1) == truth).mean())
    assert result["F1_weighted"] == pytest.approx(f1_score(truth, scores.argmax(1), average="weighted"))
    assert metrics.absent_classes(truth, list("abcd")) == ["c"]
    assert np.isnan(metrics.recalls(scores, truth, list("abcd"))["c"])
    assert metrics.confusion(scores, truth, list("abcd")).shape == (4, 4)
    values, targets = rng.normal(size=(50, 2)), rng.normal(size=(50, 2))
    result = metrics.regression(values, targets, ["v", "a"])
    assert result["PCC.v"] == pytest.approx(pearsonr(values[:, 0], targets[:, 0])[0])
    assert result["1-MAE"] == pytest.approx(1 - np.abs(values - targets).mean())
    by_hand = (
        2
        * np.cov(values[:, 1], targets[:, 1], bias=True)[0, 1]
        / (values[:, 1].var() + targets[:, 1].var() + (values[:, 1].mean() - targets[:, 1].mean()) ** 2)
    )
    assert result["CCC.a"] == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="targets of a hold"):
        metrics.regression(values, np.full((50, 2), [0.0, np.nan]), ["v", "a"])
    with pytest.raises(ValueError, match="at least one"):
        metrics.classification(np.zeros((0, 2)), [], ["a", "b"])


def test_mean_of_shards_is_not_uar() -> None:
    """What the released code reports over ranks: the mean of UARs of shards, which is another number."""
    from mien.statistics import metrics

    truth, scores = np.array([0, 0, 0, 1]), np.eye(2)[[0, 0, 1, 1]]
    whole = metrics.classification(scores, truth, ["a", "b"])["UAR"]
    shards = [metrics.classification(scores[s], truth[s], ["a", "b"])["UAR"] for s in (slice(0, 2), slice(2, 4))]
    assert whole == pytest.approx((2 / 3 + 1) / 2)
    assert np.mean(shards) != pytest.approx(whole)
