"""Files of others that say what a model is, or hold it: read without running anything, refused in one sentence."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import mien
from conftest import DATA
from mien import cli
from mien.encoders.tpsbt import TPSBTConfig
from mien.engine.torch_files import load_pickled
from mien.faces.crop import CropConfig
from mien.features.frozen import load_encoder
from mien.models.card import ModelCard, Selection
from mien.modules.pixels import PixelsConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.tasks.classification import ClassificationConfig
from mien.video.clips import ClipConfig
from mien.yaml_files import read_yaml

SVFAP = ["--heads=4", "--clip.size=64", "--depths", "2", "3", "2"]


class Program:
    """What a pickle calls when it is read by Python."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])
def test_svfaps_own_checkpoint_is_imported(modern: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    official = {k: v for k, v in load_file(DATA / "svfap_pretrain.safetensors").items() if k[:2] != "__"}
    settings = argparse.Namespace(lr=1e-3, opt="adamw", output=Path("out"), betas=[0.9, 0.95])
    state = {"model": official, "args": settings, "epoch": 99, "best": np.float64(1.0), "rng": np.arange(3)}
    torch.save(state, tmp_path / "checkpoint-99.pth", _use_new_zipfile_serialization=modern)
    assert (
        cli.main(["convert", str(tmp_path / "checkpoint-99.pth"), str(tmp_path / "ours"), *SVFAP, "--decoder-heads=4"])
        == 0
    )
    assert "every key used" in capsys.readouterr().out


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("call", ["os.system", "subprocess", "eval", "open", "getattr"])
def test_no_program_in_a_pickle_runs(call: str, modern: bool, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    program = {
        "os.system": Program(os.system, f"touch {proof}"),
        "subprocess": Program(subprocess.check_output, ["touch", str(proof)]),
        "eval": Program(eval, f"open({str(proof)!r}, 'w')"),
        "open": Program(open, str(proof), "w"),
        "getattr": Program(getattr, torch.zeros(1), "numpy"),
    }[call]
    file = tmp_path / "weights.pth"
    torch.save({"model": {"a": torch.zeros(1)}, "more": program}, file, _use_new_zipfile_serialization=modern)
    if call == "os.system":  # a module that PyTorch's reader never lets through
        with pytest.raises(ValueError, match="more than tensors and plain values"):
            load_pickled(file)
    else:
        state = load_pickled(file)
        assert isinstance(state, dict)
        assert torch.equal(state["model"]["a"], torch.zeros(1))
        assert not callable(state["more"])
    assert not proof.exists()
    assert not any("mien" in str(one) for one in torch.serialization.get_safe_globals())


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_text("no weights"), "no file of PyTorch's"),
        (lambda path: path.write_bytes(b""), "no file of PyTorch's"),
        (lambda path: path.write_bytes(pickle.dumps(Program(os.system, "false"), 4)), "no file of PyTorch's"),
        (lambda path: torch.save([torch.zeros(2)], path), "holds list, not weights by name"),
        (lambda path: torch.save("text", path), "holds str, not weights by name"),
        (lambda path: torch.save({0: torch.zeros(2)}, path), "no layout that can be imported"),
        (lambda path: torch.save({"model": {"a": Program(bytearray, 10**15)}}, path), "more memory than there is"),
        (lambda path: torch.save({"model": {"a": torch.zeros(1).expand(10**6, 10**6)}}, path), "than the file holds"),
        (lambda path: torch.save({"a": torch.zeros(9, 9, device="meta")}, path), "not a plain tensor"),
    ],
)
def test_a_file_without_weights_is_one_sentence(
    write, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "x.pth")
    assert cli.main(["convert", str(tmp_path / "x.pth"), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "x.pth" in error
    assert "weights_only" not in error


def changed(model: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The same weights with another card."""
    card = json.loads((model / "model.json").read_text())
    change(card)
    (folder / "model.json").write_text(json.dumps(card))
    os.link(model / "weights.safetensors", folder / "weights.safetensors")
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: card.pop("clip"), "model.json has no 'clip'"),
        (lambda card: card.pop("pixels"), "model.json has no 'pixels'"),
        (lambda card: card.pop("names"), "no 'names' of its outputs"),
        (lambda card: card.update(names=7), "names: Input should be a valid tuple"),
        (lambda card: card.update(encoder="large"), "encoder: Input should be a valid dictionary"),
        (lambda card: card.update(leaks=5), "leaks: Input should be a valid tuple"),
        (lambda card: card["encoder"].update(depths=[10**9, 2]), "less than or equal to 1000"),
        (lambda card: card["encoder"].update(dim=16000, heads=2), "does not fit"),
        (lambda card: card["encoder"].update(depths=[500, 500]), "does not fit"),
        (lambda card: card["clip"].update(frames=4096, size=8192), "need tables of"),
        (lambda card: card["pixels"].update(std=[0, 1, 1]), "greater than or equal to"),
        (lambda card: card["pixels"].update(mean=[float("nan"), 1, 1]), "pixels.mean"),
        (lambda card: card["clip"].update(surprise="x" * 10**6), "surprise"),
    ],
)
def test_a_card_that_cannot_be_is_one_sentence(change, words: str, model: Path, tmp_path: Path) -> None:
    folder = changed(model, tmp_path, change)
    with pytest.raises(ValueError, match=r"model\.json|does not fit") as raised:
        mien.load(folder, device="cpu")
    assert words in str(raised.value)
    assert len(str(raised.value)) < 3000


def test_a_card_reads_back_as_it_was_written(tmp_path: Path) -> None:
    encoder, clip, pixels = TPSBTConfig.sized("tiny"), ClipConfig(frames=8, size=32), PixelsConfig()
    plain = ModelCard(encoder, clip, pixels)
    cards = (
        plain,
        replace(plain, objective=MaskedAutoencodingConfig(decoder_dim=24, decoder_heads=2, decoder_depth=1), rates={"25": 3}),
        replace(
            plain, task=ClassificationConfig(), names=("fear", "joy"), face_crop=CropConfig(), selection="best on validation",
            chosen=Selection("UAR", 0.5, 7), leaks=("a leak",), skipped=("line 3",),
        ),
    )  # fmt: skip
    for i, card in enumerate(cards):
        model = card.build()
        card.save(tmp_path / str(i), model)
        assert ModelCard.load(tmp_path / str(i)) == card
        again = card.build(tmp_path / str(i))
        assert type(again) is type(model)
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())
    assert [list(card.provenance()) for card in cards] == [[], [], ["selection", "leaks", "skipped"]]


def test_cards_of_version_0_1_are_read_and_those_of_a_newer_mien_are_not(model: Path, tmp_path: Path) -> None:
    """As mien 0.1 wrote them: no version, labels for column, no settings that came later."""
    old = {
        "mien": "0.1.0",
        "encoder": {"name": "tpsbt", "dim": 32, "heads": 2, "depths": [1, 2], "bottleneck": 2, "patch": 8, "tubelet": 2},
        "task": {"name": "classification", "labels": "mood", "head": {"name": "mean", "scale": 0.001}},
        "clip": {"frames": 8, "stride": 2, "size": 32}, "pixels": {}, "rates": {"25": 9},
        "names": json.loads((model / "model.json").read_text())["names"], "selection": "last epoch", "step": 40,
    }  # fmt: skip
    folder = changed(model, tmp_path, lambda card: (card.clear(), card.update(old)))
    card = mien.load(folder, device="cpu").card
    assert (card.task.column, card.step, card.rates, card.version) == ("mood", 40, {"25": 9}, 1)  # pyright: ignore
    (folder / "model.json").write_text(json.dumps(old | {"version": 2, "mien": "9.0"}))
    with pytest.raises(ValueError, match=r"newer mien \(9\.0\)"):
        ModelCard.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "no json", "[" * 100_000, '{"clip": 1', "null", '{"names": 1e999}'])
def test_a_card_that_is_none_is_one_sentence(text: str, model: Path, tmp_path: Path) -> None:
    folder = changed(model, tmp_path, lambda card: None)
    (folder / "model.json").write_text(text)
    for load in (mien.load, lambda folder, device: load_encoder(folder, torch.device(device))):
        with pytest.raises(ValueError, match=r"model\.json"):
            load(folder, device="cpu")


def test_weights_that_are_not_finite_are_refused(model: Path, tmp_path: Path) -> None:
    folder = changed(model, tmp_path, lambda card: None)
    weights = load_file(folder / "weights.safetensors")
    (folder / "weights.safetensors").unlink()
    weights["encoder.patch_embed.proj.bias"][3] = float("nan")
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(ValueError, match=r"NaN or infinity \(encoder\.patch_embed\.proj\.bias"):
        mien.load(folder, device="cpu")


BOMBS = {
    "lists": "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)),
    "merges": "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40)),
    "circle": "a: &a [*a]\n",
    "deep": "[" * 5000,
    "digits": "a: " + "9" * 10_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_yaml_that_would_swell_is_refused(bomb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yaml").write_text(BOMBS[bomb])
    assert cli.main(["pretrain", str(tmp_path / "recipe.yaml")]) == 1
    assert "recipe.yaml" in capsys.readouterr().err


def test_yaml_with_a_few_aliases_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: &a {k: 1}\nb: *a\nc: {<<: *a, m: 2}\n")
    assert read_yaml(tmp_path / "x.yaml") == {"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 1, "m": 2}}
