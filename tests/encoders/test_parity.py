"""Both published models, number for number: official weights and inputs give the official outputs."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from conftest import DATA
from mien.encoders import tpsbt
from mien.encoders.tpsbt import TPSBTConfig
from mien.engine import optim
from mien.engine.checkpoint import load_strictly
from mien.engine.schedules import warmup_cosine
from mien.modules import heads
from mien.modules.pixels import PixelsConfig
from mien.objectives import masked_autoencoding
from mien.objectives.masked_autoencoding import MaskedAutoencoding, MaskedAutoencodingConfig
from mien.tasks.classification import ClassificationConfig

SIZES = TPSBTConfig(dim=48, heads=4, depths=(2, 3, 2), bottleneck=3)
SCHEDULES = json.loads((DATA / "schedules.json").read_text())


def vectors(name: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Official weights, and the inputs and outputs."""
    file = load_file(DATA / name)
    return (
        {k: v for k, v in file.items() if k[:2] != "__"},
        {k[2:]: v for k, v in file.items() if k[:2] == "__"},
    )


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_fine_tuned_model() -> None:
    official, known = vectors("svfap_finetune.safetensors")
    encoder = SIZES.build(frames=16, size=64)
    load_strictly(encoder, tpsbt.convert(official), "vectors")
    task = ClassificationConfig().build(encoder, PixelsConfig(), tuple("abcdefg"))
    load_strictly(task.head, heads.convert(official), "vectors")
    close(task.head.pool(encoder.features(known["video"])), known["features"])
    close(task.predict({"video": known["video"]}), known["logits"].softmax(dim=1))


@torch.no_grad()
def test_pretraining_model() -> None:
    official, known = vectors("svfap_pretrain.safetensors")
    encoder = SIZES.build(frames=16, size=64)
    config = MaskedAutoencodingConfig(mask_ratio=0.75, decoder_dim=32, decoder_heads=4, decoder_depth=2)
    objective = config.build(encoder, PixelsConfig())
    own = {f"encoder.{k}": v for k, v in tpsbt.convert(official).items()}
    load_strictly(objective, own | masked_autoencoding.convert(official), "vectors")
    everywhere = torch.arange(128).expand(2, -1)
    hidden = everywhere[known["mask"].bool()].view(2, -1)
    visible = everywhere[~known["mask"].bool()].view(2, -1)
    close(objective.encoder_norm(encoder(known["video"], visible)), known["encoder_tokens"])
    prediction, target = (
        objective.reconstruct(known["video"], visible, hidden),
        objective.target(known["video"], hidden),
    )
    close(prediction, known["prediction"])
    close(target, known["target"])
    close(torch.nn.functional.mse_loss(prediction, target), known["loss"].squeeze())


def renamed_back(objective: MaskedAutoencoding) -> dict[str, list[int]]:
    """Our names in the official spelling."""
    return {
        name.replace("encoder_norm.", "encoder.norm."): list(value.shape)
        for name, value in objective.state_dict().items()
    }


def test_base_has_the_official_names_and_shapes() -> None:
    official = json.loads((DATA / "svfap_base_keys.json").read_text())
    with torch.device("meta"):
        objective = MaskedAutoencodingConfig().build(TPSBTConfig.sized("base").build(16, 160), PixelsConfig())
        task = ClassificationConfig().build(TPSBTConfig.sized("base").build(16, 160), PixelsConfig(), tuple("abcdefg"))
    assert renamed_back(objective) == official["pretrain"]
    names = {"head.norm.": "fc_norm.", "head.linear.": "head.", "encoder.": ""}
    ours = {}
    for name, value in task.state_dict().items():
        prefix = next(p for p in names if name.startswith(p))
        ours[names[prefix] + name.removeprefix(prefix)] = list(value.shape)
    assert ours == official["finetune"]


@pytest.mark.parametrize("name", ["svfap_cosine", "svfap_cosine_no_warmup"])
def test_learning_rate(name: str) -> None:
    s = SCHEDULES[name]
    steps, warmup = s["epochs"] * s["steps_per_epoch"], s["warmup_epochs"] * s["steps_per_epoch"]
    start = s.get("start_warmup_value", 1e-6)
    ours = [warmup_cosine(s["base_value"], s["final_value"], i, steps, warmup, start) for i in range(steps)]
    assert ours == pytest.approx(s["values"], rel=1e-9)


def official_name(name: str) -> str:
    return name.replace("head.norm.", "fc_norm.").replace("head.linear.", "head.").removeprefix("encoder.")


def test_layer_decay_and_which_parameters_decay() -> None:
    known = SCHEDULES["svfap_layer_decay"]
    with torch.device("meta"):
        task = ClassificationConfig().build(TPSBTConfig.sized("base").build(16, 160), PixelsConfig(), tuple("abcdefg"))
    scales = {official_name(n): optim.layer_scale(task, n, known["layer_decay"]) for n, _ in task.named_parameters()}
    assert scales == pytest.approx(known["scale_by_parameter"])
    free = {official_name(n) for n, p in task.named_parameters() if not optim.decays(n, p)}
    assert free == set(SCHEDULES["svfap_weight_decay_free"])


def macs(config: TPSBTConfig) -> float:
    """GMACs of a 16x160x160 clip in matrix products and convolutions, which is what the paper counts."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        config.build(16, 160).features(torch.zeros(1, 3, 16, 160, 160))
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    ("config", "millions", "gmacs"), [(TPSBTConfig.sized("base"), 77.6, 43.6), (TPSBTConfig.sized("small"), 29.7, 18.0)]
)
def test_parameters_and_macs_are_the_papers(config: TPSBTConfig, millions: float, gmacs: float) -> None:
    count = sum(p.numel() for p in config.build(16, 160).parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.01)
    assert macs(config) == pytest.approx(gmacs, rel=0.01)
