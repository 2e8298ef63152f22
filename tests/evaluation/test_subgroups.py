"""Every clip lies in one group, groups have readable names and their own marks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mien.evaluation.subgroups import EMPTY, rows_by_group, subgroups
from mien.statistics.intervals import intervals
from mien.statistics.predictions import class_predictions

NAMES = ("anger", "fear", "neutral")


def rows(cells: list[object], *edges: float) -> dict[str, list[int]]:
    return {name: found.tolist() for name, found in rows_by_group(cells, edges).items()}


def test_a_group_per_value_in_natural_order_and_the_empty_ones_last() -> None:
    assert rows(["m", "f", None, "m", "", float("nan")]) == {"f": [1], "m": [0, 3], EMPTY: [2, 4, 5]}
    assert list(rows(["10", "9", "x", "2"])) == ["2", "9", "10", "x"]


def test_ages_lie_in_bands_of_round_width() -> None:
    ages: list[object] = [str(age) for age in range(20, 75)]
    found = rows([*ages, ""])
    assert list(found) == [f"{a} to below {a + 10}" for a in range(20, 80, 10)] + [EMPTY]
    assert found["30 to below 40"] == list(range(10, 20))


def test_bands_at_given_edges_are_open_at_the_ends() -> None:
    assert rows(["17.9", "18", "44", "45", "80"], 18, 45) == {
        "below 18": [0], "18 to below 45": [1, 2], "45 and above": [3, 4],
    }  # fmt: skip


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-1.0, 1.0), (0.3, 0.9), (1e-6, 3e-6), (-0.137, 0.002), (1, 1e5)])
def test_every_number_lies_in_the_band_that_is_named(low: float, high: float) -> None:
    numbers = [*np.random.default_rng(0).uniform(low, high, 50).tolist(), low, high]
    found = rows_by_group(numbers)
    assert sorted(np.concatenate(list(found.values())).tolist()) == list(range(52))
    assert 2 <= len(found) <= 7
    for name, members in found.items():
        start, end = map(float, name.split(" to below "))
        assert all(start <= numbers[i] < end for i in members)


def test_few_different_numbers_are_values() -> None:
    assert list(rows([0, 1, 2, 1, 0, 4])) == ["0", "1", "2", "4"]


def test_marks_of_groups_are_those_of_their_clips() -> None:
    random = np.random.default_rng(0)
    targets, said, subjects = random.integers(3, size=90), random.integers(3, size=90), np.arange(90) % 15
    sex = np.where(subjects < 9, "f", "m")
    targets[sex == "m"] %= 2
    answers = class_predictions(said, targets, NAMES, subjects)
    women, men = subgroups(answers, rows_by_group(sex.tolist()), resamples=100)
    assert (women.name, women.clips, women.subjects, women.absent) == ("f", 54, 9, ())
    assert (men.name, men.clips, men.subjects, men.absent) == ("m", 36, 6, ("neutral",))
    assert men.metrics["WAR"] == intervals(answers.select(sex == "m"), 100)["WAR"]


def test_a_group_of_too_few_people_has_marks_without_bounds() -> None:
    said = [0, 1, 2] * 5 + [1] * 6
    answers = class_predictions(said, [0, 1, 1] * 5 + [1] * 6, NAMES, [*"aaabbbcccdddeee", *"fghijk"])
    few, enough = subgroups(answers, rows_by_group(["x"] * 15 + ["y"] * 6), resamples=10)
    assert few.metrics["WAR"].value == pytest.approx(2 / 3)
    assert math.isnan(few.metrics["WAR"].low)
    assert (enough.metrics["WAR"].low, enough.metrics["WAR"].high) == (1, 1)


def test_bands_that_make_no_sense_are_errors() -> None:
    with pytest.raises(ValueError, match="numbers, and the column holds 'old'"):
        rows_by_group(["18", "old"], [18.0])
    with pytest.raises(ValueError, match="45, 18 of the bands do not rise"):
        rows_by_group(["18"], [45.0, 18.0])
