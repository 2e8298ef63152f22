"""``mien prepare``: every clip is decoded and accounted for, and a run that was killed goes on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import trees
from mien import cli
from mien.datasets.corpora import CORPORA
from mien.video.crashes import find_crash
from mien.video.inspection import InspectionJournal, inspect_files
from mien.video.manifest import read_manifest

ROUNDS = {1: {"train": [(1, 1), (2, 4), (3, 3), (4, 2), (5, 9)], "test": [(6, 7), (7, 7), (8, 5), (9, 6)]}}
"""One round of five, labels by number."""


def prepare(*arguments: object) -> int:
    return cli.main(["prepare", *map(str, arguments)])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def faulty(root: Path) -> Path:
    """DFEW with a missing clip (4), a label outside the scale (5), a broken (6), a short (7) and a copied one (8)."""
    trees.dfew(root, ROUNDS)
    clips = root / "Clip/jpg_256"
    for name in ("00001", "00002", "00003", "00005", "00009"):
        trees.video(clips / f"{name}.mp4")
    trees.video(clips / "00006.MP4").write_bytes(b"no video")
    trees.frames(clips / "00007", number=1)
    shutil.copy(clips / "00001.mp4", clips / "00008.mp4")
    trees.video(clips / "00099.mp4")
    return root


def test_every_clip_is_in_the_manifest_or_among_the_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare("dfew", faulty(tmp_path / "dfew"), "--output", tmp_path / "out", "--workers=2") == 1
    said = capsys.readouterr()
    assert "9 clips listed = 3 usable + 6 not" in said.out
    assert "left aside: 1 clips that no list names" in said.out
    problems = rows(tmp_path / "out/problems.csv")
    kinds = {row["path"].split("/")[-1][:5]: row["kind"] for row in problems if row["kind"] != "fold"}
    assert kinds == {
        "00001": "duplicate", "00004": "missing", "00005": "label", "00006": "broken", "00007": "short", "00008": "duplicate",
    }  # fmt: skip
    assert "one content, several labels: 00001.mp4 is happiness; 00008.mp4 is surprise" in str(problems)
    usable = read_manifest(tmp_path / "out/manifest.csv")
    assert [clip.path.name for clip in usable] == ["00002.mp4", "00003.mp4", "00009.mp4"]
    assert usable[0].columns["expression"] == "anger"
    assert usable[0].columns["frames"] == "3"
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["clips"] == {"listed": 9, "usable": 3, "unusable": 6}
    assert set(report["not_allowed"]) == {"missing", "label", "broken", "short", "duplicate", "fold", "counts"}
    assert "--allow" in said.err


def test_what_is_allowed_is_no_failure_but_stays_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = faulty(tmp_path / "dfew"), tmp_path / "out"
    kinds = ("missing", "label", "broken", "short", "duplicate", "fold", "counts")
    assert prepare("dfew", root, "--output", out, "--workers=1", "--allow", *kinds) == 0
    assert len(read_manifest(out / "manifest.csv")) == 3
    assert prepare("dfew", root, "--output", out, "--workers=1", "--keep-duplicates", "--allow", *kinds) == 0
    assert {clip.path.stem for clip in read_manifest(out / "manifest.csv")} == {
        "00001",
        "00002",
        "00003",
        "00008",
        "00009",
    }
    assert sum(row["kind"] == "duplicate" for row in rows(out / "problems.csv")) == 2


def test_a_whole_corpus_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("happy/a.mp4", "happy/b.mp4", "sad/c.MP4"):
        trees.video(tmp_path / "faces" / name)
    assert prepare("folder", tmp_path / "faces", "--output", tmp_path / "out", "--workers=1") == 0
    assert "no problems" in capsys.readouterr().out
    found = read_manifest(tmp_path / "out/manifest.csv")
    assert len({clip.columns["sha256"] for clip in found}) == 3
    assert rows(tmp_path / "out/problems.csv") == []


def test_a_killed_run_goes_on_and_looks_at_no_clip_twice(tmp_path: Path) -> None:
    for i in range(300):
        trees.video(tmp_path / f"faces/{'happy' if i % 2 else 'sad'}/{i:03d}.mp4")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mien", "prepare", "folder", str(tmp_path / "faces"), "--output", str(out)]
    command += ["--workers", "1"]
    journal = out / "checked.jsonl"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, **quiet)
    deadline = time.monotonic() + 60
    while not (journal.is_file() and journal.read_text().count("\n") > 5) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = journal.read_text().count("\n")
    assert 5 < before < 301, "the kill came too late to test anything"
    assert not (out / "manifest.csv").exists()
    with journal.open("a") as file:
        file.write('{"path": "cut o')
    assert subprocess.run(command, **quiet).returncode == 0
    looked = Counter(json.loads(line)["path"] for line in journal.read_text().splitlines()[1:])
    assert len(looked) == 300
    assert set(looked.values()) == {1}
    assert len(read_manifest(out / "manifest.csv")) == 300


def test_a_changed_clip_is_looked_at_again(tmp_path: Path) -> None:
    one, other = trees.video(tmp_path / "a.mp4"), trees.video(tmp_path / "b.mp4")
    seen = []
    for _ in range(2):
        journal = InspectionJournal(tmp_path / "checked.jsonl", "test")
        inspect_files(
            [one, other],
            journal,
            1,
            True,
            inspector=lambda look: seen.append(look.path.name) or trees.inspect_file(look),
        )
        journal.close()
        one.write_bytes(b"broken now")
    journal = InspectionJournal(tmp_path / "checked.jsonl", "test")
    found = inspect_files([one, other], journal, 1, True)
    assert seen == ["a.mp4", "b.mp4", "a.mp4"]
    assert found[one].damage
    assert not found[other].damage
    with pytest.raises(ValueError, match="is about test, not another"):
        InspectionJournal(tmp_path / "checked.jsonl", "another")


def test_a_clip_that_brings_the_decoder_down_costs_itself_alone(tmp_path: Path) -> None:
    paths = [trees.video(tmp_path / f"{name}.mp4") for name in ("a", "b", "killer", "c", "d")]
    journal = InspectionJournal(tmp_path / "checked.jsonl", "test")
    found = inspect_files(paths, journal, 2, True, inspector=trees.crash)
    assert {path.stem for path, finding in found.items() if finding.damage} == {"killer"}
    assert "the decoder crashed" in found[paths[2]].damage
    assert all(found[path].frames == 3 for path in paths if path.stem != "killer")
    assert find_crash(paths[2:3], inspector=trees.crash) == paths[2]


def test_folds_are_dealt_by_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = [("path", "subject"), *((f"{i}.mp4", f"p{i % 4}") for i in range(8))]
    labels = trees.table(tmp_path / "clips.csv", table)
    for i in range(8):
        trees.video(tmp_path / f"{i}.mp4")
    common = ("csv", tmp_path, "--labels", labels, "--workers=1", "--folds=2")
    assert prepare(*common, "--output", tmp_path / "out") == 0
    folds = {
        clip.columns["subject"]: clip.columns["seeded_fold"] for clip in read_manifest(tmp_path / "out/manifest.csv")
    }
    assert sorted(map(str, folds.values())) == ["1", "1", "2", "2"]


def test_mistakes_name_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(*arguments: object) -> str:
        assert prepare(*arguments) == 1
        return capsys.readouterr().err

    assert "no corpus 'faces'; there are dfew" in error("faces", tmp_path)
    assert "give --output" in error("folder", tmp_path)
    assert "no such folder; ROOT is the folder" in error("ravdess", tmp_path / "no", "--output", tmp_path / "out")
    assert "expected:" in error("dfew", tmp_path, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "folder takes no --scale" in error("folder", tmp_path, "--output", tmp_path / "out", "--scale", "0", "1")
    trees.empty(tmp_path / "full/mine.txt")
    assert "holds no prepared corpus" in error("folder", tmp_path, "--output", tmp_path / "full")


def test_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare() == 0
    said = capsys.readouterr().out
    assert all(name in said for name in CORPORA)
    assert prepare("mafw") == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("9172", "ask at", "Train & Test Set", "licence"))


@pytest.mark.media
def test_crema_d_with_real_tables_and_few_real_clips(
    media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "crema_d"
    for name, folder in {"SentenceFilenames": "", "VideoDemographics": "", "summaryTable": "processedResults"}.items():
        (root / folder).mkdir(exist_ok=True, parents=True)
        shutil.copy(media / f"annotations/crema_d__{name}.csv", root / folder / f"{name}.csv")
    shutil.copytree(media / "cremad_labelled", root / "VideoFlash")
    there = sorted(path.stem for path in (root / "VideoFlash").glob("*.flv"))
    assert prepare("crema_d", root, "--output", tmp_path / "out", "--workers=1") == 1
    said = capsys.readouterr().out
    assert f"7442 clips listed = {len(there)} usable + {7442 - len(there)} not" in said
    assert "wins alone in 4931 of 7442 clips (66.26%) and ties with others in 354 (4.76%)" in said
    found = {clip.path.stem: clip.columns for clip in read_manifest(tmp_path / "out/manifest.csv")}
    assert sorted(found) == there
    angry = found["1001_DFA_ANG_XX"]
    assert (angry["expression"], angry["subject"], angry["fold"], angry["age"]) == ("anger", "1001", "1", "51")
    assert (angry["frames"], angry["face_anger"]) == ("67", "1.0")
    assert str(angry["sha256"]).startswith("10dc3fd1f2bc8203")
    assert Counter(row["kind"] for row in rows(tmp_path / "out/problems.csv")) == {"missing": 7442 - len(there)}
