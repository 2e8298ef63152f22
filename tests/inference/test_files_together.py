"""Files that belong together: a kill before any of their renames leaves those of one run, or no sign that they are whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mien import files
from mien.commands import cross_corpus, extract_features
from mien.engine import runlog
from mien.evaluation import results
from mien.inference.job import PICTURES, Job
from mien.inference.tables import Layout
from mien.inference.timeline import ABOUT, Timeline
from mien.interfaces import Clip
from mien.reports import evaluation_report, figures
from mien.tasks import outputs_of

NAMES = ("anger", "fear")
CLASSES = outputs_of("classification")


class Killed(BaseException):
    """In the place of SIGKILL."""


def clips(version: int) -> list[Clip]:
    return [Clip(Path(f"{version}-{i}.mp4"), columns={"subject": f"s{i}"}, row=i + 2) for i in range(4)]


def evaluation(folder: Path, version: int) -> None:
    """The second one has other clips and no subgroups."""
    outputs, targets = np.array([[0.9, 0.1], [0.2, 0.8]] * 2), np.array([0, 1, 0, 1])
    marks = results.evaluate(
        CLASSES, clips(version), outputs, targets, NAMES, folder, ["subject"] if version == 1 else []
    )
    evaluation_report.clear(folder)
    notes = {"evaluated": {"model": version}}
    evaluation_report.write(marks, outputs, targets, NAMES, notes=notes)


def crossed(folder: Path, version: int) -> None:
    """As the command does it."""
    files.remove_files(folder, cross_corpus.WRITTEN)
    cross_corpus.save_answers(clips(version), ["anger"] * 4, np.full((4, 2), 0.5), NAMES, folder)
    files.write_whole(folder / "cross.json", lambda path: path.write_text(str(version)))


def arrays(folder: Path, version: int) -> None:
    rows = [({"path": f"{version}.mp4", "window": i}, np.full(3, version, np.float32)) for i in range(2)]
    extract_features.write_npy(iter(rows), folder, 2)


def run_folder(folder: Path, version: int) -> None:
    runlog.open_run(folder, f"train: {version}\n", f"train: {version}\n")


def timeline(folder: Path, version: int) -> None:
    layout = Layout(("valence",), "regression", "")
    tables = [pd.DataFrame({"input": [f"{version}.mp4"]}) for _ in range(2)]
    Timeline(tables[0], tables[1], layout, {"input": version}).save(folder)


CASES: dict[str, tuple[Callable[[Path, int], None], str]] = {
    "evaluation": (evaluation, "metrics.json"),
    "cross": (crossed, "cross.json"),
    "features": (arrays, "windows.csv"),
    "analysis": (timeline, ABOUT),
    "run": (run_folder, "config.yaml"),
}
"""What writes several files, and the one without which they count for nothing."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".png"}


@pytest.mark.parametrize("case", CASES)
def test_a_kill_before_any_rename_leaves_no_mixture(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, last = CASES[case]
    monkeypatch.setattr(figures, "draw", lambda *given: None)
    whole = {}
    for version in (1, 2):
        write(tmp_path / str(version), version)
        whole[version] = contents(tmp_path / str(version))
    replace = os.replace
    for survived in range(10):
        folder = tmp_path / f"killed-{survived}"
        write(folder, 1)
        left = iter(range(survived))

        def killed(one: Path, other: Path, left=left) -> None:
            if next(left, None) is None:
                raise Killed
            replace(one, other)

        monkeypatch.setattr(os, "replace", killed)
        try:
            write(folder, 2)
        except Killed:
            finished = False
        else:
            finished = True
        monkeypatch.setattr(os, "replace", replace)
        found = contents(folder)
        if case == "run":  # nothing but the two: the same command knows its folder again
            runlog.refuse_other_run(folder, "train: 2\n")
        elif (folder / last).is_file():
            assert found in whole.values()
        if finished:
            assert found == whole[2]
            return
        write(folder, 2)
        assert contents(folder) == whole[2]
    pytest.fail("it renames more often than that")


def test_pictures_of_the_analysis_before_do_not_stand_beside_new_tables(tmp_path: Path) -> None:
    layout = Layout(("valence",), "regression", "")
    (tmp_path / "report.html").write_text("not of an analysis")
    Job(tmp_path, layout, {"input": "a.mp4"}, "csv").open(overwrite=False)
    assert (tmp_path / "report.html").is_file()
    for name in (ABOUT, *PICTURES):
        (tmp_path / name).touch()
    Job(tmp_path, layout, {"input": "b.mp4"}, "csv").open(overwrite=True)
    assert not [name for name in (ABOUT, *PICTURES) if (tmp_path / name).exists()]


def test_what_a_kill_left_of_an_evaluation_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "draw", lambda *given: None)
    evaluation(tmp_path, 1)
    (tmp_path / ".confusion.png.1234567").touch()
    evaluation(tmp_path, 2)
    assert not list(tmp_path.glob(".*"))
