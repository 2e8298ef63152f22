"""What an encoder may see, learn and be built as."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from mien.encoders.tpsbt import TPSBTConfig
from mien.encoders.vit import ViTConfig
from mien.modules.layers import PatchEmbed
from mien.modules.masks import MASKS, random_mask, tube_mask
from mien.modules.pixels import PixelsConfig
from mien.objectives.masked_autoencoding import MaskedAutoencoding, MaskedAutoencodingConfig
from mien.tasks.classification import ClassificationConfig
from mien.tasks.regression import RegressionConfig
from toy_models import pixels_of

KEYS = torch.tensor([3, 4])
TPSBT = TPSBTConfig(dim=32, heads=2, depths=(1, 2, 2), bottleneck=2, patch=8)
VIT = ViTConfig(dim=32, heads=2, depth=2, patch=8)
BOTH = pytest.mark.parametrize("config", [TPSBT, VIT], ids=["tpsbt", "vit"])
VIDEO = (2, 3, 16, 32, 32)


def objective(config: TPSBTConfig | ViTConfig, mask: Literal["tube", "random"] = "tube") -> MaskedAutoencoding:
    small = MaskedAutoencodingConfig(mask=mask, decoder_dim=32, decoder_heads=2, decoder_depth=1)
    return small.build(config.build(16, 32), PixelsConfig())


@BOTH
def test_hidden_pixels_have_exactly_zero_gradient(config) -> None:
    encoder = config.build(16, 32)
    visible, hidden = tube_mask(KEYS, encoder.grid, 0.75)
    video = torch.randn(VIDEO, requires_grad=True)
    encoder(video, visible).square().sum().backward()
    assert video.grad is not None
    seen = (video.grad * pixels_of(visible, encoder)).abs()
    assert (video.grad * pixels_of(hidden, encoder)).abs().max() == 0
    assert seen.sum() > 0


@BOTH
def test_masked_and_dense_are_one_path(config) -> None:
    encoder = config.build(16, 32)
    video = torch.randn(VIDEO)
    everything = torch.arange(encoder.grid[0] * 16).expand(2, -1)
    torch.testing.assert_close(encoder(video), encoder(video, everything))


@BOTH
@pytest.mark.parametrize("purpose", ["pretrain", "classify", "regress"])
def test_every_trained_parameter_gets_a_gradient(config, purpose) -> None:
    encoder = config.build(16, 32)
    batch = {"video": torch.randint(0, 256, VIDEO, dtype=torch.uint8), "key": KEYS}
    if purpose == "pretrain":
        model = objective(config)
    elif purpose == "classify":
        model = ClassificationConfig().build(encoder, PixelsConfig(), ("a", "b"))
        batch["target"] = torch.tensor([0, 1])
    else:
        model = RegressionConfig().build(encoder, PixelsConfig(), ("valence", "arousal"))
        batch["target"] = torch.randn(2, 2)
    model(batch)["loss"].backward()
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    without = [n for n, p in trained if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_the_only_untrained_parameters_have_no_influence() -> None:
    encoder = TPSBT.build(16, 32)
    video = torch.randn(VIDEO)
    before = encoder.features(video)
    frozen = [n for n, p in encoder.named_parameters() if not p.requires_grad]
    assert frozen == [f"spatial_downsamples.{i}.mlp.fc2.bias" for i in range(2)]
    with torch.no_grad():
        for name in frozen:
            encoder.get_parameter(name).add_(torch.randn(2))
    torch.testing.assert_close(encoder.features(video), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ratio", [0.75, 0.85, 0.9, 0.95])
@pytest.mark.parametrize(
    "config", [TPSBTConfig(dim=32, heads=2, depths=(1, 2, 2), bottleneck=2), VIT], ids=["tpsbt", "vit"]
)
def test_all_mask_ratios_run(config, ratio) -> None:
    small = MaskedAutoencodingConfig(mask_ratio=ratio, decoder_dim=32, decoder_heads=2, decoder_depth=1)
    model = small.build(config.build(16, 160 if config.patch == 16 else 80), PixelsConfig())
    side = 160 if config.patch == 16 else 80
    video = torch.randint(0, 256, (1, 3, 16, side, side), dtype=torch.uint8)
    loss = model({"video": video, "key": torch.arange(1)})["loss"]
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", ["tube", "random"])
def test_a_mask_is_every_patch_once(name) -> None:
    grid = (4, 5, 5)
    visible, hidden = MASKS[name](torch.arange(3), grid, 0.9)
    assert torch.equal(torch.cat([visible, hidden], 1).sort(1).values, torch.arange(100).expand(3, -1))
    assert hidden.shape[1] == (round(25 * 0.9) * 4 if name == "tube" else 90)


def test_tubes_are_required_and_random_masks_are_for_vit() -> None:
    encoder = TPSBT.build(16, 32)
    visible, _ = random_mask(KEYS, encoder.grid, 0.75)
    with pytest.raises(ValueError, match="tubes"):
        encoder(torch.randn(VIDEO), visible)
    with pytest.raises(ValueError, match="needs tubes"):
        objective(TPSBT, mask="random")
    assert objective(VIT, mask="random")({"video": torch.randn(VIDEO), "key": KEYS})["loss"] > 0


@BOTH
def test_other_sizes_than_built_for(config) -> None:
    encoder = config.build(16, 32)
    assert encoder(torch.randn(1, 3, 8, 48, 40)).shape == (1, 4 * 6 * 5, 32)


@pytest.mark.parametrize(
    ("config", "frames", "size", "word"),
    [
        (TPSBT, 16, 36, "image size"),
        (TPSBT, 15, 32, "frames"),
        (TPSBT, 12, 32, "time slots"),
        (TPSBTConfig(dim=30, heads=4), 16, 160, "heads"),
        (TPSBTConfig(depths=(2, 1)), 16, 160, "at least 2 blocks"),
        (VIT, 16, 36, "image size"),
    ],
)
def test_sizes_that_do_not_divide_say_so(config, frames, size, word) -> None:
    with pytest.raises(ValueError, match=word):
        config.build(frames, size)


@pytest.mark.parametrize("depths", [(2,), (1, 2), (1, 2, 2, 2)])
@pytest.mark.parametrize("bottleneck", [1, 5])
def test_any_number_of_stages_and_bottleneck_tokens(depths, bottleneck) -> None:
    encoder = TPSBTConfig(dim=32, heads=2, depths=depths, bottleneck=bottleneck, patch=8).build(16, 32)
    assert encoder(torch.randn(1, 3, 16, 32, 32)).shape == (1, 128, 32)
    assert encoder.features(torch.randn(1, 3, 16, 32, 32)).shape == (1, 128 // 2 ** (len(depths) - 1), 32)


def test_plain_attention_equals_the_fused_kernel() -> None:
    from mien.modules.layers import attend

    q, k, v = torch.randn(3, 2, 4, 30, 8)
    torch.testing.assert_close(attend(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v))


def test_patch_embedding_equals_the_convolution() -> None:
    encoder = VIT.build(16, 32)
    video = torch.randn(VIDEO)
    assert isinstance(encoder.patch_embed, PatchEmbed)
    convolved = encoder.patch_embed.proj(video).flatten(2).transpose(1, 2)
    torch.testing.assert_close(encoder.patch_embed(video), convolved, rtol=1e-5, atol=1e-5)
