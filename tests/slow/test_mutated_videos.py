"""Attack: files with bits, bytes and stretches wrong, missing or repeated, in every container and codec at hand.

Each is judged by all readers in process (``slow.judging``), and a share by the commands themselves. The readers must
agree, nothing may hang, no error may be bare. MUTANTS sets how many there are of each kind (default 100).
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pytest

from slow.conftest import Tallying
from slow.judging import Verdict, judge_all
from slow.mutants import mutant, write
from slow.tally import Tally

EACH = int(os.environ.get("MUTANTS", "100"))
"""Mutants of each kind of file."""
SHARE = 4
"""Mutants of each kind that the commands get."""
ANALYZED = 16
"""Of all files, those that are analyzed, one by one."""


def judge_some(whole: Path, numbers: range, folder: Path) -> list[Verdict]:
    """Judge mutants of one file; the sound ones and the broken ones are deleted, those in dispute kept."""
    verdicts = []
    for number in numbers:
        path = mutant(whole, number, folder)
        verdicts.append(judge_all(path))
        if not verdicts[-1].lost + verdicts[-1].hung + verdicts[-1].traces:
            path.unlink()
    return verdicts


def crashing(whole: Path, numbers: range, folder: Path, attack: Tally) -> list[Verdict]:
    """The same one by one, each in a process of its own, after one of them brought its process down."""
    verdicts = []
    for number in numbers:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            try:
                verdicts += pool.submit(judge_some, whole, range(number, number + 1), folder).result()
            except Exception as error:
                attack.lose(f"{whole.name} {number}: {type(error).__name__}: the reader's process died")
    return verdicts


@pytest.mark.slow
def test_readers_agree_on_mutated_videos(tally: Tallying, tmp_path: Path) -> None:
    with tally("mutated videos, judged by all readers") as attack:
        kinds = write(tmp_path)
        verdicts: list[Verdict] = []
        with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
            jobs = {pool.submit(judge_some, whole, range(EACH), tmp_path): whole for whole in kinds}
            died = []
            for job in as_completed(jobs):
                if job.exception() is None:
                    verdicts += job.result()
                else:
                    died.append(jobs[job])
        for whole in died:
            verdicts += crashing(whole, range(EACH), tmp_path, attack)
        attack.tried += EACH * len(kinds)
        count(attack, verdicts)
        sound, unnoticed = sum(v.sound for v in verdicts), sum(v.unnoticed for v in verdicts)
        attack.note = (
            f"{len(kinds)} kinds of file; {len(verdicts) - sound - unnoticed} broken and {sound} sound for all, "
            f"{unnoticed} with damage that no decoder notices and that looks different after a seek"
        )


def count(attack: Tally, verdicts: Iterable[Verdict]) -> None:
    """Disputes, hangs and tracebacks of all verdicts."""
    for verdict in verdicts:
        for what in verdict.lost:
            attack.lose(what)
        for what in verdict.hung:
            attack.hang(what)
        attack.tracebacks.extend(verdict.traces)


def named(path: Path, files: str, column: str, *wanted: str) -> set[str]:
    """Names of the files that a table lists with one of some values in a column."""
    with path.open(newline="") as file:
        return {Path(row[files]).name for row in csv.DictReader(file) if row[column] in wanted}


@pytest.mark.slow
def test_commands_agree_on_mutated_videos(tally: Tallying, tmp_path: Path) -> None:
    with tally("mutated videos, given to prepare, faces, finetune, analyze") as attack:
        corpus = tmp_path / "videos"
        classes = [corpus / "happy", corpus / "sad"]
        for folder in classes:
            folder.mkdir(parents=True)
        (tmp_path / "whole").mkdir()
        kinds = [path for path in write(tmp_path / "whole") if path.suffix != ".ts"]  # .ts is no video to the commands
        chance = random.Random(0)
        files = [mutant(path, 1000 + n, chance.choice(classes)) for path in kinds for n in range(SHARE)]
        files += [Path(path.replace(chance.choice(classes) / path.name)) for path in kinds]
        attack.tried += len(files)
        prepared, cut = tmp_path / "prepared", tmp_path / "cut"
        attack.mien("prepare", "folder", str(corpus), "--output", str(prepared), "--keep-duplicates", timeout=300)
        broken = named(prepared / "problems.csv", "path", "kind", "broken")
        attack.mien("extract-faces", str(corpus), "--output", str(cut), "--detector.name", "haar", timeout=600)
        listed = named(cut / "files.csv", "input", "status", "broken", "failed")
        failed = named(cut / "files.csv", "input", "status", "failed")
        for name in sorted(broken ^ listed):
            attack.lose(f"{name}: prepare says {'broken' if name in broken else 'sound'}, faces the other")
        for name in sorted(failed):
            attack.lose(f"{name}: faces failed on it")
        manifest = tmp_path / "all.csv"
        rows = [f"{path},{path.parent.name}" for path in files]
        manifest.write_text("path,label\n" + "\n".join(rows) + "\n")
        done = attack.mien(
            "finetune", "--data.manifest", str(manifest), "--data.skip_bad", "--data.decode_all", "--task.labels", "label",
            "--train.steps=1", "--train.batch=2", "--train.workers=0", "--output", str(tmp_path / "run"),
            "--clip.frames=4", "--clip.stride=1", "--clip.size=32", "--encoder.dim=32", "--encoder.heads=2",
            "--encoder.patch=8", "--encoder.depths", "1", "2", "--encoder.bottleneck=2", timeout=300,
        )  # fmt: skip
        skipped = {
            path.name for path in files if any("bad clip" in x and path.name in x for x in done.out.splitlines())
        }
        if done.code != 0:
            attack.lose(f"finetune: exit code {done.code}: {done.err[-500:]}")
        for name in sorted(broken ^ skipped):
            attack.lose(f"{name}: prepare says {'broken' if name in broken else 'sound'}, finetune the other")
        for path in chance.sample(sorted(files), ANALYZED):
            out = tmp_path / "analysis" / path.name
            done = attack.mien(
                "analyze", str(path), "--model", str(tmp_path / "run"), "--faces", "whole", "--no-pictures",
                "--output", str(out), timeout=120,
            )  # fmt: skip
            if (done.code != 0) != (path.name in broken):
                attack.lose(
                    f"{path.name}: prepare says {path.name in broken}, analyze ends with {done.code}: {done.err[-300:]}"
                )
        attack.note = (
            f"{len(files)} files of {len(kinds)} kinds, {len(broken)} broken for all; {ANALYZED} of them analyzed"
        )
