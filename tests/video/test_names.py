"""Names of files are bytes: they come back from every table, and no cell of a table is a formula."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import pickle
import sys
from pathlib import Path

import pandas as pd
import pytest

from mien.cli import main
from mien.commands.study import folder_names
from mien.datasets.layout import walk_clips
from mien.files import locked
from mien.inference.journal import Journal
from mien.inference.tables import Layout
from mien.interfaces import Clip
from mien.names import folder_name, from_cell, from_text, read_csv, register, to_cell, to_text, write_csv
from mien.video.decode import natural_key
from mien.video.manifest import read_manifest, write_manifest
from toy_models import pictures, write_model, write_video

NAMES = [
    b"caf\xe9.mp4", b"\xff\xfe.mp4", b"a\nb.mp4", b"lit\\xe9.mp4", b"\\x5c\\x5c.mp4", b"\\\\xff\\\xff.mp4", b"=1+1.mp4", b"-x.mp4",
    b"@SUM(A1).mp4", b"'=q.mp4", b"tab\t.mp4", b"\xe2\x80\xae4pm.mp4", "😀.mp4".encode(), b'"quoted", name.mp4', b" space .mp4",
    b"...mp4", b"1\xc2\xb21.mp4", b"2024-01-01T12:30:05.mp4", b"\xed\xa0\x80.mp4",
]  # fmt: skip


@pytest.mark.parametrize("raw", NAMES)
def test_every_name_comes_back_from_text_that_is_unicode(raw: bytes) -> None:
    name = os.fsdecode(raw)
    text = to_text(name)
    assert text.encode("utf-8").decode("utf-8") == text
    assert "\n" not in text
    assert from_text(text) == name
    if raw.isascii() and b"\\" not in raw and raw.decode().isprintable():
        assert text == name  # nearly every name stands as it is


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_manifest_keeps_names_labels_and_numbers(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"path": Path(os.fsdecode(raw)), "label": f"={i}", "valence": "-0.5", "=head": "x"}
        for i, raw in enumerate(NAMES)
    ]
    write_manifest(tmp_path / f"m.{suffix}", rows)
    clips = read_manifest(tmp_path / f"m.{suffix}")
    assert [os.fsencode(clip.path.relative_to(tmp_path)) for clip in clips] == NAMES
    assert [dict(clip.columns) for clip in clips] == [{k: v for k, v in row.items() if k != "path"} for row in rows]
    if suffix == "csv":
        with (tmp_path / "m.csv").open(newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == ["-0.5"] * len(rows)


def test_formulas_are_quoted_and_numbers_are_not() -> None:
    for text in ("=1", "+cmd|' /C calc'!A0", "-1+1", "@x", "\t=1", "'=1", "''-a"):
        assert to_cell(text) == f"'{text}"
        assert from_cell(str(to_cell(text))) == text
    for text in ("-0.5", "+3", "-1e-9", "-inf", "plain", "'plain", "'-5", "a=b", ""):
        assert to_cell(text) == text == from_cell(text)
    assert [to_cell(value) for value in (-0.5, None, True)] == [-0.5, None, True]


def test_tables_come_back_as_they_were(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": [Path("-x"), Path("a")], "=c": ["+x", "-0.5"], "value": [-1.5, 2.0]})
    write_csv(table, tmp_path / "t.csv")
    read = read_csv(tmp_path / "t.csv")
    assert list(map(Path, read["path"])) == list(table["path"])
    assert (read["=c"].tolist(), read["value"].tolist()) == (["+x", "-0.5"], ["-1.5", "2.0"])


def test_a_journal_keeps_cells_that_look_like_formulas(tmp_path: Path) -> None:
    layout = Layout(("=a", "b"), "classification", "emotion", None)
    for name in ("w.csv", "w.parquet"):
        journal = Journal(tmp_path / name, ("input", "emotion", "=a"))
        journal.append([[to_text("=x\ny"), "=a", -0.5]])
        assert next(journal.read()) == {"input": "=x\\x0ay", "emotion": "=a", "=a": "-0.5"}
        journal.finish(layout)
        read = pd.read_parquet(tmp_path / name) if name.endswith("t") else None
        if read is not None:
            assert read.iloc[0].to_dict() == {"input": "=x\\x0ay", "emotion": "=a", "=a": -0.5}
    assert (tmp_path / "w.csv").read_text() == "input,emotion,'=a\n'=x\\x0ay,'=a,-0.5\n"


def test_what_no_terminal_can_show_gets_a_mark() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=register())
    stream.write("caf\udce9 ü")
    stream.flush()
    assert stream.buffer.getvalue() == "caf\\xe9 ü".encode()  # pyright: ignore[reportAttributeAccessIssue]


def test_folders_are_named_safely(tmp_path: Path) -> None:
    assert folder_name("a b") == "a b"
    assert [folder_name(name) for name in (".", "..", "")] == ["_.", "_..", "_"]
    long = [folder_name("é" * 200 + end) for end in "ab"]
    assert long[0] != long[1]
    assert all(len(name.encode()) <= 200 for name in long)
    assert natural_key(Path("1²1.mp4")) == ["", 1, "²", 1, ".mp", 4, ""]
    names = folder_names([Clip(tmp_path / "...mp4", row=1), Clip(tmp_path / "x.mp4", row=2)], tmp_path)
    assert names == ["_..", "x"]


def test_parquet_cells_of_every_kind_are_read_or_refused_by_name(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 2, 3, 4, 5, 6)
    row = {
        "path": b"caf\xe9.mp4", "start": datetime.timedelta(seconds=1.5), "day": day.date(), "at": day, "raw": b"\xff!",
        "text": b"abc", "count": 3, "share": 0.5, "whole": True, "none": None,
    }  # fmt: skip
    pd.DataFrame([row]).to_parquet(tmp_path / "m.parquet")
    (clip,) = read_manifest(tmp_path / "m.parquet")
    assert os.fsencode(clip.path.name) == b"caf\xe9.mp4"
    assert clip.start == 1.5
    assert json.loads(json.dumps(dict(clip.columns))) == {
        "day": "2024-02-03", "at": "2024-02-03T04:05:06", "raw": "\\udcff!", "text": "abc", "count": 3, "share": 0.5,
        "whole": True, "none": None,
    }  # fmt: skip
    pd.DataFrame([{"path": "a.mp4", "marks": [1, 2]}]).to_parquet(tmp_path / "l.parquet")
    with pytest.raises(
        ValueError, match=r"l\.parquet: column 'marks' holds \w+; a manifest holds text, numbers, dates"
    ):
        read_manifest(tmp_path / "l.parquet")
    (tmp_path / "no.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"no\.parquet: not a readable Parquet file"):
        read_manifest(tmp_path / "no.parquet")


def test_rows_stay_in_their_columns(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\n" + "".join(f"{i}.mp4,{'joy' if i % 2 else ''}\n" for i in range(50)))
    clips = read_manifest(tmp_path / "m.csv")
    assert clips[1].columns == {"label": "joy"}
    assert clips[0].columns == {"label": None}
    assert clips[1].columns["label"] is clips[3].columns["label"]
    assert sys.getsizeof(clips[1].columns) < 100
    assert pickle.loads(pickle.dumps(clips[1])) == clips[1]
    assert len(pickle.dumps(clips[1])) < 1000  # and not the table


def test_a_manifest_may_name_bytes_and_says_where_a_label_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(b"path,label\ncaf\xe9.mp4,joy\n")
    assert os.fsencode(read_manifest(tmp_path / "m.csv")[0].path.name) == b"caf\xe9.mp4"
    (tmp_path / "m.csv").write_bytes(b"path,label\na.mp4,joy\nb.mp4,d\xe9go\xfbt\n")
    with pytest.raises(ValueError, match=r"m\.csv line 3: label is not UTF-8; save the manifest as UTF-8"):
        read_manifest(tmp_path / "m.csv")


def test_studies_and_predictions_keep_a_name_of_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    names = [os.fsdecode(raw) for raw in (b"caf\xe9.mp4", b"=1+1.mp4")]
    film = write_video(tmp_path / "ok.mp4", pictures(10)).read_bytes()
    for name in names:
        (folder / name).write_bytes(film)
    (folder / os.fsdecode(b"bad\xe9.mp4")).write_bytes(b"no video")
    model = write_model(tmp_path / "model")
    flags = [f"--model={model}", "--faces=whole", "--device=cpu"]
    assert main(["study", str(folder), *flags, "--no-pictures", "--no-overlay", f"--output={tmp_path / 's'}"]) == 1
    assert set(read_csv(tmp_path / "s" / "study.csv")["video"]) == {"caf\\xe9", "=1+1"}
    assert read_csv(tmp_path / "s" / "failures.csv")["path"].tolist() == [str(folder / os.fsdecode(b"bad\xe9.mp4"))]
    table = pd.read_csv(tmp_path / "s" / names[0][:-4] / "frames.csv")
    assert from_text(str(table["input"][0])) == names[0]
    capsys.readouterr()
    assert main(["predict", str(folder / names[0]), *flags, "--json"]) == 0
    assert from_text(json.loads(capsys.readouterr().out)["path"]) == str(folder / names[0])


@pytest.mark.parametrize(
    ("name", "video"), [("...mp4", True), ("x.MP4", True), (".mp4", False), ("mp4", False), ("x.mp4.txt", False)]
)
def test_one_rule_says_which_files_are_videos(name: str, video: bool, tmp_path: Path) -> None:
    (tmp_path / "joy").mkdir()
    (tmp_path / "joy" / name).touch()
    (tmp_path / "joy" / "other.mp4").touch()
    wanted = {"other.mp4"} | ({name} if video else set())
    assert {clip.path.name for clip in read_manifest(tmp_path)} == wanted
    assert {path.name for path in walk_clips(tmp_path)} == wanted


def test_a_folder_is_locked_by_a_command_whose_words_are_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["mien", "predict", "caf\udce9\n.mp4"])
    with locked(tmp_path / ".lock"):
        assert r"caf\xe9\x0a.mp4" in (tmp_path / ".lock").read_text()
