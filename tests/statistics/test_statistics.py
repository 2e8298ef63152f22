"""Intervals hold the truth as often as they say, pairs and folds equal what scikit-learn and paper and pencil give."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from mien.statistics import metrics
from mien.statistics.intervals import bootstrap, cross_validation, differences, intervals, mcnemar
from mien.statistics.predictions import Predictions, class_predictions, value_predictions

NAMES = ("happiness", "sadness", "neutral", "anger", "surprise")


def classes(seed: int, clips: int = 240, people: int = 20, missing: tuple[int, ...] = ()) -> Predictions:
    """Answers that are right in about half of the clips, without the ``missing`` classes in the truth."""
    random = np.random.default_rng(seed)
    targets = random.choice([c for c in range(5) if c not in missing], clips)
    predicted = np.where(random.random(clips) < 0.5, targets, random.integers(5, size=clips))
    return class_predictions(predicted, targets, NAMES, random.integers(people, size=clips))


def values(seed: int, clips: int = 240, people: int = 20) -> Predictions:
    random = np.random.default_rng(seed)
    targets = random.uniform(-1, 1, (clips, 3)) + 5
    predicted = 0.6 * targets + 0.3 * random.standard_normal((clips, 3)) + 2
    return value_predictions(
        predicted, targets, ("valence", "arousal", "dominance"), random.integers(people, size=clips)
    )


def by_hand(answers: Predictions) -> Any:
    """The metrics of some rows, from ``mien.statistics.metrics``, which is tested against scikit-learn."""
    return lambda rows: answers.select(rows).score()


@pytest.mark.parametrize(
    "answers", [classes(0), classes(1, missing=(0, 3)), classes(2, clips=30), values(3), values(4, clips=30)]
)
def test_sums_give_in_every_draw_what_the_metrics_give_of_the_clips_drawn(answers: Predictions) -> None:
    fast = intervals(answers, resamples=60, seed=5)
    slow = bootstrap(by_hand(answers), answers.subjects, resamples=60, seed=5)
    assert list(fast) == list(slow)
    for name in fast:
        interval, known = fast[name], slow[name]
        assert (interval.value, interval.low, interval.high) == pytest.approx(
            (known.value, known.low, known.high), abs=1e-9, nan_ok=True
        ), name


def test_the_value_of_an_interval_is_the_metric() -> None:
    answers = classes(0, missing=(2,))
    measured = intervals(answers, resamples=50)
    known = metrics.classification(answers.predicted, answers.targets, NAMES)
    assert {name: measured[name].value for name in known} == pytest.approx(known)
    assert math.isnan(measured["recall.neutral"].value)
    assert math.isnan(measured["recall.neutral"].low)
    assert all(measured[name].low <= measured[name].value <= measured[name].high for name in known)


def test_constant_values_earn_nothing_in_any_draw() -> None:
    truth = np.random.default_rng(0).random((40, 1))
    measured = intervals(value_predictions(np.full((40, 1), 0.1), truth, ("valence",), np.arange(40) % 8), resamples=50)
    assert (measured["CCC"].low, measured["CCC"].value, measured["CCC"].high) == (0, 0, 0)
    assert measured["RMSE"].low < measured["RMSE"].high


def people_of_unlike_skill(random: np.random.Generator, people: int = 24, each: int = 20) -> Predictions:
    """Two classes; a person is read rightly with a probability of its own, 0.7 on average, Beta(3.5, 1.5)."""
    skill = np.repeat(random.beta(3.5, 1.5, people), each)
    targets = random.integers(2, size=people * each)
    predicted = np.where(random.random(people * each) < skill, targets, 1 - targets)
    return class_predictions(predicted, targets, ("a", "b"), np.repeat(np.arange(people), each))


def coverage(estimates: list[Any], truth: float) -> float:
    return float(np.mean([interval.low <= truth <= interval.high for interval in estimates]))


def test_clustered_intervals_hold_the_truth_as_often_as_they_say_and_unclustered_ones_do_not() -> None:
    random = np.random.default_rng(0)
    worlds = [people_of_unlike_skill(random) for _ in range(250)]
    clustered = [intervals(world, 400, seed=i)["WAR"] for i, world in enumerate(worlds)]
    alone = [intervals(alone_each(world), 400, seed=i)["WAR"] for i, world in enumerate(worlds)]
    assert 0.92 <= coverage(clustered, 0.7) <= 0.98
    assert coverage(alone, 0.7) < 0.8
    narrow = [intervals(world, 400, level=0.8, seed=i)["WAR"] for i, world in enumerate(worlds)]
    assert 0.75 <= coverage(narrow, 0.7) <= 0.85
    assert np.mean([i.high - i.low for i in clustered]) > 1.5 * np.mean([i.high - i.low for i in alone])


def alone_each(answers: Predictions) -> Predictions:
    return class_predictions(answers.predicted, answers.targets, answers.names)


def test_clustered_intervals_of_concordance_hold_the_truth() -> None:
    """truth t ~ N(0, 1), said 0.6 t + person + noise: CCC = 2 * 0.6 / (1 + 0.36 + 0.25 + 0.16)."""
    random, estimates = np.random.default_rng(1), []
    for i in range(300):
        person = np.repeat(random.normal(0, 0.5, 30), 15)
        truth = random.normal(0, 1, 450)
        predicted = 0.6 * truth + person + random.normal(0, 0.4, 450)
        estimates.append(
            intervals(value_predictions(predicted[:, None], truth[:, None], ("v",), person), 300, seed=i)["CCC"]
        )
    assert 0.91 <= coverage(estimates, 1.2 / 1.77) <= 0.98


def test_two_thousand_draws_of_a_whole_corpus_take_about_a_second() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(6, size=7442)
    answers = class_predictions(random.integers(6, size=7442), targets, list("abcdef"), np.arange(7442) % 91)
    began = time.perf_counter()
    intervals(answers)
    intervals(alone_each(answers))
    assert time.perf_counter() - began < 5


def test_a_run_differs_from_itself_by_exactly_nothing() -> None:
    for answers in (classes(0), values(0)):
        for name, difference in differences(answers, answers, resamples=100).items():
            assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1), name


def test_differences_have_a_sign_and_see_what_is_there() -> None:
    worse = classes(0)
    better = class_predictions(
        np.where(np.arange(240) % 3 == 0, worse.targets, worse.predicted), worse.targets, NAMES, worse.subjects
    )
    gain, loss = differences(better, worse)["WAR"], differences(worse, better)["WAR"]
    assert gain.value == pytest.approx(better.score()["WAR"] - worse.score()["WAR"])
    assert 0 < gain.low < gain.value < gain.high
    assert (loss.value, loss.low, loss.high) == pytest.approx((-gain.value, -gain.high, -gain.low))
    assert gain.p == loss.p < 0.01


def test_equal_runs_seldom_differ_and_pairs_are_sharper_than_two_intervals() -> None:
    """Both runs are right in each clip with the person's probability: p is below 0.05 about once in twenty."""
    random, below = np.random.default_rng(2), []
    for i in range(150):
        skill = np.repeat(random.beta(3.5, 1.5, 24), 20)
        runs = [class_predictions(1 * (random.random(480) < skill), np.ones(480, int), ("a", "b")) for _ in range(2)]
        one, two = (class_predictions(run.predicted, run.targets, run.names, skill) for run in runs)
        apart = differences(one, two, 300, seed=i)["WAR"]
        below.append(apart.p < 0.05)
        assert (apart.p < 0.045) <= (apart.low > 0 or apart.high < 0)
        width = intervals(one, 300, seed=i)["WAR"]
        assert apart.high - apart.low < 1.2 * (width.high - width.low)
    assert 0.01 <= np.mean(below) <= 0.09


def test_draws_are_a_function_of_the_seed() -> None:
    answers = classes(0)
    assert intervals(answers, 100, seed=3)["WAR"] == intervals(answers, 100, seed=3)["WAR"]
    assert intervals(answers, 100, seed=3)["UAR"] != intervals(answers, 100, seed=4)["UAR"]


def test_mcnemar_by_hand() -> None:
    """12 clips only the first got right, 4 only the second: exact p = 2 * sum_{k<=4} C(16, k) / 2^16."""
    first = np.array([True] * 12 + [False] * 4 + [True] * 30 + [False] * 9)
    second = np.array([False] * 12 + [True] * 4 + [True] * 30 + [False] * 9)
    test = mcnemar(first, second)
    assert (test.first_only, test.second_only, test.exact) == (12, 4, True)
    assert test.p == pytest.approx(2 * (1 + 16 + 120 + 560 + 1820) / 2**16)
    rough = mcnemar(first, second, exact=False)
    assert rough.p == pytest.approx(math.erfc(math.sqrt((12 - 4 - 1) ** 2 / 16 / 2)))
    assert mcnemar(np.repeat(first, 2), np.repeat(second, 2)).exact is False
    assert mcnemar(first, first).p == 1.0
    assert mcnemar(second, first).p == test.p


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("missing", [(), (1, 4)])
def test_pooled_and_averaged_metrics_equal_scikit_learn(seed: int, missing: tuple[int, ...]) -> None:
    answers = classes(seed, missing=missing)
    folds = np.random.default_rng(seed + 100).integers(5, size=240)
    kept = (folds != 3) | (answers.targets != 0)  # fold 3 lacks a class of its own
    answers, folds = answers.select(kept), folds[kept]
    crossval = cross_validation(answers, folds.tolist())
    predicted, truth = answers.predicted, answers.targets
    assert crossval.pooled["WAR"] == pytest.approx(reference.accuracy_score(truth, predicted))
    assert crossval.pooled["UAR"] == pytest.approx(present_recall(truth, predicted))
    options: dict[str, Any] = {"labels": np.unique(truth), "zero_division": 0}
    for average in ("macro", "weighted"):
        f1 = reference.f1_score(truth, predicted, average=average, **options)
        assert crossval.pooled[f"F1_{average}"] == pytest.approx(f1)
    wars = [reference.accuracy_score(truth[folds == f], predicted[folds == f]) for f in range(5)]
    uars = [present_recall(truth[folds == f], predicted[folds == f]) for f in range(5)]
    assert crossval.mean["WAR"] == pytest.approx(np.mean(wars))
    assert crossval.deviation["UAR"] == pytest.approx(np.std(uars, ddof=1))
    assert [fold["UAR"] for fold in crossval.folds.values()] == pytest.approx(uars)
    assert crossval.mean["UAR"] != pytest.approx(crossval.pooled["UAR"], abs=1e-6)
    gone = {NAMES[i] for i in missing}
    assert {f: set(names) for f, names in crossval.absent.items()} == {
        str(f): gone | ({"happiness"} if f == 3 else set()) for f in range(5) if gone or f == 3
    }


def present_recall(truth: np.ndarray, predicted: np.ndarray) -> float:
    options: dict[str, Any] = {"labels": np.unique(truth), "zero_division": 0}
    return float(reference.recall_score(truth, predicted, average="macro", **options))


def test_pooled_correlation_is_not_the_mean_over_folds() -> None:
    answers = values(0)
    crossval = cross_validation(answers, [i % 4 for i in range(240)])
    known = [np.corrcoef(answers.predicted[:, i], answers.targets[:, i])[0, 1] for i in range(3)]
    assert crossval.pooled["PCC"] == pytest.approx(np.mean(known))
    assert crossval.mean["PCC"] == pytest.approx(np.mean([fold["PCC"] for fold in crossval.folds.values()]))
    assert list(crossval.folds) == ["0", "1", "2", "3"]
    assert crossval.absent == {}


def test_folds_stand_in_natural_order() -> None:
    crossval = cross_validation(classes(0), [f"{i % 12}" for i in range(240)])
    assert list(crossval.folds) == [str(i) for i in range(12)]


BAD: list[tuple[Any, str]] = [
    (lambda: class_predictions([0, 1], [0, 1], NAMES, ["a"]), r"subjects \(1,\) for 2 clips"),
    (lambda: class_predictions([0, 1], [0, 7], NAMES), "hold class 7"),
    (lambda: value_predictions(np.full((2, 1), np.nan), np.zeros((2, 1)), ("valence",)), "predictions of valence"),
    (lambda: intervals(classes(0, people=5)), "5 subjects: an interval of 95% needs at least 6"),
    (lambda: intervals(class_predictions([0, 1], [0, 1], NAMES, ["a", "a"]), level=0.5), "1 subjects: .*at least 2"),
    (lambda: intervals(classes(0), resamples=1), "resamples is 1"),
    (lambda: intervals(classes(0), resamples=9, level=95), "level is 95"),
    (lambda: differences(classes(0), classes(0, clips=100)), "240 and 100 clips"),
    (lambda: differences(classes(0), classes(1)), "truth differs in .* first in number"),
    (lambda: differences(classes(0), values(0)), "happiness.* and valence"),
    (lambda: differences(classes(0), alone_each(classes(0))), "other subjects"),
    (lambda: mcnemar([True], [True, False]), "right or wrong"),
    (lambda: mcnemar([], []), "right or wrong"),
    (lambda: mcnemar([1, 0], [0, 1]), "int64 and int64, not truth values"),
    (lambda: cross_validation(classes(0), [0, 1]), "2 folds named for 240 clips"),
    (lambda: cross_validation(classes(0), [0] * 240), "all clips lie in fold 0"),
    (lambda: bootstrap(lambda rows: {}, []), "0 subjects"),
]


@pytest.mark.parametrize(("call", "words"), BAD)
def test_what_cannot_be_done_is_an_error_that_names_it(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
