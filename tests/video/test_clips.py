"""Which frames, in which order: exact rules, for every length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mien.interfaces import Clip
from mien.video.clips import (
    ClipConfig,
    ClipDataset,
    StepSampler,
    epoch_order,
    train_indices,
)
from mien.video.decode import VideoError
from mien.video.manifest import check, read_manifest, select, write_manifest
from mien.video.transforms import AugmentConfig
from numbered_videos import audio, write


@pytest.mark.parametrize("stride", [1, 4])
def test_training_indices_for_every_length(stride: int) -> None:
    span = 15 * stride + 1
    rng = np.random.default_rng(0)
    for length in range(1, 201):
        for _ in range(5):
            indices = train_indices(length, 16, stride, rng)
            assert len(indices) == 16
            inside = indices[indices < length - 1]
            assert indices[0] <= max(length - span, 0)
            assert (np.diff(inside) == stride).all()
            expected = np.minimum(indices[0] + stride * np.arange(16), length - 1)
            np.testing.assert_array_equal(indices, expected)
            assert length < span or (np.diff(indices) == stride).all()


def test_every_start_occurs() -> None:
    rng = np.random.default_rng(0)
    starts = {int(train_indices(70, 16, 4, rng)[0]) for _ in range(500)}
    assert starts == set(range(70 - 61 + 1))


def test_an_epoch_is_every_clip_once_and_position_is_all() -> None:
    assert sorted(epoch_order(0, 3, 10)) == list(range(10))
    assert list(epoch_order(0, 3, 10)) != list(epoch_order(0, 4, 10))
    whole = iter(StepSampler(10, 4, seed=1))
    batches = [next(whole) for _ in range(10)]
    stream = [key for batch in batches for key in batch]
    assert sorted(stream[:10]) == [(0, i) for i in range(10)]
    assert sorted(stream[10:20]) == [(1, i) for i in range(10)]
    assert next(iter(StepSampler(10, 4, seed=1, start=7))) == batches[7]


def test_ranks_share_out_the_stream() -> None:
    one = iter(StepSampler(10, 6, seed=1, start=2))
    shares = [next(iter(StepSampler(10, 3, seed=1, start=2, rank=rank, world=2))) for rank in range(2)]
    assert shares[0] + shares[1] == next(one)


def dataset(path: Path, **options) -> ClipDataset:
    config = ClipConfig(frames=8, stride=2, size=32, crop="squash")
    return ClipDataset([Clip(path, row=2)], config, AugmentConfig.none(), seed=0, **options)


def test_a_clip_is_a_function_of_seed_epoch_and_index(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4")
    data = dataset(path)
    assert torch.equal(data[3, 0]["video"], data[3, 0]["video"])
    assert not torch.equal(data[3, 0]["video"], data[4, 0]["video"])
    assert torch.equal(dataset(path, cache=True)[3, 0]["video"], data[3, 0]["video"])
    assert data[0, 0]["video"].shape == (3, 8, 32, 32)


def manifest(folder: Path, text: str) -> Path:
    path = folder / "m.csv"
    path.write_text(text)
    return path


def test_manifest_keeps_text_and_finds_files_beside_it(tmp_path: Path) -> None:
    clips = read_manifest(manifest(tmp_path, 'path,subject,start,label\n"a b, c.mp4",007,1.5,\n/abs/ü.mp4,8,,joy\n'))
    assert clips[0] == Clip(tmp_path / "a b, c.mp4", 1.5, None, {"subject": "007", "label": None}, 2)
    assert clips[1].path == Path("/abs/ü.mp4")
    write_manifest(tmp_path / "m.parquet", [{"path": "x.mp4", "fold": 3}])
    assert read_manifest(tmp_path / "m.parquet")[0].columns["fold"] == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("file,label\nx.mp4,a\n", "no column 'path'; the columns are file, label"),
        ("path\n", "no rows"),
        ("path,label\n,a\n", "line 2: the path is missing"),
        ("path,start\nx.mp4,soon\n", "line 2: start 'soon' is not a time"),
        ("path,start\nx.mp4,nan\n", "line 2: start 'nan'"),
        ("path,start,end\nx.mp4,2,1\n", "line 2: end 1.0 is not after start 2.0"),
        ("path\nx.mp4\ny.mp4\nx.mp4\n", "line 4: the same clip as on line 2"),
    ],
)
def test_bad_manifests_name_the_line(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        read_manifest(manifest(tmp_path, text))


def test_selection(tmp_path: Path) -> None:
    clips = read_manifest(manifest(tmp_path, "path,fold,label\na,0,x\nb,1,\nc,2,y\n"))
    names = lambda chosen: [clip.path.name for clip in chosen]  # noqa: E731
    assert names(select(clips, "fold=0,2")) == ["a", "c"]
    assert names(select(clips, "fold!=0; label!=")) == ["c"]
    with pytest.raises(ValueError, match="fold has the values 0, 1, 2"):
        select(clips, "fold=7")
    with pytest.raises(ValueError, match="no column 'split'"):
        select(clips, "split=train")


def test_folder_and_single_video(tmp_path: Path) -> None:
    for name in ("v10.mp4", "v2.mp4"):
        write(tmp_path / name, count=2)
    assert [clip.path.name for clip in read_manifest(tmp_path)] == ["v2.mp4", "v10.mp4"]
    assert len(read_manifest(tmp_path / "v2.mp4")) == 1
    with pytest.raises(ValueError, match="no such"):
        read_manifest(tmp_path / "nothing")


def test_bad_clips_are_listed_and_never_replaced(tmp_path: Path) -> None:
    good = write(tmp_path / "good.mp4")
    sound = audio(tmp_path / "sound.wav")
    clips = [Clip(good, row=2), Clip(sound, row=3), Clip(tmp_path / "gone.mp4", row=4), Clip(good, start=99.0, row=5)]
    problems = {problem.row: str(problem) for problem in check(clips)}
    assert set(problems) == {3, 4, 5}
    assert "line 3" in problems[3]
    assert "no video stream" in problems[3]
    assert "no such file" in problems[4]
    assert "no frame from 99.0 s" in problems[5]
    data = ClipDataset(clips, ClipConfig(frames=4, size=32), AugmentConfig.none(), seed=0)
    with pytest.raises(VideoError, match=r"line 4: .*gone\.mp4: no such file"):
        data[0, 2]


def test_damage_inside_a_file_is_found_when_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mkv", g="60", bf="0")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    path.write_bytes(content)
    assert [p.row for p in check([Clip(path, row=2)], decode=True)] == [2]
