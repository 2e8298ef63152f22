"""Every recipe takes two steps, at a size that a test can afford."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import ONE_PROCESS, ROOT, TINY, TINY_DECODER, TINY_TPSBT
from mien import cli

SHRUNK = {
    **dict.fromkeys(["svfap_pretrain", "finetune", "small", "tiny", "svfap_tiny", "regression"], TINY_TPSBT),
    **{name: [*TINY, "--encoder.depth=2"] for name in ("videomae", "vjepa_tiny", "vjepa_pretrain")},
}


def steps(command: str, recipes: list[str], corpus: Path, output: Path, *flags: str) -> int:
    paths = [str(ROOT / "recipes" / f"{name}.yaml") for name in recipes]
    common = [f"--data.manifest={corpus}", f"--output={output}", "--train.steps=2", "--train.batch=2", *ONE_PROCESS]
    return cli.main([command, *paths, *common, *SHRUNK[recipes[-1]], *flags])


@pytest.mark.parametrize("behind", [[], ["small"], ["videomae"]], ids=lambda names: "+".join(names) or "alone")
def test_pretraining(behind, corpus, tmp_path) -> None:
    assert steps("pretrain", ["svfap_pretrain", *behind], corpus, tmp_path, *TINY_DECODER, "--clip.crop=square") == 0
    assert (tmp_path / "weights.safetensors").is_file()


@pytest.mark.parametrize(
    "behind", [[], ["small"], ["tiny"], ["regression"]], ids=lambda names: "+".join(names) or "alone"
)
def test_finetuning(behind, corpus, tmp_path) -> None:
    assert steps("finetune", ["finetune", *behind], corpus, tmp_path) == 0
    assert (tmp_path / "weights.safetensors").is_file()


def test_tiny_pretraining(corpus, tmp_path) -> None:
    assert steps("pretrain", ["svfap_tiny"], corpus, tmp_path, *TINY_DECODER) == 0


@pytest.mark.parametrize("recipe", ["vjepa_tiny", "vjepa_pretrain"])
def test_joint_embedding(recipe, corpus, tmp_path) -> None:
    small = ["--objective.predictor-dim=32", "--objective.predictor-heads=2", "--objective.predictor-depth=1"]
    assert steps("pretrain", [recipe], corpus, tmp_path, *small, "--encoder.dim=32", "--clip.crop=square") == 0


def test_probe(corpus, tmp_path) -> None:
    others = ["--objective.predictor-depth=1", "--data.select=fold=0"]
    assert steps("pretrain", ["vjepa_tiny"], corpus, tmp_path / "encoder", *others) == 0
    parts = ["--train=fold=0", "--validation=subject=s001", "--test=subject=s003", "--probe.epochs=1", "--workers=0"]
    places = [f"--model={tmp_path / 'encoder'}", f"--output={tmp_path}", f"--features.folder={tmp_path / 'kept'}"]
    recipe = str(ROOT / "recipes" / "probe.yaml")
    assert cli.main(["probe", recipe, f"--data.manifest={corpus}", *parts, *places]) == 0
    assert (tmp_path / "encoder" / "weights.safetensors").is_file()


def test_no_recipe_is_forgotten() -> None:
    assert {path.stem for path in (ROOT / "recipes").glob("*.yaml")} == {*SHRUNK, "probe"}
