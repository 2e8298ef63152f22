"""Every command with absurd input ends with a short message: no traceback, no library's own words for a missing file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import TINY_DECODER, TINY_TPSBT
from mien import cli
from toy_models import pictures, write_model, write_video

STEP = ["--train.steps=1", "--train.batch=2", "--train.workers=0", "--train.device=cpu", "--clip.stride=1"]
PRETRAIN = ["pretrain", *TINY_TPSBT[:1], *TINY_TPSBT[2:], *TINY_DECODER, *STEP]
FINETUNE = ["finetune", *TINY_TPSBT[:1], *TINY_TPSBT[2:], *STEP]
CPU, QUIET = "--device=cpu", "--workers=0"

READ = {
    "pretrain": [*PRETRAIN, "--output=out", "--data.manifest={}"],
    "finetune": [*FINETUNE, "--output=out", "--data.manifest={}"],
    "probe": ["probe", "--model=model", "--output=out", CPU, QUIET, "--data.manifest={}"],
    "cross-validate": ["cross-validate", *FINETUNE, "--output=out", "--data.manifest={}"],
    "calibrate": ["calibrate", "--model=model", CPU, QUIET, "--data.manifest={}"],
    "evaluate": ["evaluate", "--model=model", CPU, QUIET, "--data.manifest={}"],
    "cross": ["cross-corpus", "--model=model", CPU, QUIET, "--data.manifest={}"],
    "features": ["extract-features", "--model=model", "--output=out", CPU, QUIET, "--data.manifest={}"],
    "study": ["study", "{}", "--model=model", "--output=out", CPU, "--faces=whole"],
    "preview": ["preview", "{}", "--output=out", "--detector.name=haar"],
    "predict": ["predict", "{}", "--model=model", CPU],
    "analyze": ["analyze", "{}", "--model=model", "--output=out", CPU, "--faces=whole"],
    "explain": ["explain", "{}", "--model=model", "--output=out", CPU],
    "compare": ["compare", "{}", "--output=out"],
    "prepare": ["prepare", "csv", "{}", "--output=out"],
}
"""Every command that reads something, and where its name goes."""

INPUTS = ["nowhere", "folder", "empty.csv", "head.csv", "bytes.csv", "nopath.csv", "dead.csv", "text.mp4", "empty.mp4"]

MODELS = {
    "finetune": [*FINETUNE, "--output=out", "--data.manifest=clips.csv", "--init={}"],
    "probe": [
        "probe",
        "--model={}",
        "--output=out",
        "--data.manifest=clips.csv",
        "--validation=subject=s1",
        CPU,
        QUIET,
    ],
    "calibrate": ["calibrate", "--model={}", "--data.manifest=clips.csv", CPU, QUIET],
    "evaluate": ["evaluate", "--model={}", "--data.manifest=clips.csv", CPU, QUIET],
    "cross": ["cross-corpus", "--model={}", "--data.manifest=clips.csv", CPU, QUIET],
    "features": ["extract-features", "--model={}", "--output=out", "--data.manifest=clips.csv", CPU, QUIET],
    "predict": ["predict", "v.mp4", "--model={}", CPU],
    "analyze": ["analyze", "v.mp4", "--model={}", "--output=out", CPU, "--faces=whole"],
    "study": ["study", "clips.csv", "--model={}", "--output=out", CPU],
    "explain": ["explain", "v.mp4", "--model={}", "--output=out", CPU],
    "serve": ["serve", "--model={}", CPU],
    "compare": ["compare", "{}"],
}
"""Every command that loads a model."""

BAD_MODELS = {
    "another": lambda card: {"corpus": {"name": "x"}, "not_allowed": {}},
    "list": lambda card: [card],
    "nothing": lambda card: {},
    **{
        f"no-{key}": lambda card, key=key: {k: v for k, v in card.items() if k != key}
        for key in ("task", "encoder", "clip")
    },
    "no-names": lambda card: {k: v for k, v in card.items() if k != "names"},
    "text": lambda card: card | {"encoder": "tpsbt", "clip": 16},
    "kind": lambda card: card | {"encoder": {"name": "resnet"}},
}
"""Cards of another kind, or without what a model needs, from a whole one."""
STARTS = {"another", "nothing", "no-task", "no-names", "no-clip", "no-encoder", "kind"}
"""With which --init takes the weights by their names alone."""
FINE = {("finetune", name) for name in STARTS} | {("probe", "no-task"), ("features", "no-task")}
"""What needs no such key."""

WRITE = {
    "pretrain": [*PRETRAIN, "--output={}", "--data.manifest=clips.csv"],
    "finetune": [*FINETUNE, "--output={}", "--data.manifest=clips.csv"],
    "cross-validate": ["cross-validate", *FINETUNE, "--output={}", "--data.manifest=clips.csv"],
    "evaluate": ["evaluate", "--model=model", "--data.manifest=clips.csv", "--output={}", CPU, QUIET],
    "features": ["extract-features", "--model=model", "--data.manifest=clips.csv", "--output={}", CPU, QUIET],
    "faces": ["extract-faces", "v.mp4", "--output={}", "--workers=1", "--detector.name=haar"],
    "preview": ["preview", "v.mp4", "--output={}", "--detector.name=haar"],
    "analyze": ["analyze", "v.mp4", "--model=model", "--output={}", CPU, "--faces=whole"],
    "study": ["study", "clips.csv", "--model=model", "--output={}", CPU, "--faces=whole"],
    "explain": ["explain", "v.mp4", "--model=model", "--output={}", CPU],
    "convert": ["convert", "model/weights.safetensors", "{}"],
    "synth": ["synth", "{}", "--clips=2", "--subjects=1", "--folds=1"],
    "demo": ["demo", "--output={}"],
    "models": ["models", "get", "yunet", "--folder={}", "--url=http://127.0.0.1:9/x"],
}
"""Every command that writes a folder."""

WRONG = [
    [*PRETRAIN, "nowhere.yaml"],
    [*PRETRAIN, "broken.yaml"],
    [*PRETRAIN, "list.yaml"],
    [*PRETRAIN, "bytes.yaml"],
    ["pretrain", "--data.manifest=clips.csv", "--train.steps=-3"],
    ["pretrain", "--data.manifest=clips.csv", "--train.workers=-1"],
    ["pretrain", "--data.manifest=clips.csv", "--train.seed=-1"],
    ["pretrain", "--data.manifest=clips.csv", "--train.epochs=-0.5"],
    ["pretrain", "--data.manifest=clips.csv", "--objective.mask-ratio=1.5"],
    ["pretrain", "--data.manifest=clips.csv", "--optim.betas", "0.9", "1.5"],
    ["pretrain", "--data.manifest=clips.csv", "--augment.area", "0", "1"],
    ["pretrain", "--data.manifest=clips.csv", "--pixels.std", "0", "0", "0"],
    ["finetune", "--data.manifest=clips.csv", "--task.smoothing=2"],
    ["finetune", "--data.manifest=clips.csv", "--task.mixup=-1"],
    ["probe", "--data.manifest=clips.csv", "--probe.lrs=-1"],
    ["evaluate", "--model=model", "--data.manifest=clips.csv", "--coverage=2"],
    ["demo", "--clips=0"],
    ["compare", "model", "--draws=0"],
    [*FINETUNE, "--data.manifest=clips.csv", "--task.name=regression", "--task.columns", "nope"],
    [*FINETUNE, "--data.manifest=clips.csv", "--task.name=regression", "--task.columns", "expression"],
    [*FINETUNE, "--data.manifest=clips.csv", "--data.select=nope=1"],
    [*FINETUNE, "--data.manifest=clips.csv", "--data.select=!!"],
    [*FINETUNE, "--data.manifest=clips.csv", "--split.test=fold=9"],
    ["cross-validate", *FINETUNE, "--data.manifest=clips.csv", "--folds.column=nope"],
    ["evaluate", "--model=model", "--data.manifest=clips.csv", "--subgroups", "nope", CPU, QUIET],
    ["study", "clips.csv", "--model=model", "--output=out", CPU, "--participant=nope"],
    ["prepare", "nope", "folder"],
    ["models", "get", "nope"],
    ["nope"],
    ["cross-validate"],
    ["preview"],
    ["extract-faces"],
]
"""Options, columns and names that there are not."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, six clips, and files of every wrong kind."""
    root = tmp_path_factory.mktemp("absurd")
    write_model(root / "model")
    write_video(root / "v.mp4", pictures(20))
    card = json.loads((root / "model" / "model.json").read_text())
    for name, change in BAD_MODELS.items():
        (root / name).mkdir()
        (root / name / "model.json").write_text(json.dumps(change(card)))
        (root / name / "weights.safetensors").symlink_to(root / "model" / "weights.safetensors")
    lines = ["path,expression,subject,fold"]
    for i in range(6):
        write_video(root / f"v{i}.mp4", pictures(12, seed=i))
        lines.append(f"v{i}.mp4,{('anger', 'fear')[i % 2]},s{i},{i % 2 + 1}")
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    (root / "head.csv").write_text(lines[0] + "\n")
    (root / "dead.csv").write_text(f"{lines[0]}\nnowhere.mp4,anger,s1,1\n")
    (root / "nopath.csv").write_text("a,b\n1,2\n")
    (root / "bytes.csv").write_bytes(bytes(range(256)) * 4)
    (root / "text.mp4").write_text("not a video\n")
    (root / "broken.yaml").write_text("a: [1")
    (root / "list.yaml").write_text("- 1")
    (root / "bytes.yaml").write_bytes(b"\xff\xfe\xe9")
    for name in ("empty.csv", "empty.mp4", "file"):
        (root / name).touch()
    (root / "folder").mkdir()
    return root


def fails_well(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    try:
        code = cli.main(arguments)
    except SystemExit as ended:  # of the parser
        code = ended.code
    message = capsys.readouterr().err.strip().splitlines()[-1:]
    assert code in (1, 2), arguments
    assert message, arguments
    assert "Errno" not in message[0], message
    assert len(message[0]) < 600, message


@pytest.mark.parametrize("command", READ)
def test_inputs(command: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    for name in INPUTS:
        if command == "study" and name in ("text.mp4", "empty.mp4"):
            continue  # listed in failures.csv, which is what a study of one broken video is
        own = [word.replace("=out", f"=out-{command}").format(name) for word in READ[command]]
        fails_well(own, capsys)
    if command in ("pretrain", "finetune", "cross-validate", "probe"):
        assert not (place / f"out-{command}").exists()


@pytest.mark.parametrize("command", MODELS)
def test_models(command: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    for name in ("nowhere", "folder", *BAD_MODELS):
        if (command, name) not in FINE:
            fails_well([word.format(name) for word in MODELS[command]], capsys)


@pytest.mark.parametrize("command", WRITE)
def test_outputs(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    for name in ("file", "file/below"):
        fails_well([word.format(name) for word in WRITE[command]], capsys)
    assert (place / "file").read_bytes() == b""


@pytest.mark.parametrize("arguments", WRONG, ids=lambda words: " ".join(words[:1] + words[-1:]))
def test_options(
    arguments: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    fails_well(arguments, capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["synth", "x", "--clips", "0"], "mien synth: clips is 0: fewer than subjects (40)\n"),
        (
            ["pretrain", "--clip.size", "-4"],
            "mien pretrain: --clip.size: Input should be greater than or equal to 1 (given: -4)\n",
        ),
    ],
)
def test_what_a_config_refuses_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err == words
