"""Tables as they were: what commands write of a toy model of each kind equals what stands in tests/data/golden.

Headers and texts to the letter, numbers to a tolerance. ``python tests/test_golden.py FOLDER`` writes them anew.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from conftest import DATA
from mien.commands import calibrate, evaluate, study
from mien.modules.heads import MeanHeadConfig
from mien.tasks.classification import ClassificationConfig
from mien.tasks.regression import RegressionConfig
from mien.training.data import DataConfig
from toy_models import write_model

GOLDEN = DATA / "golden"
TASKS = {
    "classification": ClassificationConfig(head=MeanHeadConfig(scale=40.0)),
    "regression": RegressionConfig(columns=("valence", "arousal"), output="tanh", head=MeanHeadConfig(scale=40.0)),
}
PATHS = ("path", "weights", "manifest_sha256", "mien", "evaluated", "input")
"""What differs from machine to machine, and is left out."""


def tables(folder: Path, kind: str, manifest: Path) -> Path:
    """Calibrate, evaluate, and a study of two videos; returns the folder of what was written."""
    model, out = write_model(folder / "model", TASKS[kind]), folder / "tables"
    data = DataConfig(manifest=str(manifest))
    options = {"model": model, "data": data, "workers": 0, "device": "cpu"}
    calibrate.run(calibrate.Config(coverage=0.8, **options))
    evaluate.run(evaluate.Config(output=out / "evaluation", subgroups=("subject",), **options))
    (out / "calibration.yaml").write_text((model / "calibration.yaml").read_text())
    videos, first = folder / "videos.csv", manifest.read_text().splitlines()[:3]
    videos.write_text("\n".join([first[0], *(f"{manifest.parent}/{line}" for line in first[1:])]) + "\n")
    study.run(study.Config(
        videos=videos, output=out / "study", model=str(model), faces="whole", pictures=False, device="cpu",
        condition="expression",
    ))  # fmt: skip
    return out


def kept(out: Path) -> dict[str, Path]:
    """The tables worth keeping, by the name under which they are kept."""
    first = min(path for path in (out / "study").iterdir() if path.is_dir())
    names = {
        "predictions.csv": "evaluation", "metrics.json": "evaluation", "subgroups.csv": "evaluation", "trust.csv": "evaluation",
        "calibrated.csv": "evaluation", "study.csv": "study", "participants.csv": "study", "summary.csv": "study",
    }  # fmt: skip
    found = {name: out / folder / name for name, folder in names.items()}
    found |= {name: first / name for name in ("frames.csv", "windows.csv")}
    extra = out / "evaluation" / "confusion.csv"
    return (
        found | {"calibration.yaml": out / "calibration.yaml"} | ({"confusion.csv": extra} if extra.is_file() else {})
    )


def read(path: Path) -> object:
    """A file as plain values, without what differs from machine to machine."""
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        return [
            list(rows[0]),
            *({n: c for n, c in zip(rows[0], row, strict=True) if n not in PATHS} for row in rows[1:]),
        ]
    tree = json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())
    return {key: value for key, value in tree.items() if key not in PATHS}


def same(one: object, two: object, where: str) -> None:
    """Equal texts and structures; numbers, also those written as text, up to the noise of arithmetic."""
    if isinstance(one, dict) and isinstance(two, dict):
        assert list(one) == list(two), where
        for key, value in one.items():
            same(value, two[key], f"{where}: {key}")
    elif isinstance(one, list) and isinstance(two, list):
        assert len(one) == len(two), where
        for i, (first, second) in enumerate(zip(one, two, strict=True)):
            same(first, second, f"{where}[{i}]")
    elif one != two:
        np.testing.assert_allclose(float(str(one)), float(str(two)), rtol=1e-3, atol=1e-4, err_msg=where)


@pytest.mark.parametrize("kind", TASKS)
def test_tables_are_as_they_were(kind: str, corpus: Path, tmp_path: Path) -> None:
    found = kept(tables(tmp_path, kind, corpus))
    assert sorted(found) == sorted(path.name for path in (GOLDEN / kind).iterdir())
    for name, path in found.items():
        same(read(GOLDEN / kind / name), read(path), f"{kind}/{name}")


if __name__ == "__main__":
    from mien.commands import synth

    work = Path(sys.argv[1])
    synth.run(synth.Config(output=work / "corpus", clips=28, subjects=4, folds=2, size=32, frames=16, workers=1))
    for one in TASKS:
        for name, path in kept(tables(work / one, one, work / "corpus" / "manifest.csv")).items():
            (GOLDEN / one).mkdir(parents=True, exist_ok=True)
            (GOLDEN / one / name).write_text(path.read_text().replace(f"{work}/", ""))
