"""Sampling by time: the same moments whatever a video's frame rate, in training, views and windows; mixtures are said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mien
from mien.cli import main
from mien.commands.pretrain import Config as Pretrain
from mien.faces.face import Face, FrameFaces
from mien.inference.live import LiveConfig
from mien.inference.overlap import OverlapAverage
from mien.inference.pipeline import prediction_events
from mien.inference.window_prediction import WindowPrediction
from mien.inference.windows import Window, Windower
from mien.interfaces import Clip
from mien.training.run_config import decisive
from mien.video.clips import ClipConfig, ClipDataset
from mien.video.decode import VideoError
from mien.video.rates import rate_warnings, resample
from mien.video.stream import Frame
from mien.video.transforms import AugmentConfig
from mien.video.views import ViewConfig, ViewDataset, sliding_indices
from toy_models import pictures, write_model, write_video

RNG = np.random.default_rng(0)
VARIABLE = np.cumsum(RNG.choice([0.02, 0.04, 0.1, 0.3], 80))


@pytest.mark.parametrize(
    ("times", "fps", "expected"),
    [
        (np.arange(50) / 25, 25.0, np.arange(50)),
        (np.round(np.arange(200) / 29.97, 3), 29.97, np.arange(200)),  # Matroska keeps milliseconds
        (np.arange(50) / 50, 25.0, np.arange(0, 50, 2)),
        (7 + np.arange(5) / 12.5, 25.0, [0, 0, 1, 1, 2, 2, 3, 3, 4]),
        (np.array([3.0]), 25.0, [0]),
        (VARIABLE, 0.0, np.arange(80)),
    ],
)
def test_a_video_is_read_as_if_it_had_another_rate(times: np.ndarray, fps: float, expected: list[int]) -> None:
    assert resample(times, fps).tolist() == list(expected)


def test_steps_take_the_nearest_frame_and_reach_the_last() -> None:
    chosen = resample(VARIABLE, 15)
    wanted = VARIABLE[0] + np.arange(len(chosen)) / 15
    np.testing.assert_allclose(np.abs(VARIABLE[chosen] - wanted), np.abs(VARIABLE[:, None] - wanted).min(axis=0))
    assert abs(wanted[-1] - VARIABLE[-1]) <= 0.5 / 15 + 1e-6


def test_times_that_cannot_be_meant_name_the_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "jump.mp4", pictures(3), [0, 0.04, 2000])
    with pytest.raises(VideoError, match=r"line 2: .*jump\.mp4: 3 frames in 2000 s cannot be sampled 25 times"):
        ViewDataset([Clip(path, row=2)], ClipConfig(size=32, fps=25), ViewConfig())[0]


def filmed(path: Path, times: np.ndarray) -> Path:
    """A video whose brightness is its time: 50 a second."""
    grey = (20 + 50 * times).round().astype(np.uint8)
    return write_video(path, np.broadcast_to(grey[:, None, None, None], (len(grey), 32, 32, 3)), times.tolist())


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four seconds of the same happening at 12.5, 25 and 60 frames per second, and at a rate that changes."""
    folder = tmp_path_factory.mktemp("rates")
    times = {f"{rate:g}": np.arange(0, 4, 1 / rate) for rate in (12.5, 25, 60)}
    times["variable"] = VARIABLE[VARIABLE < 4]
    return [filmed(folder / f"{name}.mp4", each) for name, each in times.items()]


def test_training_and_testing_see_the_same_moments_at_every_rate(rates: list[Path]) -> None:
    config = ClipConfig(frames=4, stride=4, size=32, fps=12.5)  # a step lasts 0.32 s, 16 levels
    clips = [Clip(path) for path in rates]
    for cache in (False, True):
        data = ClipDataset(clips, config, AugmentConfig.none(), seed=3, cache=cache)
        for index in range(3):
            levels = data[5, index]["video"].float().mean(dim=(0, 2, 3)).numpy()
            np.testing.assert_allclose(np.diff(levels), 16, atol=3)
            again = data[5, index]["video"].float().mean(dim=(0, 2, 3)).numpy()
            assert (levels == again).all()
    for views in (ViewConfig(segments=3), ViewConfig(sliding=5)):
        items = [ViewDataset(clips, config, views)[i] for i in range(4)]
        lasts = items[3]["times"][:, 1] - items[3]["times"][:, 0]
        np.testing.assert_allclose(lasts, 12 / 12.5, atol=0.3)  # half of the longest frame at either end
        for item in items[1:3]:
            np.testing.assert_allclose(item["times"], items[0]["times"], atol=0.09)  # ends differ by a step at most


def follow(times: np.ndarray, clip: ClipConfig, hop: int) -> tuple[list[Window], list[float]]:
    """Windows of a face that is on every frame, and the lags of all frames."""
    windower, seen = Windower(clip, 1, hop), []
    for index, time in enumerate(times):
        face = Face(0, (0.0, 0.0, 9.0, 9.0), 0.9, None, "detected", 50.0, None)
        frame = Frame(index, float(time), np.zeros((1, 1, 3), np.uint8))
        seen.append(windower.add_frame(FrameFaces(frame, (face,), 0, None), [np.zeros((4, 4, 3), np.uint8)]))
    seen.append(windower.finish())
    events = prediction_events(
        iter(seen), lambda windows: [WindowPrediction(np.zeros(1, np.float32)) for _ in windows], OverlapAverage(1), 3
    )
    lags = [faces[0].lag for event in events for _, faces in event.frames]
    return [window for one in seen for window in one.windows], lags


@pytest.mark.parametrize("hop", [1, 4, 13])
@pytest.mark.parametrize("rate", [7, 12.5, 25, 60, None])
def test_windows_of_seconds_are_the_views_of_seconds(rate: float | None, hop: int) -> None:
    clip = ClipConfig(frames=4, stride=4, size=4, fps=12.5)  # a window covers 13 steps, 0.96 s
    times = VARIABLE if rate is None else 3 + np.arange(0, 6, 1 / rate)
    windows, lags = follow(times, clip, hop)
    steps = resample(times, clip.fps)
    expected = steps[sliding_indices(len(steps), 4, 4, hop)].tolist()
    assert [[w.crops[i].frame for i in w.indices[0]] for w in windows] == expected
    assert all(w.crops[0].frame == w.place for w in windows)
    assert len(lags) == len(times)  # every frame is given out, in order
    assert np.isfinite(lags).all()
    short, _ = follow(times[:3], clip, hop)
    wanted = sliding_indices(len(resample(times[:3], clip.fps)), 4, 4, hop)
    assert [[w.crops[i].frame for i in w.indices[0]] for w in short] == resample(times[:3], clip.fps)[wanted].tolist()


def test_a_pause_longer_than_a_window_ends_a_run() -> None:
    windows, _ = follow(np.array([0, 0.04, 0.08, 5000, 5000.04]), ClipConfig(frames=4, stride=4, size=4, fps=12.5), 3)
    assert [(w.run, w.crops[0].frame, w.crops[-1].frame) for w in windows] == [(0, 0, 2), (1, 3, 4)]


def test_a_model_of_seconds_reads_every_rate_alike(rates: list[Path], tmp_path: Path) -> None:
    analyzer = mien.load(write_model(tmp_path, clip=ClipConfig(frames=8, stride=2, size=32, fps=12.5)), device="cpu")
    spans = [analyzer.predict(path, faces="whole", progress=False).windows for path in rates[:3]]
    for table in spans[1:]:
        np.testing.assert_allclose(table[["t_start", "t_end"]], spans[0][["t_start", "t_end"]], atol=0.09)
    counted = mien.load(write_model(tmp_path / "counted", rates={"60": 9, "25": 2}), device="cpu")
    assert LiveConfig().frame_rate(counted) == 60
    assert LiveConfig().frame_rate(analyzer) == 12.5
    assert LiveConfig(rate=15).frame_rate(analyzer) == 15


def test_mixtures_and_unknown_rates_are_counted() -> None:
    assert rate_warnings({"24": 3, "25": 2}, 0, 4, {"25": 9}) == []
    (mixed,) = rate_warnings({"60": 1, "12.5": 30}, 0, 4, None)
    assert "30 clips of 12.5 fps, 1 clip of 60 fps" in mixed
    assert "0.32 s to 0.07 s" in mixed
    (other,) = rate_warnings({"60": 2}, 0, 4, {"25": 9})
    assert "did not see: 2 clips of 60 fps, trained on 9 clips of 25 fps" in other
    assert rate_warnings({"60": 1, "12.5": 30}, 25.0, 4, {"25": 9}) == []


def test_every_command_says_what_rates_it_meets(
    rates: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "mixed.csv"
    rows = [f"{path},anger" for path in rates[:3]]
    manifest.write_text("\n".join(["path,expression", *rows]) + "\n")
    model = write_model(tmp_path / "model", rates={"25": 4})
    assert main(["evaluate", f"--model={model}", f"--data.manifest={manifest}", "--device=cpu", "--workers=0"]) == 0
    out = capsys.readouterr().out
    assert "frame rates differ: 1 clip of 12.5 fps, 1 clip of 25 fps, 1 clip of 60 fps" in out
    assert "did not see: 1 clip of 12.5 fps, 1 clip of 60 fps, trained on 4 clips of 25 fps" in out
    mien.load(model, device="cpu").predict(rates[2], faces="whole")
    assert "60.mp4: frame rates that training did not see: 1 clip of 60 fps" in capsys.readouterr().err


def test_the_card_keeps_the_rates_and_the_rule(
    rates: list[Path], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--clip.frames=8", "--clip.stride=2", "--clip.size=32", "--encoder.dim=32", "--encoder.heads=2"]
    small += ["--encoder.patch=8", "--encoder.depths", "1", "2", "--encoder.bottleneck=2", "--objective.decoder-dim=32"]
    small += ["--objective.decoder-heads=2", "--objective.decoder-depth=1", "--train.steps=1", "--train.batch=2"]
    small += ["--train.workers=0", "--train.device=cpu", "--clip.fps=12.5", f"--output={tmp_path / 'run'}"]
    assert main(["pretrain", f"--data.manifest={rates[0].parent}", *small]) == 0
    assert "frame rates" not in capsys.readouterr().out  # sampled by time, they may differ
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert card["clip"]["fps"] == 12.5
    assert card["rates"]["60"] == 1
    assert sum(card["rates"].values()) == 4


def test_runs_from_before_the_choice_go_on() -> None:
    before: Any = decisive(Pretrain())["clip"]
    by_time: Any = decisive(Pretrain(clip=ClipConfig(fps=25)))["clip"]
    assert "fps" not in before
    assert by_time["fps"] == 25
