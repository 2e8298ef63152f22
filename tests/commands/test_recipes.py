"""Every recipe takes two steps, at a size that a test can afford."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conftest import ONE_PROCESS, TINY, TINY_DECODER, TINY_TPSBT
from mien import cli
from mien.commands import pretrain, probe
from mien.config import RECIPES, build, parse
from mien.encoders.tpsbt import TPSBTConfig
from mien.encoders.vit import ViTConfig
from mien.encoders.vjepa import VJEPAConfig
from mien.features.probes import ProbeConfig
from mien.interfaces import Head
from mien.models.card import ModelCard
from mien.modules.heads import AttentiveHead, AttentiveHeadConfig
from mien.objectives.joint_embedding import JointEmbeddingConfig

SHRUNK = {
    **dict.fromkeys(["svfap_pretrain", "svfap_finetune", "small", "tiny", "svfap_tiny", "regression"], TINY_TPSBT),
    **{name: [*TINY, "--encoder.depth=2"] for name in ("videomae", "vjepa_tiny", "vjepa_pretrain")},
}


def steps(command: str, recipes: list[str], corpus: Path, output: Path, *flags: str) -> int:
    common = [f"--data.manifest={corpus}", f"--output={output}", "--train.steps=2", "--train.batch=2", *ONE_PROCESS]
    return cli.main([command, *recipes, *common, *SHRUNK[recipes[-1]], *flags])


@pytest.mark.parametrize("behind", [[], ["small"], ["videomae"]], ids=lambda names: "+".join(names) or "alone")
def test_pretraining(behind, corpus, tmp_path) -> None:
    assert steps("pretrain", ["svfap_pretrain", *behind], corpus, tmp_path, *TINY_DECODER, "--clip.crop=square") == 0
    assert (tmp_path / "weights.safetensors").is_file()


@pytest.mark.parametrize(
    "behind", [[], ["small"], ["tiny"], ["regression"]], ids=lambda names: "+".join(names) or "alone"
)
def test_finetuning(behind, corpus, tmp_path) -> None:
    assert steps("finetune", ["svfap_finetune", *behind], corpus, tmp_path) == 0
    assert (tmp_path / "weights.safetensors").is_file()


def test_tiny_pretraining(corpus, tmp_path) -> None:
    assert steps("pretrain", ["svfap_tiny"], corpus, tmp_path, *TINY_DECODER) == 0


@pytest.mark.parametrize("recipe", ["vjepa_tiny", "vjepa_pretrain"])
def test_joint_embedding(recipe, corpus, tmp_path) -> None:
    small = ["--objective.predictor-dim=32", "--objective.predictor-heads=2", "--objective.predictor-depth=1"]
    assert steps("pretrain", [recipe], corpus, tmp_path, *small, "--encoder.dim=32", "--clip.crop=square") == 0


def test_probe(corpus, tmp_path) -> None:
    others = ["--objective.predictor-depth=1", "--data.select=fold=1"]
    assert steps("pretrain", ["vjepa_tiny"], corpus, tmp_path / "encoder", *others) == 0
    parts = ["--train=fold=1", "--validation=subject=s001", "--test=subject=s003", "--probe.epochs=1", "--workers=0"]
    places = [f"--model={tmp_path / 'encoder'}", f"--output={tmp_path}", f"--features.folder={tmp_path / 'kept'}"]
    recipe = "vjepa_probe"
    small = ["--features.variants=2", "--views.crops=1", "--segments=2"]
    assert cli.main(["probe", recipe, f"--data.manifest={corpus}", *parts, *places, *small]) == 0
    assert (tmp_path / "encoder" / "weights.safetensors").is_file()


def attention_heads(head: Head) -> int:
    return next(part.heads for part in head.modules() if isinstance(part, AttentiveHead))


@pytest.mark.parametrize(
    ("width", "new", "old"), [(1280, 16, 20), (768, 16, 12), (384, 16, 8), (24, 12, 8), (20, 10, 1)]
)
def test_probes_have_the_published_heads_and_old_cards_theirs(width: int, new: int, old: int) -> None:
    card = {"name": "attentive", "heads": 0, "depth": 1, "mlp_ratio": 4.0, "standardise": True}
    heads = (probe.Config().head.build(width, 7), build(AttentiveHeadConfig, card).build(width, 7))
    assert [attention_heads(head) for head in heads] == [new, old]


def test_the_probe_is_the_published_one() -> None:
    config = parse(probe.Config, ["vjepa_probe"], prog="mien probe")
    assert config.head == AttentiveHeadConfig(heads=16, depth=1, mlp_ratio=4.0, standardise=False)
    assert config.head.build(1280, 8).heads == 16
    assert (config.segments, config.views.crops) == (8, 3)
    assert config.probe == ProbeConfig(lrs=(1e-3,), weight_decays=(0.01,), epochs=20, batch=4, clip_grad=1.0)
    assert config.features.variants == config.probe.epochs, "augmented anew in each epoch"
    augment = config.augment
    assert (augment.scales, augment.area, augment.ratio, augment.flip) == ((), (0.08, 1.0), (0.75, 1.3333), 0.0)
    assert (augment.operations, augment.magnitude, augment.erase, augment.jitter) == (4, 7.0, 0.25, 0.0)


def test_vjepa_pretraining_is_the_published_one() -> None:
    config = parse(pretrain.Config, ["vjepa_pretrain"], prog="mien pretrain")
    optim, train = config.optim, config.train
    rates = [optim.rate(step, train.steps, train.batch) for step in (0, 12_000, 90_000)]
    assert rates[0] == pytest.approx(2e-4, rel=1e-3)
    assert rates[1] == pytest.approx(6.25e-4, rel=1e-3), "after 40 of 300 epochs"
    assert 1e-6 < rates[2] < 1e-4, "the end of the cosine is a quarter further on"
    assert [optim.decay(step, train.steps) for step in (0, 112_500)] == pytest.approx([0.04, 0.4], abs=1e-4)
    assert (train.steps, train.batch, optim.betas, optim.clip_grad) == (90_000, 3072, (0.9, 0.999), 10.0)
    assert isinstance(config.objective, JointEmbeddingConfig)
    assert config.objective.blocks == ((8, 0.15), (2, 0.7))
    assert (config.objective.predictor_dim, config.objective.predictor_depth) == (384, 12)
    assert (config.augment.area, config.augment.ratio, config.augment.flip) == ((0.3, 1.0), (0.75, 1.35), 0.5)


def test_no_recipe_is_forgotten() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {*SHRUNK, "vjepa_probe"}


def test_a_size_stands_for_its_numbers_wherever_it_is_written(tmp_path) -> None:
    def encoder(*words: str):
        return parse(pretrain.Config, [*words], prog="mien pretrain").encoder

    assert encoder("svfap_pretrain") == TPSBTConfig.sized("base")
    assert encoder("svfap_pretrain", "small") == encoder("--encoder.size=small") == TPSBTConfig.sized("small")
    small = encoder("svfap_tiny", "--encoder.size", "small")
    assert isinstance(small, TPSBTConfig)
    assert small.bottleneck == 8, "nothing of another size is left"
    assert encoder("--encoder.name", "vit", "--encoder.size=giant", "--encoder.depth=2") == ViTConfig.sized(
        "giant", depth=2
    )
    assert encoder("vjepa_pretrain", "--encoder.size", "huge") == VJEPAConfig.sized("huge")
    (tmp_path / "mine.yaml").write_text("encoder: {size: large, drop_path: 0.2, heads: 8}")
    assert encoder("vjepa_tiny", str(tmp_path / "mine.yaml")) == VJEPAConfig.sized(
        "large", drop_path=0.2, heads=8, tubelet=4
    )
    with pytest.raises(ValueError, match="size 'huge': tpsbt has the sizes tiny, small, base"):
        encoder("--encoder.size", "huge")


def test_recipes_are_named_without_a_path_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipes"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()] == sorted(path.stem for path in RECIPES.glob("*.yaml"))
    assert "SVFAP-B pre-training as published (Sun et al. 2024" in shown
    assert cli.main(["recipes", "small"]) == 0
    assert "size: small" in capsys.readouterr().out
    assert cli.main(["pretrain", "svfap"]) == 1
    assert "no recipe 'svfap': mien recipes lists those" in capsys.readouterr().err


def test_init_brings_the_sizes_of_its_encoder(corpus, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [f"--data.manifest={corpus}", "--train.steps=1", "--train.batch=2", *ONE_PROCESS, "--clip.frames=8", "--clip.size=32"]  # fmt: skip
    sizes = ["--encoder.name=vit", "--encoder.dim=32", "--encoder.heads=2", "--encoder.depth=1", "--encoder.patch=8"]
    assert cli.main(["pretrain", *common, *sizes, *TINY_DECODER, f"--output={tmp_path / 'a'}"]) == 0
    tuned = ["finetune", "svfap_finetune", *common, f"--init={tmp_path / 'a'}", f"--output={tmp_path / 'b'}"]
    assert cli.main(tuned) == 0
    assert "its encoder is taken, vit of width 32" in capsys.readouterr().out
    encoder = ModelCard.load(tmp_path / "b").encoder
    assert encoder == replace(ModelCard.load(tmp_path / "a").encoder, drop_path=0.1)
    assert cli.main(tuned) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert cli.main([*tuned, "--encoder.dim=64", f"--output={tmp_path / 'c'}"]) == 1
