"""`--identity sface`: a person who leaves and returns is one person in every table, through kills and over videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mien.cli import main
from mien.faces.identity import SFACE
from mien.inference.analyzer import Analyzer
from mien.inference.persons import VECTORS, renumber
from mien.inference.pipeline import PredictionEvent
from mien.inference.timeline import Timeline
from mien.reports.timeline_page import figure
from scenes import Actor, scene
from toy_models import recognition_network, write_video

pytestmark = pytest.mark.media
JOINED = [
    "--identity",
    "sface",
    "--same_person",
    "0.8",
    "--follow.no-returns",
    "--follow.patience",
    "0.2",
    "--device",
    "cpu",
    "--no-pictures",
]
OPTIONS: dict[str, Any] = {
    "identity": "sface",
    "same_person": 0.8,
    "follow": {"returns": False, "patience": 0.2},
    "progress": False,
}
"""Faces that return get a new id, so that only vectors can join them."""


@pytest.fixture(scope="module", autouse=True)
def models(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with the detector and a made network under the name of SFace."""
    folder = tmp_path_factory.mktemp("models")
    name = "face_detection_yunet_2023mar.onnx"
    (folder / name).write_bytes((media.parent / "models" / name).read_bytes())
    (folder / SFACE).write_bytes(recognition_network())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_MODELS", str(folder))
        yield


def film(media: Path, path: Path, first: Callable[[int], bool], other: Callable[[int], bool], count: int) -> Path:
    """A video in which two people are there on some frames."""
    actors = [
        Actor.cast(media / "fomm/04.mp4", 110, lambda i: (100, 110) if first(i) else None, count=10),
        Actor.cast(media / "fomm/10.mp4", 110, lambda i: (260, 110) if other(i) else None, count=10),
    ]
    frames = list(scene(actors, count, fps=25, size=(360, 220)))
    return write_video(path, np.stack([frame.pixels for frame in frames]))


@pytest.fixture(scope="module")
def videos(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a: somebody, then both, then the other, then the first again; b: the other alone."""
    folder = tmp_path_factory.mktemp("videos")
    film(media, folder / "a.mp4", lambda i: i < 8 or i >= 22, lambda i: 5 <= i < 19, 30)
    film(media, folder / "b.mp4", lambda i: False, lambda i: True, 8)
    return folder


def who(table: Any) -> dict[int, int]:
    """The person of each face, which is the same in all rows."""
    pairs = table[["face_id", "person"]].dropna().drop_duplicates()
    assert pairs["face_id"].is_unique
    return {int(face): int(person) for face, person in pairs.itertuples(index=False)}


def test_who_returns_is_the_same_person_through_a_kill(analyzer: Analyzer, videos: Path, tmp_path: Path) -> None:
    calm = analyzer.predict(videos / "a.mp4", tmp_path / "calm", **OPTIONS)
    assert who(calm.frames) == who(calm.windows) == who(calm.summary()) == {0: 0, 1: 1, 2: 0}
    assert calm.frames.columns.tolist().index("person") == calm.frames.columns.tolist().index("face_id") + 1
    assert calm.sentence() == "a.mp4: 3 faces of 2 persons on 27 of 30 frames, " + f"{len(calm.windows)} windows"
    assert calm.to_pyfeat()["Identity"].dropna().unique().tolist() == ["Person_0", "Person_1"]
    page: Any = figure(calm)
    titles = [note.text for note in page.layout.annotations]
    assert titles == ["face 0, person 0", "face 1, person 1", "face 2, person 0"]

    def kill(event: PredictionEvent) -> None:
        if event.time > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyzer.predict(videos / "a.mp4", tmp_path / "killed", listen=kill, **OPTIONS)
    analyzer.predict(videos / "a.mp4", tmp_path / "killed", **OPTIONS)
    for name in ("frames.csv", "windows.csv", VECTORS, "analysis.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "calm" / name).read_bytes()
    with pytest.raises(ValueError, match="identity was"):
        analyzer.predict(videos / "a.mp4", tmp_path / "calm", **OPTIONS | {"identity": "none", "same_person": None})


def test_tables_get_other_numbers_and_nothing_else(analyzer: Analyzer, videos: Path, tmp_path: Path) -> None:
    timeline = analyzer.predict(videos / "b.mp4", tmp_path, **OPTIONS)
    tables = [tmp_path / "frames.csv", tmp_path / "windows.csv"]
    before = [path.read_text() for path in tables]
    (tmp_path / "report.html").touch()
    assert not renumber(tmp_path, timeline, {0: 0})
    assert (tmp_path / "report.html").exists()
    assert renumber(tmp_path, timeline, {0: 7})
    assert not (tmp_path / "report.html").exists(), "a page of other numbers"
    changed = Timeline.load(tmp_path)
    assert who(changed.frames) == who(changed.windows) == {0: 7}
    assert renumber(tmp_path, changed, {0: 0})
    assert [path.read_text() for path in tables] == before


def test_a_study_joins_over_videos_and_means_go_over_persons(model: Path, videos: Path, tmp_path: Path) -> None:
    command = ["study", str(videos), "--model", str(model), "--output", str(tmp_path), "--format", "parquet", *JOINED]
    assert main(command) == 0
    table = pd.read_csv(tmp_path / "study.csv")
    assert table.columns[3:6].tolist() == ["face_id", "person", "main"]
    assert [who(table[table["video"] == name]) for name in ("a", "b")] == [{0: 0, 1: 1, 2: 0}, {0: 1}]
    main_faces = table[table["main"]].groupby("video")["face_id"].unique().map(list).to_dict()
    assert main_faces == {"a": [0, 2], "b": [0]}, "of one person, who is seen longest though no face is"
    for name in ("a", "b"):
        timeline = Timeline.load(tmp_path / name)
        assert who(timeline.frames) == who(timeline.windows) == who(table[table["video"] == name])
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.suffix in (".csv", ".parquet")}
    assert main(command) == 0
    assert before == {path: path.read_bytes() for path in before}
