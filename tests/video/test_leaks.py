"""What is marked must not be known: leaks that were planted are found, refused, or marked in every report."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

import trees
from conftest import ONE_PROCESS, TINY_DECODER, TINY_TPSBT
from mien import cli
from mien.interfaces import Clip
from mien.video.leaks import LearntClip, find_leaks, find_seen, hash_clips, read_seen, seen_clips, write_seen
from mien.video.splits import held_out


def clip(path: Path | str, subject: str | None = None, start: float | None = None, end: float | None = None) -> Clip:
    return Clip(Path(path), start, end, {"subject": subject}, 2)


def hashes(*clips: Clip) -> dict[Path, str]:
    """A content of its own for each name without suffix."""
    return {c.path: c.path.stem for c in clips}


def leaks(one: list[Clip], other: list[Clip]) -> list[str]:
    return [str(x) for x in find_leaks({"train": one, "test": other}, hashes(*one, *other), "subject")]


def test_each_kind_of_leak_is_found_and_named_once() -> None:
    train = [clip("a.mp4", "s1"), clip("b.mp4", "s2"), clip("c.mp4", "s3")]
    assert leaks(train, [clip("d.mp4", "s4")]) == []
    assert leaks(train, [clip("b.mp4", "s4")]) == ["train and test share 1 clips: b.mp4"]
    assert leaks(train, [clip("b.avi", "s4")]) == ["1 clips of test have the content of a clip of train: b.avi"]
    assert leaks(train, [clip("d.mp4", "s1"), clip("e.mp4", "s3")]) == [
        "train and test share 2 of the subjects: s1, s3"
    ]
    assert leaks([clip("a.mp4")], [clip("d.mp4")]) == []  # people who are not named are nobody


def test_stretches_of_one_file_are_clips_of_their_own() -> None:
    train = [clip("a.mp4", start=1.0, end=2.0)]
    for start, end, leaking in ((2.0, 3.0, False), (None, 1.0, False), (1.9, None, True), (None, None, True)):
        assert bool(leaks(train, [clip("a.mp4", start=start, end=end)])) == leaking, (start, end)


def test_three_parts_are_compared_in_pairs() -> None:
    parts = {"train": [clip("a.mp4")], "validation": [clip("b.mp4", "s")], "test": [clip("c.mp4", "s"), clip("a.mp4")]}
    found = find_leaks(parts, hashes(*[c for part in parts.values() for c in part]), "subject")
    assert {(leak.kind, leak.one, leak.other) for leak in found} == {
        ("path", "train", "test"), ("subject", "validation", "test"),
    }  # fmt: skip


def test_contents_come_from_the_manifest_or_the_files(tmp_path: Path) -> None:
    one, folder = trees.video(tmp_path / "a.mp4"), trees.frames(tmp_path / "frames")
    copied, same = Path(shutil.copy(one, tmp_path / "b.mp4")), shutil.copytree(folder, tmp_path / "same")
    told = Clip(tmp_path / "absent.mp4", columns={"sha256": "A" * 64})
    found = hash_clips([*map(clip, (one, copied, folder, same)), told])
    assert found[one] == found[copied]
    assert found[folder] == found[same] != found[one]
    assert found[told.path] == "a" * 64


def test_what_was_seen_is_kept_in_a_file(tmp_path: Path) -> None:
    seen = [
        LearntClip("pretraining", "b" * 64),
        LearntClip("pretraining", "a" * 64, 0.1, None),
        LearntClip("training", "a" * 64, None, 2.5),
    ]
    write_seen(tmp_path / "seen.csv", [*seen, *seen])
    assert sorted(read_seen(tmp_path / "seen.csv"), key=seen.index) == seen
    (tmp_path / "seen.csv").write_text("part,sha256,start,end\ntraining,x\n")
    with pytest.raises(ValueError, match=r"seen.csv line 2"):
        read_seen(tmp_path / "seen.csv")
    (tmp_path / "seen.csv").write_text("")
    with pytest.raises(ValueError, match="the header is not part,sha256,start,end"):
        read_seen(tmp_path / "seen.csv")


def test_pretraining_clips_are_known_by_content_wherever_they_lie() -> None:
    learnt, marked = clip("there/a.mp4", end=3.0), [clip("here/a.avi", start=2.0), clip("here/b.avi")]
    seen = seen_clips("pretraining", [learnt], hashes(learnt))
    assert [str(x) for x in find_seen(seen, hashes(*marked), "test", marked)] == [
        "1 clips of test have the content of a clip of pretraining: a.avi"
    ]
    assert find_seen(seen, hashes(*marked), "test", [clip("here/a.avi", start=3.0)][:0] + marked[1:]) == []


def test_validation_takes_whole_people_by_a_seed_and_keeps_the_classes() -> None:
    rows = [Clip(Path(f"{i}"), columns={"subject": f"s{i // 6}"}) for i in range(60)]
    labels = [i % 3 for i in range(60)]
    taken = held_out(rows, "subject", labels, 5, seed=1)
    assert sum(taken) == 12
    people = [
        {str(c.columns["subject"]) for c, t in zip(rows, taken, strict=True) if t == part} for part in (True, False)
    ]
    assert not people[0] & people[1]
    assert [sum(t for t, n in zip(taken, labels, strict=True) if n == k) for k in range(3)] == [4, 4, 4]
    assert taken == held_out(rows, "subject", labels, 5, seed=1)
    assert any(taken != held_out(rows, "subject", labels, 5, seed=s) for s in range(2, 6))
    assert sum(held_out(rows, "", labels, 5, seed=1)) == 12
    with pytest.raises(ValueError, match="not every row has a film"):
        held_out(rows, "film", labels, 5, seed=1)
    with pytest.raises(ValueError, match=r"3 different subjects are too few to take one in 5 .* hold out none"):
        held_out(rows[:18], "subject", labels[:18], 5, seed=1)


def run(*arguments: object) -> int:
    return cli.main([str(a) for a in arguments])


def finetune(manifest: Path, output: Path, *more: object) -> int:
    flags = [
        "--train.steps=1",
        "--train.batch=4",
        "--split.test=fold=2",
        "--split.holdout=0",
        *TINY_TPSBT,
        *ONE_PROCESS,
    ]
    return run("finetune", f"--data.manifest={manifest}", f"--output={output}", *flags, *more)


@pytest.fixture(scope="module")
def pretrained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that has learnt from all clips, those of fold 1 among them."""
    folder = tmp_path_factory.mktemp("leaky")
    flags = ["--train.steps=1", "--train.batch=4", *TINY_TPSBT, *TINY_DECODER, *ONE_PROCESS]
    assert run("pretrain", f"--data.manifest={corpus}", f"--output={folder}", *flags) == 0
    return folder


def planted(corpus: Path, folder: Path, subject: str, name: str | None = None) -> Path:
    """The corpus with a training row that leaks: a copy of a test clip, or another clip of a test subject."""
    with corpus.open(newline="") as file:
        rows = [row | {"path": str(corpus.parent / row["path"])} for row in csv.DictReader(file)]
    test, train = (next(row for row in rows if row["fold"] == fold) for fold in "21")
    copied = shutil.copy((test if name else train)["path"], folder / (name or "new.mp4"))
    train["subject"], train["path"] = subject or test["subject"], str(copied)
    with (folder / "planted.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return folder / "planted.csv"


def test_planted_leaks_are_refused_before_training(
    corpus: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert finetune(planted(corpus, tmp_path, "stranger", "copy.mp4"), out) == 1
    assert "test have the content of a clip of train" in capsys.readouterr().err
    assert finetune(planted(corpus, tmp_path, ""), out) == 1
    assert "share 1 of the subjects" in capsys.readouterr().err
    assert finetune(corpus, out, "--split.train=fold!=9") == 1
    assert "train and test share 14 clips" in capsys.readouterr().err
    assert finetune(corpus, out, f"--init={pretrained}") == 1
    error = capsys.readouterr().err
    assert "14 clips of test have the content of a clip of pretraining" in error
    assert "--leaks-allowed" in error
    assert not out.exists()


def test_leaks_that_are_allowed_mark_every_report(
    corpus: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(corpus, tmp_path, f"--init={pretrained}", "--leaks-allowed") == 0
    said = "14 clips of test have the content of a clip of pretraining"
    printed = capsys.readouterr().out
    assert f"! leak: {said}" in printed
    assert "* training and test share" in printed
    for name in ("model.json", "evaluation/metrics.json"):
        assert said in str(json.loads((tmp_path / name).read_text())["leaks"])
    assert run("evaluate", f"--model={tmp_path}", f"--data.manifest={corpus}", "--workers=0", "--device=cpu") == 0
    printed = capsys.readouterr().out
    assert f"! leak: {said}" in printed
    assert "! leak: 14 clips of these have the content of a clip of training" in printed
    assert {s.part for s in read_seen(tmp_path / "seen.csv")} == {"pretraining", "training"}


def test_probes_refuse_leaks_too(
    corpus: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        f"--model={pretrained}", f"--data.manifest={corpus}", "--validation=subject=s000", "--test=fold=2", "--workers=0",
        "--device=cpu", f"--output={tmp_path / 'probe'}", f"--features.folder={tmp_path / 'features'}", "--probe.epochs=1",
        "--segments=1",
    ]  # fmt: skip
    assert run("probe", *flags) == 1
    assert "14 clips of test have the content of a clip of pretraining" in capsys.readouterr().err
    assert run("probe", *flags, "--leaks-allowed") == 0
    assert "! leak: 14 clips of test" in capsys.readouterr().out
    about = json.loads((tmp_path / "probe" / pretrained.name / "model.json").read_text())
    assert about["leaks"]
    assert about["selection"] == "best on validation"


def test_imported_weights_without_a_record_are_said_to_be_unchecked(
    corpus: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pretrained, tmp_path / "import", ignore=shutil.ignore_patterns("seen.csv"))
    assert finetune(corpus, tmp_path / "run", f"--init={tmp_path / 'import'}") == 0
    assert "has no seen.csv: whether its training saw the test clips cannot be checked" in capsys.readouterr().out
