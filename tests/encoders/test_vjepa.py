"""V-JEPA number for number: official weights and inputs give the official outputs, schedules and names."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import VJEPA2Config, VJEPA2Model

from conftest import DATA
from mien.encoders import vjepa
from mien.encoders.vjepa import VJEPA, VJEPAConfig
from mien.engine.checkpoint import load_strictly
from mien.engine.optim import OptimConfig
from mien.modules import heads
from mien.modules.heads import AttentiveHeadConfig
from mien.modules.layers import take
from mien.modules.pixels import PixelsConfig
from mien.objectives import joint_embedding
from mien.objectives.joint_embedding import JointEmbedding, JointEmbeddingConfig

VECTORS = load_file(DATA / "vjepa.safetensors")
SCHEDULES = json.loads((DATA / "schedules.json").read_text())
SIZES = VJEPAConfig(dim=48, heads=4, depth=2)


def part(name: str) -> dict[str, torch.Tensor]:
    """One network of the official file."""
    return {key[len(name) + 1 :]: value for key, value in VECTORS.items() if key.startswith(name + "/")}


def known(name: str) -> torch.Tensor:
    return VECTORS[f"__{name}"]


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def official_encoder(name: str) -> VJEPA:
    encoder = SIZES.build(frames=8, size=64)
    load_strictly(encoder, vjepa.convert(part(name)), "vectors")
    return encoder


def official_objective() -> JointEmbedding:
    objective = JointEmbeddingConfig(predictor_dim=24, predictor_depth=2).build(
        official_encoder("encoder"), PixelsConfig()
    )
    load_strictly(objective.teacher, vjepa.convert(part("target_encoder")), "vectors")
    load_strictly(objective.predictor, joint_embedding.convert(part("predictor")), "vectors")
    return objective


@torch.no_grad()
@pytest.mark.parametrize("what", ["", "_large"], ids=["laid out", "interpolated"])
def test_tokens(what: str) -> None:
    close(official_encoder("encoder")(known("video" + what)), known("tokens" + what))


@torch.no_grad()
def test_context_predictions_targets_and_loss() -> None:
    objective, losses = official_objective(), []
    video = known("video")
    targets = objective.targets(video)
    for kind in (0, 1):
        visible, hidden = known(f"context_indices_{kind}"), known(f"target_indices_{kind}")
        context, prediction = objective.predict(video, visible, hidden, kind)
        close(context, known(f"context_tokens_{kind}"))
        close(prediction, known(f"predicted_{kind}"))
        close(take(targets, hidden), known(f"target_{kind}"))
        losses.append(F.l1_loss(prediction, take(targets, hidden)))
    close(torch.stack(losses).mean(), known("loss").squeeze())


@torch.no_grad()
def test_attentive_classifier_over_two_segments() -> None:
    head = AttentiveHeadConfig(heads=4).build(48, 8)
    load_strictly(head, heads.convert_attentive(part("classifier")), "vectors")
    encoder = official_encoder("encoder")
    tokens = torch.cat([encoder(known("video")), encoder(known("video_second_clip"))], dim=1)
    ours, theirs = head(tokens), known("logits_two_clips")
    assert (ours - theirs).norm() / theirs.norm() < 1e-5


@torch.no_grad()
def test_huge_has_the_official_names_and_shapes() -> None:
    official = json.loads((DATA / "vjepa_huge_keys.json").read_text())
    with torch.device("meta"):
        empty = {kind: {k: torch.empty(s) for k, s in keys.items()} for kind, keys in official.items()}
        encoder = VJEPAConfig.sized("huge").build(16, 384)
        head = AttentiveHeadConfig(heads=16).build(1280, 8)
    assert empty["encoder"].pop("pos_embed").shape == (1, 8 * 24 * 24, 1280)
    assert shapes(encoder.state_dict()) == shapes(empty["encoder"])
    assert shapes(head.state_dict()) == shapes(heads.convert_attentive(empty["classifier"]))


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def test_another_position_table_is_refused() -> None:
    official = part("encoder")
    key = next(key for key in official if key.endswith("pos_embed"))
    with pytest.raises(ValueError, match="not the 3-D sine-cosine table"):
        vjepa.convert(official | {key: official[key] + 1.0})


def test_learning_rate_and_weight_decay() -> None:
    lr, decay = SCHEDULES["vjepa_lr"], SCHEDULES["vjepa_weight_decay"]
    steps = lr["total_steps"]
    optim = OptimConfig(
        lr=lr["ref_lr"], lr_batch=0, min_lr=lr["final_lr"], warmup=lr["warmup_steps"] / steps,
        warmup_start=lr["start_lr"], schedule="vjepa", stretch=lr["schedule_scale"],
        weight_decay=decay["ref"], weight_decay_end=decay["final"],
    )  # fmt: skip
    assert [optim.rate(i, steps, batch=1) for i in range(steps)] == pytest.approx(lr["values"], rel=1e-9)
    assert [optim.decay(i, steps) for i in range(steps)] == pytest.approx(decay["values"], rel=1e-9)


@torch.no_grad()
def test_v_jepa_2_equals_transformers() -> None:
    torch.manual_seed(0)
    config = VJEPA2Config(
        patch_size=16, crop_size=64, frames_per_clip=8, hidden_size=48, num_attention_heads=3, num_hidden_layers=3,
        mlp_ratio=4.0, pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1,
    )  # fmt: skip
    theirs = VJEPA2Model(config).eval()
    for parameter in theirs.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)  # so that attention and every bias matter
    ours = VJEPAConfig(dim=48, heads=3, depth=3, positions="rotary").build(8, 64)
    load_strictly(ours, vjepa.convert_transformers(theirs.state_dict()), "transformers")
    video = torch.randn(2, 3, 8, 64, 64)
    expected = theirs(video.transpose(1, 2), skip_predictor=True).last_hidden_state
    torch.testing.assert_close(ours(video), expected, rtol=1e-4, atol=1e-4)
