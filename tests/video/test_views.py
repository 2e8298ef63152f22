"""Views of a clip: exact windows for every length, decoded once, each distinct one once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mien.interfaces import Clip
from mien.models.batching import forward_views
from mien.video import clips as reading_clips
from mien.video.clips import ClipConfig
from mien.video.transforms import AugmentConfig
from mien.video.views import ViewConfig, ViewDataset, distinct_views, sliding_indices, view_indices
from numbered_videos import number, write


@pytest.mark.parametrize("segments", [1, 2, 5])
def test_view_indices_for_every_length(segments: int) -> None:
    for length in range(1, 201):
        views = view_indices(length, 16, 4, segments)
        assert views.shape == (segments, 16)
        assert views.min() >= 0
        assert views.max() <= length - 1
        last = max(length - 61, 0)
        if segments == 1:
            assert views[0, 0] == last // 2
        else:
            assert views[0, 0] == 0
            assert views[-1, 0] == last
            assert (np.abs(np.diff(views[:, 0]) - last / (segments - 1)) <= 1).all()
        if length < 61:
            assert (views == views[0]).all()


@pytest.mark.parametrize("hop", [1, 7, 100])
def test_sliding_windows_reach_every_frame_they_can(hop: int) -> None:
    for length in range(1, 120):
        windows = sliding_indices(length, 4, 2, hop)
        starts = windows[:, 0]
        assert starts[0] == 0
        assert windows[-1, -1] == length - 1  # the end of the video is always read
        assert (np.diff(starts) > 0).all()
        assert (np.diff(starts) <= hop).all()
        assert set(range(0, max(length - 7, 0) + 1, hop)) <= set(starts.tolist())


def test_a_clip_keeps_to_its_start_and_end(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4")
    config = ClipConfig(frames=4, stride=1, size=32, crop="squash")
    item = ViewDataset([Clip(path, start=0.4, end=0.8, row=2)], config, ViewConfig(segments=2))[0]
    seen = [[number(frame) for frame in view.numpy().transpose(1, 2, 3, 0)] for view in distinct_views(item)]
    assert seen == [[10, 11, 12, 13], [16, 17, 18, 19]]
    np.testing.assert_allclose(item["times"], [[0.40, 0.52], [0.64, 0.76]], atol=1e-6)


def test_equal_views_are_computed_once_and_count_twice(tmp_path: Path) -> None:
    clips = [Clip(write(tmp_path / "short.mp4", count=10)), Clip(write(tmp_path / "long.mp4"))]
    short, long = ViewDataset(clips, ClipConfig(frames=8, stride=2, size=32), ViewConfig(segments=2, crops=3))
    assert len(list(distinct_views(short))) == 3  # one window, three crops of the wide frame
    assert len(list(distinct_views(long))) == 6
    assert short["layout"].tolist() == [0, 0]
    seen = []

    def brightness(views: torch.Tensor) -> torch.Tensor:
        seen.append(len(views))
        return views.float().mean(dim=(1, 2, 3, 4))

    first, second = (out for _, out in forward_views(brightness, [short, long], batch=4, device=torch.device("cpu")))
    assert seen == [4, 4, 1]  # batches reach over clips
    assert first.shape == second.shape == (2, 3)
    assert torch.equal(first[0], first[1])
    assert torch.equal(second.flatten(), torch.stack([v.float().mean() for v in distinct_views(long)]))


def test_views_of_a_video_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    true_open = reading_clips.open_video
    monkeypatch.setattr(reading_clips, "open_video", lambda path: opened.append(path) or true_open(path))
    clips = [Clip(write(tmp_path / "v.mp4"))]
    item = ViewDataset(clips, ClipConfig(frames=8, stride=2, size=32), ViewConfig(segments=5, crops=3))[0]
    assert len(list(distinct_views(item))) == 15
    assert len(opened) == 1


def test_variants_differ_and_repeat(tmp_path: Path) -> None:
    clips = [Clip(write(tmp_path / "v.mp4"))]
    config = ClipConfig(frames=4, stride=1, size=32)
    data = ViewDataset(
        clips, config, ViewConfig(segments=1), AugmentConfig(scales=(), area=(0.2, 0.5)), variants=2, seed=1
    )
    assert len(data) == 2
    assert not torch.equal(data[0]["frames"], data[1]["frames"])
    assert torch.equal(data[1]["frames"], data[1]["frames"])
