"""Windows and overlap averages: every frame covered, in order, in bounded memory, whatever the batches and the faces."""

from __future__ import annotations

import numpy as np
import pytest

from mien.faces.face import Face, FrameFaces
from mien.inference.overlap import OverlapAverage
from mien.inference.pipeline import prediction_events
from mien.inference.window_prediction import WindowPrediction
from mien.inference.windows import FrameEvent, Window, Windower
from mien.video.clips import ClipConfig
from mien.video.stream import Frame

CLIP = ClipConfig(frames=4, stride=2, size=16)  # a window covers 7 frames


def sighting(index: int, ids: tuple[int, ...], shot: int = 0, bridged: tuple[int, ...] = ()) -> FrameFaces:
    frame = Frame(index, 0.04 * index + 0.01 * (index % 3), np.zeros((1, 1, 3), np.uint8))
    faces = [
        Face(i, (0.0, 0.0, 9.0, 9.0), 0.9, None, "bridged" if i in bridged else "detected", 50.0, None) for i in ids
    ]
    return FrameFaces(frame, tuple(faces), shot, None if ids else "no face found")


def windows_of(sightings: list[FrameFaces], hop: int, clip: ClipConfig = CLIP, segments: int = 1) -> list[FrameEvent]:
    windower = Windower(clip, segments, hop)
    seen = [
        windower.add_frame(s, [np.full((16, 16, 3), s.frame.index % 256, np.uint8)] * len(s.faces)) for s in sightings
    ]
    return [*seen, windower.finish()]


def said(window: Window) -> WindowPrediction:
    """An answer that depends on the window alone."""
    key = (window.face_id, window.crops[0].frame, window.crops[-1].frame)
    return WindowPrediction(np.random.default_rng(key).random(3).astype(np.float32))


@pytest.mark.parametrize("hop", [1, 3, 7, 20])
@pytest.mark.parametrize("length", [1, 3, 7, 8, 25])
def test_windows_cover_every_frame_and_one_ends_with_the_run(hop: int, length: int) -> None:
    seen = windows_of([sighting(i, (0,)) for i in range(length)], hop)
    windows = [w for s in seen for w in s.windows]
    starts = [w.crops[0].frame for w in windows]
    assert starts == sorted({*range(0, max(length - 7, 0) + 1, hop), max(length - 7, 0)})
    assert windows[-1].crops[-1].frame == length - 1
    covered = {s.frame for w in windows for s in w.crops}
    assert hop > 7 or covered == set(range(length))


def test_the_model_sees_every_second_frame_and_short_runs_repeat_their_last() -> None:
    long, short = ([w for s in windows_of([sighting(i, (0,)) for i in range(n)], 1) for w in s.windows] for n in (9, 3))
    assert long[1].video.shape == (1, 3, 4, 16, 16)
    assert long[1].video[0, 0, :, 0, 0].tolist() == [1, 3, 5, 7]
    assert [w.video[0, 0, :, 0, 0].tolist() for w in short] == [[0, 2, 2, 2]]


def test_gaps_and_cuts_end_a_run() -> None:
    there = [sighting(i, (0,) if i != 5 else (), shot=int(i >= 9)) for i in range(12)]
    seen = windows_of(there, 1)
    ranges = [(w.crops[0].frame, w.crops[-1].frame) for s in seen for w in s.windows]
    assert ranges == [(0, 4), (6, 8), (9, 11)]
    assert [s.ended for s in seen if s.ended] == [(0,), (1,), (2,)]


def test_segments_are_spread_over_a_longer_window() -> None:
    windows = [w for s in windows_of([sighting(i, (0,)) for i in range(14)], 1, segments=2) for w in s.windows]
    assert [w.video[:, 0, :, 0, 0].tolist() for w in windows] == [[[0, 2, 4, 6], [7, 9, 11, 13]]]


def two_faces() -> list[FrameFaces]:
    """Face 0 with a gap, face 1 that comes later and is bridged once, a frame without anyone."""
    rows = []
    for i in range(60):
        ids = tuple(f for f, there in ((0, i < 20 or 24 <= i < 50), (1, 10 <= i < 41)) if there and i != 33)
        rows.append(sighting(i, ids, bridged=(1,) if i == 15 else ()))
    return rows


@pytest.mark.parametrize("hop", [1, 4, 7])
@pytest.mark.parametrize("batch", [1, 5, 1000])
def test_averages_equal_those_computed_at_once(hop: int, batch: int) -> None:
    seen = windows_of(two_faces(), hop)
    windows = [w for s in seen for w in s.windows]
    events = list(prediction_events(iter(seen), lambda ws: [said(w) for w in ws], OverlapAverage(3), batch))
    frames = [item for event in events for item in event.frames]
    assert [s.frame for s, _ in frames] == list(range(60))
    for s, faces in frames:
        assert len(faces) == len(s.faces)
        for (run, appearance), dense in zip(s.faces, faces, strict=True):
            over = [w for w in windows if w.run == run and any(a.frame == s.frame for a in w.crops)]
            outputs = np.array([said(w).values for w in over], float)
            centres = [(w.crops[0].time + w.crops[-1].time) / 2 for w in over]
            assert dense.windows == len(over) >= 1
            np.testing.assert_allclose(dense.mean, outputs.mean(axis=0), atol=1e-12)
            np.testing.assert_allclose(dense.deviation, outputs.std(axis=0), atol=1e-7)
            assert dense.lag == pytest.approx(appearance.time - np.mean(centres), abs=1e-9)


def test_inside_a_run_the_average_is_not_late() -> None:
    frames = [FrameFaces(Frame(i, i / 25, np.zeros((1, 1, 3), np.uint8)), sighting(i, (0,)).faces, 0, None) for i in range(60)]  # fmt: skip
    events = prediction_events(iter(windows_of(frames, 1)), lambda ws: [said(w) for w in ws], OverlapAverage(3), 4)
    lags = [faces[0].lag for event in events for _, faces in event.frames]
    np.testing.assert_allclose(lags[6:-6], 0, atol=1e-9)
    assert lags[0] == pytest.approx(-3 / 25)
    assert lags[-1] == pytest.approx(3 / 25)


def test_frames_are_given_out_soon_and_nothing_is_kept_behind() -> None:
    averager, waiting = OverlapAverage(3), 0
    seen = windows_of([sighting(i, (i // 90,)) for i in range(900)], 2)
    given = 0
    for event in prediction_events(iter(seen), lambda ws: [said(w) for w in ws], averager, 4):
        given += len(event.frames)
        waiting = max(waiting, len(averager.queue))
    assert given == 900
    assert waiting <= 7 + 2 * 4 + 2
    assert not averager.runs
