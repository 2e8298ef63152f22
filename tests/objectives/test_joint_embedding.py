"""What V-JEPA's context may see, who learns, how the teacher follows, and when an alarm speaks."""

from __future__ import annotations

import pytest
import torch

from mien.encoders.tpsbt import TPSBTConfig
from mien.encoders.vit import ViTConfig
from mien.encoders.vjepa import VJEPAConfig
from mien.modules.block_masks import BlockMaskConfig, block_mask, hidden_sites, mask_lengths
from mien.modules.masks import WORD, uniforms
from mien.modules.pixels import PixelsConfig
from mien.objectives.joint_embedding import JointEmbedding, JointEmbeddingConfig, feature_spread
from toy_models import pixels_of

ENCODERS = {
    "vjepa": VJEPAConfig(dim=32, heads=2, depth=2, patch=8),
    "rotary": VJEPAConfig(dim=32, heads=2, depth=2, patch=8, positions="rotary"),
    "vit": ViTConfig(dim=32, heads=2, depth=2, patch=8),
    "tpsbt": TPSBTConfig(dim=32, heads=2, depths=(1, 2), bottleneck=2, patch=8),
}
EVERY = pytest.mark.parametrize("name", ENCODERS)
GRIDS = [(8, 14, 14), (8, 24, 24), (8, 10, 10), (4, 6, 6), (4, 4, 4), (2, 2, 3)]


def objective(name: str, momentum: tuple[float, float] = (0.998, 1.0)) -> JointEmbedding:
    torch.manual_seed(0)
    small = JointEmbeddingConfig(predictor_dim=24, predictor_heads=2, predictor_depth=1, momentum=momentum)
    return small.build(ENCODERS[name].build(8, 48), PixelsConfig())


def clips(count: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    video = torch.randint(0, 256, (count, 3, 8, 48, 48), dtype=torch.uint8, generator=generator)
    return {"video": video, "key": torch.arange(count) * 7919}


@EVERY
def test_hidden_regions_have_no_influence_on_the_context(name: str) -> None:
    model = objective(name)
    video = torch.randn(3, 3, 8, 48, 48, requires_grad=True)
    for kind, (visible, hidden) in enumerate(model.mask(clips()["key"])):
        context, _ = model.predict(video, visible, hidden, kind)
        (gradient,) = torch.autograd.grad(context.square().sum(), video)
        seen = pixels_of(visible, model.encoder)
        assert (gradient * (1 - seen)).abs().max() == 0
        assert (gradient * seen).abs().sum() > 0


@EVERY
def test_everything_trained_gets_a_gradient_and_the_teacher_none(name: str) -> None:
    model = objective(name)
    model(clips())["loss"].backward()
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    assert [n for n, p in trained if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert {n.split(".")[0] for n, _ in trained} >= {"encoder", "predictor"}
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())


def test_the_teacher_is_the_closed_form_moving_average() -> None:
    model = objective("vjepa", momentum=(0.9, 1.0))
    start = [p.clone() for p in model.teacher.parameters()]
    history, steps = [], 10
    for step in range(6):
        with torch.no_grad():
            for p in model.encoder.parameters():
                p.add_(torch.randn_like(p))
        history.append([p.clone() for p in model.encoder.parameters()])
        model.after_step(step / steps)
    momenta = [0.9 + 0.1 * step / steps for step in range(6)]
    for i, kept in enumerate(model.teacher.parameters()):
        expected = start[i] * torch.tensor(momenta).prod()
        for step, m in enumerate(momenta):
            expected = expected + (1 - m) * torch.tensor(momenta[step + 1 :]).prod() * history[step][i]
        torch.testing.assert_close(kept, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize(("count", "scale"), [(8, 0.15), (2, 0.7)])
def test_no_context_and_no_target_is_ever_empty(grid, count: int, scale: float) -> None:
    blocks = BlockMaskConfig(count, scale, (0.75, 1.5))
    keys = torch.arange(10_000) * 104_729 & WORD
    context, targets = mask_lengths(grid, blocks)
    visible, hidden = block_mask(keys, grid, blocks, context, targets)
    patches = grid[0] * grid[1] * grid[2]
    assert visible.shape == (10_000, grid[0] * context)
    assert hidden.shape == (10_000, grid[0] * targets)
    assert context >= 1
    assert targets >= 1
    used = torch.zeros(10_000, patches, dtype=torch.int64)
    used.scatter_add_(1, visible, torch.ones_like(visible)).scatter_add_(1, hidden, torch.ones_like(hidden))
    assert used.max() == 1  # disjoint, no patch twice
    assert (visible.diff(dim=1) > 0).all()


def test_no_frame_and_no_corner_is_dropped_more_than_others() -> None:
    grid, blocks = (8, 14, 14), BlockMaskConfig(8, 0.15, (0.75, 1.5))
    keys = torch.arange(5000)
    visible, hidden = block_mask(keys, grid, blocks, *mask_lengths(grid, blocks))
    for patches in (visible, hidden):
        share = torch.bincount(patches.flatten(), minlength=8 * 196).view(8, 14, 14).float() / 5000
        assert (share == share[0]).all()  # every frame alike; the released code drops the last ones
        torch.testing.assert_close(share, share.flip(1), atol=0.03, rtol=0)
        torch.testing.assert_close(share, share.flip(2), atol=0.03, rtol=0)


def test_blocks_cover_what_they_are_told() -> None:
    sites = hidden_sites(torch.arange(4000), (8, 14, 14), BlockMaskConfig(1, 0.15, (0.75, 1.5))).float().sum(1)
    assert sites.mean() == pytest.approx(0.15 * 196, rel=0.05)


def test_a_mask_is_a_function_of_the_sample_alone() -> None:
    model = objective("vjepa")
    keys = torch.tensor([5, 17, 123_456_789])
    alone = [model.mask(keys[i : i + 1]) for i in range(3)]
    for kind, (visible, hidden) in enumerate(model.mask(keys)):
        assert torch.equal(visible, torch.cat([masks[kind][0] for masks in alone]))
        assert torch.equal(hidden, torch.cat([masks[kind][1] for masks in alone]))
    assert not torch.equal(alone[0][0][0], alone[1][0][0])


def test_numbers_drawn_from_keys_are_even_and_unrelated() -> None:
    drawn = uniforms(torch.arange(20_000), 20)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.005)
    assert drawn.var().item() == pytest.approx(1 / 12, rel=0.02)
    assert torch.corrcoef(drawn.T).fill_diagonal_(0).abs().max() < 0.04


@torch.no_grad()
def values(model: JointEmbedding) -> dict[str, float]:
    """What a step would log."""
    return {name: value.item() for name, value in model(clips()).items()}


def test_the_alarm_speaks_when_clips_become_alike() -> None:
    model = objective("vjepa")
    healthy = values(model)
    assert model.alarms(healthy) == []
    with torch.no_grad():
        for name, p in model.teacher.named_parameters():
            p.mul_(0.0 if "proj" in name else 1.0)  # the teacher no longer sees the video
    alarms = model.alarms(values(model))
    assert any(line.startswith("teacher_std") for line in alarms)
    assert not any(line.startswith("context_std") for line in alarms)


def test_spread_counts_directions() -> None:
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(32, 32))[0]
    for rank in (1, 4):
        tokens = torch.randn(64, 4, rank) @ axes[:rank]
        assert feature_spread(tokens)["rank"].item() == pytest.approx(rank, rel=0.25)
    same = torch.randn(1, 4, 32).expand(64, -1, -1)
    assert feature_spread(same)["std"].item() == pytest.approx(0.0, abs=1e-6)
