"""Pictures and pages of timelines, overlay videos, studies, live cameras."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import t

import mien
from mien.cli import main
from mien.commands.analyze import Config, watch_live
from mien.inference.analyzer import Analyzer
from mien.inference.live import LiveConfig, LiveStatistics, live
from mien.inference.predict import ReadConfig
from mien.inference.sources import open_source
from mien.inference.tables import RECT
from mien.inference.timeline import Timeline
from mien.inference.window_prediction import WindowPrediction
from mien.inference.windows import Window
from mien.reports.curves import curves, palette, true_runs
from mien.reports.plots import png
from mien.reports.portraits import KEEP, Portraits
from mien.reports.timeline_overlay import Painter, overlay, status_of
from mien.reports.timeline_page import figure, write_page
from mien.reports.timeline_plots import mosaic, timeline_plot
from mien.video.decode import open_video
from mien.video.stream import Frame
from toy_models import EXPRESSIONS, pictures, values, write_model, write_video


@pytest.fixture(scope="module")
def gapped(analyzer: Analyzer) -> Timeline:
    """Two faces, 100 frames, nobody on frames 40 to 59, face 1 only before."""
    timeline = analyzer.predict(pictures(100), faces="whole")
    first = timeline.frames.copy()
    gone = first["frame"].between(40, 59)
    first.loc[gone, ["face_id", *EXPRESSIONS]] = np.nan
    first.loc[gone, "success"] = 0
    second = first[first["frame"] < 40].assign(face_id=1)
    frames = pd.concat([first, second]).sort_values(["frame", "face_id"], ignore_index=True)
    return Timeline(frames, timeline.windows, timeline.layout, {**timeline.about, "input": "a $b_c$.mp4"})


def test_gaps_stay_gaps(gapped: Timeline) -> None:
    drawn = curves(gapped)
    assert [c.face_id for c in drawn] == [0, 1]
    assert list(true_runs(~drawn[0].seen)) == [(40, 60)]
    assert list(true_runs(~drawn[1].seen)) == [(40, 100)]
    np.testing.assert_allclose(np.sum(list(drawn[0].values.values()), axis=0)[drawn[0].seen], 1, atol=1e-5)


def test_long_timelines_are_averaged_not_thinned(analyzer: Analyzer) -> None:
    timeline = analyzer.predict(pictures(20), faces="whole")
    many = timeline.frames.iloc[np.zeros(9000, int)].reset_index(drop=True)
    many["frame"], many["timestamp"] = np.arange(9000), np.arange(9000) / 25
    many["anger"] = np.where(np.arange(9000) % 2 == 0, 1.0, 0.0)
    curve = curves(Timeline(many, timeline.windows, timeline.layout, timeline.about))[0]
    assert len(curve.time) <= 1500
    np.testing.assert_allclose(curve.values["anger"], 0.5, atol=0.01)


def test_colours_differ_and_stay(analyzer: Analyzer) -> None:
    assert len(set(palette(EXPRESSIONS).values())) == len(EXPRESSIONS)
    assert palette(("sadness", "anger"))["anger"] == palette(EXPRESSIONS)["anger"]
    assert len(set(palette(("valence", "arousal", "dominance")).values())) == 3


def test_plots_of_all_kinds_are_drawn(gapped: Timeline, tmp_path: Path) -> None:
    assert png(timeline_plot(gapped)).startswith(b"\x89PNG")
    va = mien.load(write_model(tmp_path, values("valence", "arousal")), "cpu").predict(pictures(60), faces="whole")
    plot = timeline_plot(va)
    bands = [c for c in plot.axes[0].collections if type(c).__name__ == "FillBetweenPolyCollection"]
    assert len(bands) == 2
    assert figure(va).to_dict()["data"][2]["name"] == "valence"
    nobody = Timeline(
        gapped.frames[gapped.frames["success"] == 0], gapped.windows.iloc[:0], gapped.layout, gapped.about
    )
    for timeline in (gapped, nobody):
        times = timeline.frames["timestamp"]
        assert figure(timeline).layout.xaxis.range == pytest.approx((times.iloc[0], times.iloc[-1]))
    assert "no face" in timeline_plot(nobody).axes[0].texts[0].get_text()
    assert mosaic({}).shape[2] == 3


def test_portraits_are_few_and_spread(analyzer: Analyzer) -> None:
    portraits = Portraits()
    analyzer.predict(pictures(500), faces="whole", listen=portraits)
    shown = portraits.chosen()[0]
    times = np.array([p.time for p in shown])
    assert len(shown) <= KEEP
    assert times[0] == 0
    assert times[-1] > 18
    assert np.diff(times).max() < 3.3
    assert mosaic(portraits.chosen()).shape[1] > 12 * 96


def test_the_page_needs_nothing_else(gapped: Timeline, tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", pictures(20))
    write_page(gapped, tmp_path / "report.html", film, mosaic({}))
    page = (tmp_path / "report.html").read_text()
    for needed in ("plotly_click", "data:video/mp4;base64", "data:image/png;base64", "a $b_c$.mp4"):
        assert needed in page
    markup = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    for foreign in ('src="http', 'href="http', "<link"):
        assert foreign not in markup
    assert not re.search(r"<script[^>]*\ssrc=", page)


def test_pictures_after_the_tables_show_the_faces_of_the_tables(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`analyze --no-pictures` first, pictures later: the mosaic must not say that there was no face."""
    video = write_video(tmp_path / "v.mp4", pictures(40))
    flags = ["--model", str(model), "--faces", "whole", "--device", "cpu", "--no-overlay"]
    sheets = []
    for name, before in (("at once", []), ("later", ["--no-pictures"])):
        out = ["--output", str(tmp_path / name)]
        if before:
            assert main(["analyze", str(video), *flags, *out, *before]) == 0
        assert main(["analyze", str(video), *flags, *out]) == 0
        sheets.append(np.asarray(Image.open(tmp_path / name / "mosaic.png")).astype(float))
    assert sheets[1].shape == sheets[0].shape, "as many pictures of as many faces"
    assert np.abs(sheets[1] - sheets[0]).mean() < 12, "and nearly the same ones"


def test_overlay_keeps_frames_times_and_draws(analyzer: Analyzer, tmp_path: Path) -> None:
    times = np.cumsum(np.where(np.arange(50) % 5 == 0, 0.1, 0.04)) - 0.1
    video = write_video(tmp_path / "v.mp4", np.full((50, 128, 160, 3), 90, np.uint8), times.tolist())
    timeline = analyzer.predict(video, faces="whole")
    with open_source(video) as source:
        overlay(timeline, source, tmp_path / "overlay.mp4", progress=False)
    with open_video(tmp_path / "overlay.mp4") as drawn, open_video(video) as original:
        np.testing.assert_allclose(drawn.timestamps, original.timestamps, atol=1e-3)
        picture = drawn.read([25])[0].astype(float)
    assert picture.shape[0] == 360, "small pictures are enlarged, so that values can be read"
    assert np.abs(picture[40:-20, 20:430] - 90).max() < 12, "nothing covers the face"
    assert (picture[:, 450:].max(axis=2) > 200).mean() > 0.01, "values beside it"
    with pytest.raises(ValueError, match="cannot be read again"), open_source(0) as source:
        overlay(timeline, source, tmp_path / "x.mp4")


def test_panels_of_two_faces_cover_neither_faces_nor_one_another(gapped: Timeline) -> None:
    """Two faces so close that nothing fits between them; the numbers of each stand in a place of their own."""
    boxes = {0: (40.0, 60.0, 250.0, 260.0), 1: (310.0, 60.0, 250.0, 260.0)}
    rows = []
    for face, box in boxes.items():
        values = dict.fromkeys(EXPRESSIONS, 0.1 * (face + 1))
        rows.append(values | dict(zip(RECT, box, strict=True)) | {"face_id": face, "success": 1, "reliable": face == 0, "reasons": "blur" * face})  # fmt: skip
    clear = np.full((360, 600, 3), 90, np.uint8)
    painter = Painter(gapped)
    both = painter.paint(Frame(0, 0.0, clear), rows)
    for x, y, w, h in np.array(list(boxes.values())).astype(int):
        assert (both[y + 4 : y + h - 4, x + 4 : x + w - 4] == 90).all(), "nothing is drawn on a face"
    alone = painter.paint(Frame(1, 0.0, clear), rows[1:])
    changed = np.flatnonzero((both[:, 600:] != alone[:, 600:]).any(axis=(1, 2)))
    assert changed.max() < 180, "the second face keeps its place when the first one leaves"
    assert status_of(rows[0]) == ""
    assert status_of(rows[1]) == "unreliable: blur"
    crowd = [rows[0] | {"face_id": i} for i in range(20)]
    many = Painter(replace(gapped, frames=pd.concat([gapped.frames[:1].assign(face_id=i) for i in range(20)])))
    assert (many.paint(Frame(2, 0.0, clear), crowd)[4:-4, 604:] != both[4:-4, 604:]).any()


def test_a_study_sums_up_per_participant_and_condition(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for i, (who, what) in enumerate([("p1", "film"), ("p1", "film"), ("p1", "rest"), ("p2", "film"), ("p2", "rest")]):
        write_video(tmp_path / f"{i}.mp4", pictures(30 + 20 * i, seed=i))
        rows.append({"path": f"{i}.mp4", "subject": who, "stimulus": what})
    rows.append({"path": "none.mp4", "subject": "p3", "stimulus": "rest"})
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    out = tmp_path / "out"
    flags = [
        "--model",
        str(model),
        "--output",
        str(out),
        "--condition",
        "stimulus",
        "--faces",
        "whole",
        "--device",
        "cpu",
    ]
    assert main(["study", str(tmp_path / "m.csv"), *flags, "--no-pictures"]) == 1
    assert "none.mp4" in (out / "failures.csv").read_text()
    assert "1 of 6 videos" in capsys.readouterr().err
    study, summary = pd.read_csv(out / "study.csv"), pd.read_csv(out / "summary.csv")
    assert len(study) == 5 * len(EXPRESSIONS)
    frames = [Timeline.load(out / str(i)).frames["fear"].to_numpy(float) for i in range(5)]
    film = np.array([np.concatenate(frames[:2]).mean(), frames[3].mean()])
    row = summary[(summary["condition"] == "film") & (summary["measure"] == "fear")].iloc[0]
    assert row["participants"] == 2
    assert row["mean"] == pytest.approx(film.mean(), abs=1e-5)
    half = t.ppf(0.975, 1) * film.std(ddof=1) / 2**0.5
    assert row["upper"] == pytest.approx(min(row["mean"] + half, 1), abs=1e-5)
    assert row["lower"] == pytest.approx(max(row["mean"] - half, 0), abs=1e-5)  # no probability is below 0
    before = {p: p.stat().st_mtime_ns for p in out.rglob("frames.csv")}
    main(["study", str(tmp_path / "m.csv"), *flags, "--no-pictures"])
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("frames.csv")}  # nothing is done twice


def test_rows_of_a_study_may_be_stretches_of_one_video(model: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", pictures(75))
    rows = [{"path": "a.mp4", "start": 0, "end": 1}, {"path": "a.mp4", "start": 1, "end": 3}]
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    flags = [
        "--model",
        str(model),
        "--output",
        str(tmp_path / "out"),
        "--faces",
        "whole",
        "--device",
        "cpu",
        "--no-pictures",
    ]
    assert main(["study", str(tmp_path / "m.csv"), *flags]) == 0
    tables = [Timeline.load(f.parent).frames for f in sorted((tmp_path / "out").rglob("frames.csv"))]
    assert [len(table) for table in tables] == [25, 50]
    assert tables[1]["frame"].iloc[0] == 25
    assert tables[1]["timestamp"].iloc[0] == pytest.approx(1, abs=1e-3)


def clock(count: int, fps: float) -> Iterator[Frame]:
    """A source that shows frames by the clock, whoever looks or not."""
    frames, began = pictures(count), time.monotonic()
    for i, pixels in enumerate(frames):
        time.sleep(max(0.0, i / fps - (time.monotonic() - began)))
        yield Frame(i, time.monotonic() - began, pixels)


def test_a_slow_model_drops_frames_and_does_not_fall_behind(
    analyzer: Analyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = analyzer.read_windows
    monkeypatch.setattr(analyzer, "read_windows", lambda *a: time.sleep(0.2) or read(*a))
    tally, began = LiveStatistics(), time.monotonic()
    reading = ReadConfig(faces="whole")
    moments = list(live(analyzer, clock(100, 50), reading, LiveConfig(every=0.01, rate=50), tally))
    took = time.monotonic() - began
    assert tally.shown == 100
    assert tally.read == len(moments) < 60
    assert tally.dropped == 100 - len(moments) == moments[-1].dropped
    assert moments[-1].number >= 97  # it ends with the newest frames, not with old ones
    assert took < 2.0 + 1.5  # the source's two seconds, and the last reading
    numbers = [m.number for m in moments]
    assert numbers == sorted(set(numbers))
    assert all(m.latency >= 0.2 for m in moments if m.predictions)
    assert "dropped" in tally.sentence()


def test_a_fast_model_reads_on_while_a_face_is_there(
    analyzer: Analyzer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(video="0", model="", faces="whole", output=tmp_path, live=LiveConfig(every=0.1, rate=25))
    tally = watch_live(analyzer, clock(30, 25), config)
    table = pd.read_csv(tmp_path / "live.csv")
    np.testing.assert_allclose(table[list(EXPRESSIONS)].sum(axis=1), 1, atol=1e-5)
    assert len(table) == len(tally.latencies) >= 4
    assert min(table["latency"].tolist()) > 0
    assert tally.lag == pytest.approx(14 / 25 / 2)
    assert f"{tally.shown} frames" in capsys.readouterr().out


def test_live_windows_are_sampled_by_time_not_by_count(analyzer: Analyzer, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[np.ndarray] = []
    read_windows = Analyzer.read_windows
    frames = [Frame(i, s, np.full((32, 32, 3), round(100 * s), np.uint8)) for i, s in enumerate([0, 0.1, 0.2, 0.3, 0.9, 1.4])]  # fmt: skip

    def slow() -> Iterator[Frame]:
        for frame in frames:
            time.sleep(0.1)
            yield frame

    def read(self: Analyzer, windows: Sequence[Window], coverage: float | None = None) -> list[WindowPrediction]:
        shown.append(windows[0].video[0, 0, :, 0, 0].numpy())
        return read_windows(self, windows, coverage)

    monkeypatch.setattr(Analyzer, "read_windows", read)
    list(live(analyzer, slow(), ReadConfig(faces="whole"), LiveConfig(every=0.01, rate=10)))
    # steps of 2 frames at 10 per second, back from 1.4 s: 0, 0.2, 0.4 ... nearest of what there is
    assert shown[-1].tolist() == [0, 20, 30, 30, 90, 90, 140, 140]
