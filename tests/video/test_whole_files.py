"""One judgement of a file for all commands; no file makes FFmpeg open another one; frames have a largest size."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien import cli
from mien.commands import pretrain
from mien.faces.clipfile import ClipFile, ClipFileConfig
from mien.interfaces import Clip
from mien.training.data import DataConfig, load_clips
from mien.training.run_config import decisive
from mien.video.container import limit_pixels
from mien.video.decode import open_video
from mien.video.inspection import InspectionRequest, inspect_file
from mien.video.manifest import check
from mien.video.packet_table import VideoError, scan
from mien.video.stream import read_frames
from mien.web.decoder import DecodingLimits, frames
from numbered_videos import number, write
from slow.judging import judge_all
from slow.mutants import mutant, write_one
from slow.mutants import write as write_all


def stream(path: Path) -> str:
    """What the stream that faces and analyze read ends with."""
    try:
        for _ in read_frames(path):
            pass
    except VideoError as error:
        return str(error)
    return ""


def shorten(path: Path, share: float) -> Path:
    """The same file without its end."""
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


@pytest.mark.parametrize(
    ("name", "options", "share"),
    [
        ("cut.flv", {"codec": "flv", "g": "12"}, 0.57),
        ("cut.mkv", {"g": "12"}, 0.5),
        ("cut.avi", {"codec": "mpeg4", "g": "12"}, 0.7),
        ("cut_b.avi", {"codec": "mpeg4", "g": "12", "bf": "2"}, 0.7),
        ("cut.mp4", {"g": "12"}, 0.9),
        ("cut.webm", {"codec": "libvpx", "g": "12"}, 0.6),
    ],
)
def test_a_cut_off_file_is_broken_for_every_command(name: str, options: dict, share: float, tmp_path: Path) -> None:
    path = shorten(write(tmp_path / name, **options), share)
    clip = Clip(path, row=2)
    said = [stream(path), inspect_file(InspectionRequest(path, decode=True)).damage]
    said += [str(problem) for decode in (False, True) for problem in check([clip], decode=decode)]
    assert len(said) == 4
    assert all(name in words for words in said), said


@pytest.mark.media
def test_a_cut_off_clip_of_crema_d_is_broken_before_training(media: Path, tmp_path: Path) -> None:
    whole = media / "cremad_labelled/1001_DFA_SAD_XX.flv"
    path = tmp_path / whole.name
    path.write_bytes(whole.read_bytes()[: int(0.57 * whole.stat().st_size)])
    assert check([Clip(whole)]) == []
    assert "says it lasts" in str(check([Clip(path)])[0])


def test_mutated_files_are_judged_alike(tmp_path: Path) -> None:
    """The long form has thousands: tests/slow/test_mutated_videos.py."""
    whole = [
        write_one(tmp_path / "a.mkv", {"codec": "libx264", "g": "12"}),
        write_one(tmp_path / "b.flv", {"codec": "flv"}),
    ]
    for number_ in range(8):
        for path in filter(None, whole):
            verdict = judge_all(mutant(path, number_, tmp_path))
            assert not verdict.lost + verdict.hung + verdict.traces


def unknown(path: Path) -> Path:
    """A Matroska file whose video is in a codec that nobody knows."""
    write(path, count=20)
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_NONE4/ISO/AVC"))
    return path


def test_an_unknown_codec_costs_its_own_clip_alone(tmp_path: Path) -> None:
    unknown(tmp_path / "unknown.mkv")
    write(tmp_path / "sound.mkv", count=20)
    (tmp_path / "m.csv").write_text("path\nunknown.mkv\nsound.mkv\n")
    data = DataConfig(manifest=str(tmp_path / "m.csv"), skip_bad=True)
    said: list[str] = []
    kept = load_clips(data, workers=1, show=said.append)
    assert [clip.path.name for clip in kept] == ["sound.mkv"]
    assert "line 2" in said[0]
    assert "unknown.mkv: its video is in a codec that FFmpeg does not know" in said[0]
    assert "codec" in stream(tmp_path / "unknown.mkv")
    assert "codec" in inspect_file(InspectionRequest(tmp_path / "unknown.mkv", decode=True)).damage


def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "2024-01-01T12:30:05.mp4", count=20)
    write(tmp_path / "take%03d.mp4", count=20)
    monkeypatch.chdir(tmp_path)
    for name in ("2024-01-01T12:30:05.mp4", "take%03d.mp4"):
        with open_video(Path(name)) as video:
            assert number(video.read([13])[0]) == 13
        assert stream(Path(name)) == ""


def test_a_video_is_written_to_a_name_with_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clip = ClipFile(Path("12:30:05.mp4"), 32, ClipFileConfig())
    for i in range(3):
        clip.write(np.full((32, 32, 3), 80 * i, np.uint8), i / 25)
    clip.close()
    with open_video(tmp_path / "12:30:05.mp4") as video:
        assert len(video) == 3


def test_a_path_is_never_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        folder = tmp_path / "http:" / address
        folder.mkdir(parents=True)
        write(folder / "x.mp4", count=20)
        monkeypatch.chdir(tmp_path)
        assert stream(Path(f"http:/{address}/x.mp4")) == ""
        with pytest.raises(TimeoutError):
            server.accept()


POINTERS = {
    "list.mp4": "ffconcat version 1.0\nfile 'secret.mp4'\n",
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "dash.mp4": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>secret.mp4</BaseURL></MPD>\n',
    "spaced.mp4": "\n\nffconcat version 1.0\nfile secret.mp4\n",
}


@pytest.mark.parametrize("name", POINTERS)
def test_files_that_name_others_are_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path / "secret.mp4", count=20)
    (tmp_path / name).write_text(POINTERS[name])
    for said in (stream(tmp_path / name), str(check([Clip(tmp_path / name)])[0])):
        assert name in said
        assert "names other files" in said


def test_frames_have_a_largest_size(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", count=20)
    with limit_pixels(2047):  # its frames have 2048
        with pytest.raises(VideoError, match=r"v\.mp4: frames of 64 x 32 pixels, more than the 2047 .* --max-pixels"):
            scan(path)
        assert "2047" in stream(path)
        with pytest.raises(VideoError, match="2047"):  # in a process of its own
            list(frames(path, DecodingLimits(10**9, 60)))
    with limit_pixels(2048):
        assert stream(path) == ""


def test_the_largest_size_is_an_option_of_every_command_that_reads_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused by the process that cuts, the one that checks clips and this one; no run is another for it."""
    path = write(tmp_path / "v.mp4", count=20)
    (tmp_path / "m.csv").write_text("path,expression\nv.mp4,anger\n")
    said = "frames of 64 x 32 pixels, more than the 2047"
    limit, out = "--max-pixels=2047", f"--output={tmp_path / 'out'}"
    for command in (
        ["extract-faces", str(path), f"{out}-faces", "--detector.name=haar", "--workers=1"],
        ["preview", str(path), f"{out}-look", "--detector.name=haar"],
        ["prepare", "csv", str(tmp_path), f"--labels={tmp_path / 'm.csv'}", f"{out}-prepare", "--workers=1"],
        ["pretrain", f"--data.manifest={tmp_path / 'm.csv'}", f"{out}-pretrain", "--train.device=cpu"],
    ):
        assert cli.main([*command, limit]) == 1
        shown = capsys.readouterr()
        listed = [file.read_text() for file in tmp_path.rglob("problems.csv")]
        assert said in " ".join([shown.out, shown.err, *listed]), command
        assert "MIEN_MAX_PIXELS" not in os.environ
    one, other = (pretrain.Config(max_pixels=pixels) for pixels in (2047, 2048))
    assert decisive(one) == decisive(other)


def claim(path: Path, width: int, height: int) -> Path:
    """A PNG of a few bytes that says it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("side", [8000, 20000])  # more than is read; more than Pillow opens
def test_an_image_that_claims_too_many_pixels_is_named(side: int, tmp_path: Path) -> None:
    claim(tmp_path / "0.png", side, side)
    for said in (stream(tmp_path), str(check([Clip(tmp_path)])[0])):
        assert "0.png: " in said
        assert "pixels" in said


def test_where_an_index_leads_astray_reading_goes_from_the_start(tmp_path: Path) -> None:
    """A refresh spread over many frames: nothing can be decoded right after a seek."""
    options: dict[str, Any] = {"g": "8", "x264-params": "intra-refresh=1"}
    path = write(tmp_path / "refresh.mkv", **options)
    with open_video(path) as video:
        assert [number(frame) for frame in video.read([40, 12, 59])] == [40, 12, 59]


def test_every_kind_of_the_attack_is_whole_before_it(tmp_path: Path) -> None:
    videos = write_all(tmp_path)
    assert len(videos) >= 20
    assert [path.name for path in videos if not judge_all(path).sound] == []
