"""docs/python.md runs as printed; functions and command line make the same configs and the same files."""

from __future__ import annotations

import json
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mien
from conftest import ONE_PROCESS, ROOT, TINY_TPSBT
from mien import cli
from mien.api import configure
from mien.commands import analyze, cross_validate, finetune, pretrain, probe
from mien.config import parse
from mien.encoders.tpsbt import TPSBTConfig
from toy_models import pictures, write_video


def test_the_page_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (drawing,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert cli.main(shlex.split(drawing)[1:]) == 0
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    assert {f"mien.{name}" for name in mien.__all__ if name[0].islower()} <= set(re.findall(r"mien\.\w+", text))
    assert names["run"].steps == 2
    assert names["evaluation"].metrics["UAR"].low <= names["evaluation"].scores["UAR"]
    assert list(names["probes"].table["features"]) == ["pretrain"]
    assert repr(names["timeline"]).startswith("Timeline(")
    pd.testing.assert_frame_equal(names["timeline"].frames, mien.Timeline.load("analysis").frames)


SAME: list[tuple[Any, list[str], dict[str, Any], str]] = [
    (pretrain, ["svfap_tiny"], {"data": {"manifest": Path("m.csv")}}, "svfap_tiny --data.manifest m.csv"),
    (pretrain, ["svfap_pretrain", "svfap_tiny"], {"optim": {"lr": 3e-4}}, "svfap_pretrain svfap_tiny --optim.lr 3e-4"),
    (pretrain, ["vjepa_tiny"], {"encoder": {"size": "small"}}, "vjepa_tiny --encoder.size small"),
    (
        pretrain, ["svfap_tiny"], {"encoder": TPSBTConfig(dim=32, heads=2, depths=(1, 2))},
        "svfap_tiny --encoder.name tpsbt --encoder.dim 32 --encoder.heads 2 --encoder.depths 1 2 --encoder.patch 16 "
        "--encoder.bottleneck 8",
    ),
    (finetune, ["svfap_finetune"], {"task": {"labels": "mood"}}, "svfap_finetune --task.column mood"),
    (
        finetune, [], {"task": {"name": "regression", "columns": ["valence"]}, "leaks_allowed": True},
        "--task.name regression --task.columns valence --leaks-allowed",
    ),
    (probe, ["vjepa_probe"], {"model": ["a", "b"], "head": {"name": "mean"}}, "vjepa_probe --model a b --head.name mean"),
    (cross_validate.Probe, [], {"folds": {"column": "part"}}, "--folds.column part"),
    (analyze, ["v.mp4"], {"detector": {"name": "haar"}, "output": "o"}, "v.mp4 --detector.name haar --output o"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "words", "options", "line"), SAME)
def test_keywords_and_flags_make_the_same_config(
    command: Any, words: list[str], options: dict[str, Any], line: str
) -> None:
    if command is cross_validate.Probe:
        schema, made = command, configure(cross_validate, ["probe", *words], options, "mien.cross_validate")
    else:
        schema, made = command.Config, configure(command, words, options, "mien.command")
    assert made == parse(schema, line.split(), prog="mien")


def test_both_leave_the_same_files(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function is called in a thread, which may set no handlers of signals."""
    for name in ("cli", "python"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "cli")
    lasting = ["--train.steps=2", "--train.batch=4", "--data.select=fold=1"]
    assert cli.main(["finetune", f"--data.manifest={corpus}", "--output=run", *lasting, *TINY_TPSBT, *ONE_PROCESS]) == 0
    measured = ["--model=run", f"--data.manifest={corpus}", "--data.select=fold=2", "--workers=0", "--device=cpu"]
    assert cli.main(["evaluate", *measured]) == 0
    monkeypatch.chdir(tmp_path / "python")

    def calls() -> None:
        mien.finetune(
            data={"manifest": corpus, "select": "fold=1"}, output="run", clip={"frames": 8, "stride": 2, "size": 32},
            encoder={"dim": 32, "heads": 2, "patch": 8, "depths": [1, 2], "bottleneck": 2},
            train={"steps": 2, "batch": 4, "workers": 0, "device": "cpu", "matmul": "highest"},
        )  # fmt: skip
        mien.evaluate(model="run", data={"manifest": corpus, "select": "fold=2"}, workers=0, device="cpu")

    with ThreadPoolExecutor(1) as thread:
        thread.submit(calls).result()
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "cli", tmp_path / "python")
    ]
    assert files[0].keys() == files[1].keys()
    assert {name.name for name, content in files[0].items() if content != files[1][name]} <= {"metrics.jsonl"}


def test_mistakes_are_the_same_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for call, line in (
        (lambda: mien.pretrain("nowhere"), "pretrain nowhere"),
        (lambda: mien.evaluate(model=tmp_path), f"evaluate --model {tmp_path}"),
        (
            lambda: mien.finetune(output=tmp_path, data={"manifest": "no.csv"}),
            f"finetune --output {tmp_path} --data.manifest no.csv",
        ),
    ):
        with pytest.raises(ValueError, match=r"no recipe|no model|no.csv") as raised:
            call()
        assert capsys.readouterr().err == ""
        assert cli.main(line.split()) == 1
        assert capsys.readouterr().err.split(": ", 1)[1].strip() == str(raised.value)
    with pytest.raises(ValueError, match=r"config: optim\.learning_rate: Unexpected keyword"):
        mien.pretrain(optim={"learning_rate": 1})
    with pytest.raises(ValueError, match=r"mien\.analyze: no place for other\.mp4"):
        mien.analyze("v.mp4", "other.mp4")
    with pytest.raises(ValueError, match="input is given by its place and by its name"):
        mien.extract_faces("v.mp4", input="v.mp4")
    with pytest.raises(ValueError, match="name one of finetune, probe first"):
        mien.cross_validate("pretrain")


def test_predict_in_python_and_on_the_command_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the precision that is usual on the command line, too, and the same refusals."""
    video = write_video(tmp_path / "v.mp4", pictures(20))
    assert cli.main(["predict", str(video), f"--model={model}", "--faces=whole", "--device=cpu", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["scores"]
    loaded = mien.load(model, "cpu")
    assert loaded.scores(video, faces="whole") == printed
    analyzed = mien.analyze(video, model=model, output=tmp_path / "a", faces="whole", device="cpu", pictures=False)
    assert {name: analyzed.face()[name] for name in printed} == printed
    with pytest.raises(ValueError, match="not calibrated"):
        loaded.predict(video, faces="whole", coverage=0.9)
