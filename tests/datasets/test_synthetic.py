"""The drawn corpus: what it promises about motion, determinism, folds and labels."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from mien.commands.synth import SynthConfig, run
from mien.datasets.drawn.behaviour import EXPRESSIONS, MOTION_PAIRS, TRAITS
from mien.datasets.synthetic import COLUMNS, clip_behaviour, displace, draw_clip, plan, written_expression

TINY: dict[str, Any] = {"clips": 21, "subjects": 3, "folds": 3, "size": 32, "frames": 16}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("synth") / "one"
    run(SynthConfig(output, workers=1, **TINY))
    return output


def rows(corpus: Path, table: str = "manifest.csv") -> list[dict[str, str]]:
    with open(corpus / table, newline="") as file:
        return list(csv.DictReader(file))


def contents(corpus: Path) -> dict[str, bytes]:
    return {p.relative_to(corpus).as_posix(): p.read_bytes() for p in corpus.rglob("*") if p.is_file()}


# -- motion ------------------------------------------------------------------------------------------


def still(expression: str, index: int = 4, frames: int = 32, style: str = "cartoon") -> np.ndarray:
    return draw_clip(0, index, 7, expression, frames, 48, style, nuisance=False)


@pytest.mark.parametrize("pair", MOTION_PAIRS)
@pytest.mark.parametrize("frames", [16, 31, 32, 48])
@pytest.mark.parametrize("style", ["cartoon", "sketch"])
def test_a_pair_shows_the_same_frames_in_another_order(pair: tuple[str, str], frames: int, style: str):
    for index in range(3):
        one, other = (still(name, index, frames, style) for name in pair)
        assert Counter(f.tobytes() for f in one) == Counter(f.tobytes() for f in other)
        # how far apart frame by frame, against how much the face moves at all
        apart = np.abs(one.astype(int) - other).mean(axis=(1, 2, 3))
        moves = np.abs(one.astype(int) - one[0]).mean(axis=(1, 2, 3))
        assert apart.max() > 0.5 * moves.max()


def test_fear_is_surprise_backwards():
    np.testing.assert_array_equal(still("fear"), still("surprise")[::-1])


def rises(curve: np.ndarray) -> int:
    return int((np.diff((curve > curve.max() / 2).astype(int), prepend=0) == 1).sum())


def test_disgust_pulses_twice_where_anger_is_held():
    for index in range(5):
        held, pulsing = (clip_behaviour(0, index, 7, e, nuisance=False).envelope for e in ("anger", "disgust"))
        np.testing.assert_allclose(np.sort(held), np.sort(pulsing))
        for stride in (1, 2):
            assert (rises(held[::stride]), rises(pulsing[::stride])) == (1, 2)


def test_what_disturbs_does_not_depend_on_the_expression():
    one, other = clip_behaviour(0, 3, 2, "surprise"), clip_behaviour(0, 3, 2, "fear")
    for name, curve in one.pose.items():
        np.testing.assert_array_equal(curve, other.pose[name])
    for name in ("blink", "gaze_x", "gaze_y"):
        np.testing.assert_array_equal(one.actions[name], other.actions[name])
    np.testing.assert_array_equal(one.light, other.light)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_whole_expression_lies_inside_the_clip(expression: str):
    for index in range(20):
        envelope = clip_behaviour(0, index, 0, expression).envelope
        assert envelope.shape == (32,)
        assert max(envelope[0], envelope[-1]) < 0.15
        assert (envelope.max() > 0.6) == (expression != "neutral")


def test_expressions_move_the_face_and_differ_at_their_apex():
    rest = still("neutral")[0].astype(int)
    apex = {}
    for name in ("anger", "happiness", "sadness", "surprise"):
        clip = still(name).astype(int)
        apex[name] = clip[np.abs(clip - rest).sum(axis=(1, 2, 3)).argmax()]
        assert (np.abs(apex[name] - rest).max(axis=2) > 25).mean() > 0.04
    np.testing.assert_array_equal(still("neutral"), np.repeat(rest[None].astype(np.uint8), 32, axis=0))
    for one in apex:
        for other in apex:
            assert one == other or (np.abs(apex[one] - apex[other]).max(axis=2) > 25).mean() > 0.04


def test_styles_and_persons_differ():
    cartoon, sketch = draw_clip(0, 0, 0, "neutral"), draw_clip(0, 0, 0, "neutral", style="sketch")
    assert cartoon.shape == (32, 64, 64, 3)
    assert cartoon.dtype == np.uint8
    saturation = [float(np.ptp(cv2.blur(c[0], (5, 5)), axis=2).mean()) for c in (cartoon, sketch)]
    assert saturation[0] > 4 * saturation[1]
    someone_else = draw_clip(0, 4, 8, "neutral", 32, 48, nuisance=False)
    assert np.abs(still("neutral").astype(int) - someone_else).mean() > 5


# -- corpus ------------------------------------------------------------------------------------------


def test_bytes_depend_on_the_seed_and_not_on_the_workers(corpus: Path, tmp_path: Path):
    run(SynthConfig(tmp_path / "two", workers=2, **TINY))
    run(SynthConfig(tmp_path / "other", workers=1, seed=1, **TINY))
    assert contents(tmp_path / "two") == contents(corpus)
    first = plan(SynthConfig(corpus, **TINY))[0].path
    assert (tmp_path / "other" / first).read_bytes() != (corpus / first).read_bytes()


def test_manifest_names_every_clip_with_labels_in_range(corpus: Path):
    table = rows(corpus)
    assert tuple(table[0]) == COLUMNS
    assert len(table) == TINY["clips"]
    assert {r["path"] for r in table} == {p for p in contents(corpus) if p.endswith(".mp4")}
    assert {r["style"] for r in table} == {"cartoon"}
    assert Counter((r["subject"], r["expression"]) for r in table) == {
        (f"s{s:03d}", e): 1 for s in range(3) for e in EXPRESSIONS
    }
    for row in table:
        assert all(-1 <= float(row[name]) <= 1 for name in ("valence", "arousal"))
        assert all(0 <= float(row[name]) <= 1 for name in TRAITS)


def test_folds_are_disjoint_in_subjects(corpus: Path):
    pairs = {(r["subject"], r["fold"]) for r in rows(corpus)}
    assert len(pairs) == 3
    assert {fold for _, fold in pairs} == {"1", "2", "3"}


def test_curves_are_per_frame_and_their_mean_is_the_clips_label(corpus: Path):
    curves: dict[str, list[float]] = {}
    for row in rows(corpus, "curves.csv"):
        assert -1 <= float(row["arousal"]) <= 1
        curves.setdefault(row["path"], []).append(float(row["valence"]))
    for row in rows(corpus):
        assert len(curves[row["path"]]) == TINY["frames"]
        assert np.mean(curves[row["path"]]) == pytest.approx(float(row["valence"]), abs=2e-4)


def test_traits_vary_and_follow_from_behaviour():
    scores = np.array([list(clip_behaviour(0, i, i % 12, EXPRESSIONS[i % 7]).traits.values()) for i in range(84)])
    assert (scores.std(axis=0) > 0.1).all()
    smiling, angry = (clip_behaviour(0, 0, 0, e, nuisance=False).traits for e in ("happiness", "anger"))
    assert smiling["agreeableness"] > angry["agreeableness"]
    assert smiling["neuroticism"] < angry["neuroticism"]


def test_videos_decode_to_what_was_drawn(corpus: Path):
    take = plan(SynthConfig(corpus, **TINY))[5]
    with av.open(str(corpus / take.path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 25)
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    drawn = draw_clip(0, take.index, take.subject, take.expression, TINY["frames"], TINY["size"])
    assert decoded.shape == drawn.shape
    assert np.abs(decoded.astype(int) - drawn).mean() < 8


def test_contact_sheet_and_config_are_written(corpus: Path):
    sheet = cv2.imread(str(corpus / "contact_sheet.png"))
    assert sheet is not None
    assert sheet.shape == (7 * 32, 8 * 32, 3)
    expected = {**TINY, "fps": 25.0, "style": "cartoon", "seed": 0, "placement": 0.0, "label_noise": 0.0}
    assert json.loads((corpus / "synth.json").read_text()) == expected


def test_placement_moves_whole_clips_each_in_its_own_way(tmp_path: Path):
    """A dot in the middle of all frames comes out at one place per clip, another in the next, the same when drawn again."""
    config = SynthConfig(tmp_path, **{**TINY, "size": 64}, placement=0.2)
    dot = np.zeros((3, 64, 64, 3), np.uint8)
    dot[:, 30:34, 30:34] = 255
    places = [[np.argwhere(f > 128).mean(0) for f in displace(dot, config, i)] for i in range(10)]
    assert np.ptp(np.array(places), axis=1).max() == 0
    assert np.ptp(np.array(places), axis=0)[..., :2].min() > 8
    assert np.abs(np.array(places)[..., :2] - 31.5).max() <= 0.2 * 64 + 1
    assert np.array_equal(displace(dot, config, 3), displace(dot, config, 3))


@pytest.mark.parametrize(
    "wrong, culprit",
    [
        ({"size": 33}, "size is 33"),
        ({"frames": 4}, "frames is 4"),
        ({"folds": 4}, "folds is 4"),
        ({"clips": 2}, "clips is 2"),
    ],
)
def test_impossible_configs_name_the_culprit(tmp_path: Path, wrong: dict[str, int], culprit: str):
    with pytest.raises(ValueError, match=culprit):
        SynthConfig(tmp_path / "out", **{**TINY, **wrong})


def test_only_a_drawn_corpus_is_overwritten_and_only_on_request(tmp_path: Path):
    few: dict[str, Any] = {**TINY, "clips": 3, "workers": 1}
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        run(SynthConfig(tmp_path, overwrite=True, **few))
    output = tmp_path / "corpus"
    run(SynthConfig(output, **{**few, "clips": 6}))
    with pytest.raises(ValueError, match="--overwrite"):
        run(SynthConfig(output, **few))
    run(SynthConfig(output, overwrite=True, **few))
    assert len(list(output.rglob("*.mp4"))) == 3
    with pytest.raises(ValueError, match="is a file"):
        run(SynthConfig(tmp_path / "thesis.tex", **few))


def test_label_noise_changes_that_share_of_the_written_labels_and_nothing_else(tmp_path: Path):
    config = SynthConfig(output=tmp_path, clips=2000, subjects=20, label_noise=0.3)
    wrong = [written_expression(config, take) != take.expression for take in plan(config)]
    assert abs(sum(wrong) / len(wrong) - 0.3) < 0.03
    assert [take.expression for take in plan(config)] == [
        take.expression for take in plan(replace(config, label_noise=0.0))
    ]
    clean = replace(config, label_noise=0.0)
    assert all(written_expression(clean, take) == take.expression for take in plan(clean))
