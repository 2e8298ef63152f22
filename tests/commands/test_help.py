"""Short help by default, all of it under --help-all, and every choice of every *.name in both."""

from __future__ import annotations

from importlib import import_module

import pytest

from mien import cli
from mien.help import options


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["pretrain", "finetune", "probe", "cross-validate finetune", "analyze", "synth"])
def test_help_fits_on_two_screens(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(shown(capsys, *command.split(), "--help").splitlines()) < 85


def test_help_names_all_encoders_and_objectives(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--help", "--help-all"):
        text = shown(capsys, "pretrain", flag)
        for kind in ("tpsbt", "vit", "vjepa", "masked_autoencoding", "joint_embedding"):
            assert f"\n      {kind} " in text or f"\n      {kind}\n" in text
    assert "V-JEPA's video ViT" in text


def test_help_all_has_the_options_of_the_named_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--encoder.depths" in shown(capsys, "pretrain", "--help-all")
    vit = shown(capsys, "pretrain", "--encoder.name", "vit", "--help-all")
    assert "--encoder.depth " in vit
    assert "--encoder.depths" not in vit
    recipe = "videomae"
    assert "vit (default)" in shown(capsys, "pretrain", recipe, "--help")


def test_short_help_says_where_the_rest_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "finetune", "--help")
    assert "--data.manifest TEXT" in text
    assert "--train.batch N" in text
    assert "--optim.layer-decay" not in text
    assert "more options: mien finetune --help-all" in text


@pytest.mark.parametrize("command", ["pretrain", "finetune", "probe"])
def test_every_option_that_is_often_used_is_there(command: str) -> None:
    module = import_module(f"mien.commands.{command.replace('-', '_')}")
    known = {option.name for option in options(module.Config)} | {"task.columns"}  # those of a regression
    assert set(module.OFTEN) <= known


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module(f"mien.commands.{command.replace('-', '_')}")
    kinds = getattr(module, "CONFIGS", {"": module.Config})
    for kind in kinds:
        assert "usage: mien" in shown(capsys, command, *([kind] if kind else []), "--help")
        assert all(option.about for option in options(kinds[kind]) if not option.name.endswith("name"))
