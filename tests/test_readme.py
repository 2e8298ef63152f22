"""README's steps after set-up run as printed, in order, on drawn data: ``pytest -m slow tests/test_readme.py``.

Only files are supplied: the detector, videos and tables under the names that README uses, and recipes of the same names
at sizes that a test can afford.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from conftest import ROOT
from mien.commands import synth
from mien.config import RECIPES as SHIPPED
from mien.models import registry

RECIPES = {
    "svfap_pretrain": """
        clip: {frames: 8, stride: 2, size: 32, crop: voxceleb2}
        encoder: {name: tpsbt, dim: 32, heads: 2, depths: [1, 2], bottleneck: 2, patch: 8}
        objective: {name: masked_autoencoding, mask_ratio: 0.5, decoder_dim: 32, decoder_heads: 2, decoder_depth: 1}
        train: {steps: 2, batch: 4, workers: 0}""",
    "svfap_finetune": """
        clip: {frames: 8, stride: 2, size: 32}
        encoder: {name: tpsbt, dim: 32, heads: 2, depths: [1, 2], bottleneck: 2, patch: 8}
        task: {name: classification, smoothing: 0.1, mixup: 0.8, cutmix: 1.0}
        train: {steps: 2, batch: 4, workers: 0}""",
    "vjepa_pretrain": """
        clip: {frames: 8, stride: 2, size: 32}
        augment: {scales: [], area: [0.3, 1.0]}
        encoder: {name: vjepa, dim: 32, heads: 2, depth: 2, patch: 8}
        objective: {name: joint_embedding, blocks: [[2, 0.15], [1, 0.4]], predictor_dim: 24, predictor_heads: 2, predictor_depth: 1}
        train: {steps: 2, batch: 4, workers: 0}""",
}  # fmt: skip


def steps(language: str) -> list[str]:
    """What README prints after set-up, in order: commands, their continued lines joined, or whole blocks of Python."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(rf"```{language}\n(.*?)```", text[text.index("## Your own videos") :], re.DOTALL)
    if language != "sh":
        return blocks
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip()]


def test_readme_names_the_commands_and_recipes_that_there_are() -> None:
    from mien.cli import COMMANDS

    commands = [shlex.split(step, comments=True) for step in steps("sh")]
    assert len(commands) > 15
    assert {words[0] for words in commands} == {"mien"}
    assert {words[1] for words in commands} <= set(COMMANDS)
    there = {path.stem for path in SHIPPED.glob("*.yaml")}
    assert {word for words in commands for word in words[2:] if word in there} == set(RECIPES)


def test_docs_name_commands_that_there_are() -> None:
    """By their names of today, in blocks and in sentences, also in pages of results."""
    from mien.cli import COMMANDS

    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").rglob("*.md"), ROOT / "CONTRIBUTING.md"]
    named = re.compile(r"`mien ([a-z][a-z-]*)|^mien ([a-z][a-z-]*).* --", re.MULTILINE)
    strange = {
        f"{page.name}: mien {command}"
        for page in pages
        for command in map("".join, named.findall(page.read_text()))
        if command not in COMMANDS
    }
    assert not strange


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that holds what README takes for granted."""
    detector = registry.find("yunet")
    if detector is None:
        beside = ROOT.parent / "shared" / "models" / registry.known("yunet").files[0].file
        detector = beside if beside.is_file() else pytest.skip("no YuNet file here; MIEN_MODELS names its folder")
    cache = tmp_path / "cache" / "mien" / "models"
    cache.mkdir(parents=True)
    shutil.copy(detector, cache)
    for name, text in RECIPES.items():
        path = tmp_path / "recipes" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    shim = tmp_path / "bin" / "mien"
    shim.parent.mkdir()
    shim.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"words = [f'recipes/{{word}}.yaml' if word in {sorted(RECIPES)} else word for word in sys.argv[1:]]\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'mien', *words])\n"
    )
    shim.chmod(0o755)

    drawn = tmp_path / "drawn"
    synth.run(synth.Config(output=drawn, clips=35, subjects=5, folds=5, size=96, frames=16, workers=1))
    table = pd.read_csv(drawn / "manifest.csv")
    table["path"] = "drawn/" + table["path"]
    table["split"] = [("train", "train", "val", "val", "test")[fold - 1] for fold in table["fold"]]
    table[["path", "subject", "fold", "split", "expression"]].to_csv(tmp_path / "labelled.csv", index=False)
    table["condition"] = ["calm", "loud", "calm", "loud", "calm"] * 7
    table.head(4)[["path", "subject", "condition"]].to_csv(tmp_path / "recordings.csv", index=False)
    for name in ("somebody.mp4", "interview.mp4"):
        shutil.copy(tmp_path / str(table["path"].tolist()[20]), tmp_path / name)
    others = tmp_path / "others"  # what pre-training saw may not be tested on
    synth.run(synth.Config(output=others, clips=6, subjects=3, folds=3, size=96, frames=16, workers=1, seed=1))
    shutil.move(others / "videos", tmp_path / "interviews")
    mine = tmp_path / "mine"
    synth.run(synth.Config(output=mine, clips=42, subjects=6, folds=6, size=96, frames=16, workers=1, seed=2))
    for row in pd.read_csv(mine / "manifest.csv").to_dict("records"):
        if row["expression"] in ("anger", "fear"):
            folder = tmp_path / "my-clips" / ("test" if row["fold"] == 6 else "train") / row["expression"]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(mine / row["path"], folder)
    return tmp_path


@pytest.mark.slow
def test_steps_run_as_printed_and_in_order(place: Path) -> None:
    environment = os.environ | {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(place / "cache")}
    environment |= {"OMP_NUM_THREADS": "1"}
    environment.pop("MIEN_MODELS", None)
    for step in steps("sh"):
        if step.startswith("mien serve"):
            serve(step, place, environment)
            continue
        done = subprocess.run(
            ["bash", "-c", step], cwd=place, env=environment, capture_output=True, text=True, timeout=900
        )
        if step.startswith("mien analyze 0 "):  # this machine may have a camera or none
            assert "Traceback" not in done.stderr, (step, done.stderr)
            continue
        assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
    (script,) = steps("python")
    subprocess.run([sys.executable, "-c", script], cwd=place, env=environment, check=True, timeout=900)
    assert (place / "faces" / "frames").is_dir()
    assert (place / "analysis" / "interview" / "report.html").is_file()
    assert (place / "runs" / "cv" / "comparison" / "compare.md").is_file()


def serve(step: str, place: Path, environment: dict[str, str]) -> None:
    """Start the page, wait for its address, end it."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {step}"],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    said = process.stdout.readline()
    process.terminate()
    rest, _ = process.communicate(timeout=60)
    assert "http://127.0.0.1:" in said, said + rest
