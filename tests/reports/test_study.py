"""Reliability before any value, in commands, tables, pictures and pages; who a participant is, and columns that are not there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mien.calibration.reliability import Limits
from mien.cli import main
from mien.inference.reliability_share import ReliabilityShare, combined
from mien.reports.study import condition_means, condition_plot
from toy_models import calibrated, write_model, write_video

WHOLE = ["--faces", "whole", "--device", "cpu", "--no-pictures"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that relies on nothing but sharp pictures."""
    return calibrated(write_model(tmp_path_factory.mktemp("judge")), Limits(sharpness=30))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest: of p1 a sharp and a flat video, of p2 a flat one, of p3 a sharp one."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    sharp = np.kron(rng.integers(0, 255, (30, 16, 16, 3), dtype=np.uint8), np.ones((1, 3, 3, 1), np.uint8))
    flat = np.full((30, 48, 48, 3), 120, np.uint8)
    rows = []
    for i, (who, frames) in enumerate([("p1", sharp), ("p1", flat), ("p2", flat), ("p3", sharp)]):
        write_video(folder / f"{i}.mp4", frames)
        rows.append({"path": f"{i}.mp4", "person": who, "film": "sad"})
    pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


@pytest.mark.parametrize(
    "flags", [["--participant", "persn"], ["--condition", "flim"], ["--participant", "person", "--condition", "x"]]
)
def test_a_misspelt_column_is_an_error_that_names_those_there_are(
    plain: Path, recordings: Path, tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["study", str(recordings), "--model", str(plain), "--output", str(out), *WHOLE, *flags]) == 1
    printed = capsys.readouterr().err
    assert f"{flags[-2]} {flags[-1]}: no such column" in printed
    assert "person, film" in printed
    assert not out.exists(), "nothing is read before the columns are known"


def test_rows_without_a_participant_are_named(
    plain: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(recordings)
    table.loc[2, "person"] = None
    manifest = recordings.with_name("gap.csv")
    table.to_csv(manifest, index=False)
    flags = ["--model", str(plain), "--output", str(tmp_path / "out"), *WHOLE, "--participant", "person"]
    assert main(["study", str(manifest), *flags]) == 1
    assert "manifest line 4" in capsys.readouterr().err


def test_without_a_column_of_participants_the_reader_is_told(
    plain: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", str(recordings), "--model", str(plain), "--output", str(tmp_path), *WHOLE]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("not calibrated"), "the first line says how far to rely on the rest"
    assert any("every video counts as a participant of its own" in line for line in printed)
    assert pd.read_csv(tmp_path / "summary.csv")["participants"].unique().tolist() == [4]


def test_a_study_carries_reliability_and_can_leave_out_what_is_not(
    judge: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", str(judge), "--participant", "person", "--condition", "film", *WHOLE]
    assert main(["study", str(recordings), "--output", str(tmp_path / "all"), *flags]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "60 of 120 frames of 4 faces not reliable: blur"
    assert "1 of 3 participants" in printed[1]
    study = pd.read_csv(tmp_path / "all" / "study.csv")
    assert study.groupby("video")["share_unreliable"].first().tolist() == [0, 1, 1, 0]
    people = pd.read_csv(tmp_path / "all" / "participants.csv").groupby("participant").first()
    assert people["share_unreliable"].tolist() == [0.5, 1, 0]
    assert people["only_unreliable"].tolist() == [False, True, False]
    summary = pd.read_csv(tmp_path / "all" / "summary.csv").iloc[0]
    assert (summary["share_unreliable"], summary["participants_unreliable"]) == (0.5, 1)
    assert not summary["only_unreliable"]

    assert main(["study", str(recordings), "--output", str(tmp_path / "kept"), *flags, "--reliable-only"]) == 0
    printed = capsys.readouterr().out
    assert "1 participants have none and are left out" in printed
    kept = pd.read_csv(tmp_path / "kept" / "participants.csv")
    assert sorted(kept["participant"].unique()) == ["p1", "p3"]
    sharp = study[(study["video"] == 0) & (study["measure"] == "fear")]["mean"].item()
    own = kept[(kept["participant"] == "p1") & (kept["measure"] == "fear")]["mean"].item()
    assert own == pytest.approx(sharp, abs=1e-6), "the flat video of p1 does not count"


def test_a_filter_needs_a_calibration(
    plain: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["study", str(recordings), "--model", str(plain), "--output", str(tmp_path), *WHOLE, "--reliable-only"])
        == 1
    )
    assert "not calibrated" in capsys.readouterr().err


def test_analyze_says_first_how_far_to_rely_on_it(
    plain: Path, judge: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(recordings.with_name("1.mp4"))
    for model, first in ((judge, "30 of 30 frames not reliable: blur"), (plain, "not calibrated")):
        out = tmp_path / model.name
        flags = ["--faces", "whole", "--device", "cpu", "--no-overlay"]
        assert main(["analyze", video, "--model", str(model), "--output", str(out), *flags]) == 0
        assert capsys.readouterr().out.startswith(first)
        page = (out / "report.html").read_text()
        assert re.search(rf'<h1>1.mp4</h1>\s*<p class="warning"[^>]*><strong>{first}', page), "nothing comes before it"


def test_predict_says_first_that_a_model_is_not_calibrated(
    plain: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(recordings.with_name("0.mp4"))
    assert main(["predict", video, "--model", str(plain), "--device", "cpu", "--faces", "whole"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "not calibrated" in lines[1]


def table(values: dict[str, list[float]], unreliable: float = 0.0) -> pd.DataFrame:
    """A tidy table: a participant per value, by condition, of one measure."""
    rows = [(f"p{i}", name, mean) for name, means in values.items() for i, mean in enumerate(means)]
    means = pd.DataFrame(rows, columns=["participant", "condition", "mean"])
    return means.assign(
        video="v", face_id=0, main=True, measure="fear", sd=0.0, seconds=1.0, share_seen=1.0,
        share_unreliable=unreliable, only_unreliable=unreliable == 1,
    )  # fmt: skip


def labels(figure: Figure) -> set[str]:
    return {text.get_text() for legend in figure.legends for text in legend.get_texts()}


def test_the_picture_of_a_study_names_its_axes_and_stays_among_probabilities() -> None:
    few = table({"rest": [0.01, 0.02, 0.3], "film": [0.9, 0.99, 0.2]})
    axis = (figure := condition_plot(few, "stimulus", (0.0, 1.0))).axes[0]
    low, high = axis.get_ylim()
    assert low >= 0
    assert high <= 1
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("stimulus", "probability")
    drawn = np.concatenate([line.get_ydata() for line in axis.lines])  # pyright: ignore
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert "unreliable frames only" not in labels(figure)
    assert min(condition_means(few)["lower"].tolist()) < 0, "of values that may be negative nothing is cut off"
    assert "unreliable frames only" in labels(condition_plot(few.assign(share_unreliable=1.0, only_unreliable=True)))


def test_shares_of_many_videos_add_up() -> None:
    both = combined([ReliabilityShare(10, 10, 4, {"blur": 3, "pose": 2}), ReliabilityShare(5, 5, 5, {"pose": 5})])
    assert both.sentence() == "9 of 15 frames of 2 faces not reliable: pose (7), blur (3)"
    assert both.share == pytest.approx(0.6)
    assert not ReliabilityShare(0, 0, 0).warns
