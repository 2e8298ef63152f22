"""What an encoder declares is enough for every use of one: each encoder there is, and a foreign one, goes through all."""

from __future__ import annotations

from copy import deepcopy
from typing import get_args

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from mien.calibration.clip_statistics import encode, size_of
from mien.encoders import EncoderConfig
from mien.engine.distributed import Session, wrap
from mien.explanations.explanation import MapConfig, attention_maps, occlusion_maps
from mien.explanations.question import question_about
from mien.inference.analyzer import Analyzer
from mien.interfaces import Encoder, Objective
from mien.models.card import ModelCard
from mien.modules.heads import AttentiveHeadConfig, MeanHeadConfig
from mien.modules.layers import Block, take
from mien.modules.pixels import PixelsConfig
from mien.objectives.joint_embedding import JointEmbeddingConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.tasks.classification import ClassificationConfig
from mien.video.clips import ClipConfig

FRAMES, SIZE, CPU = 8, 32, torch.device("cpu")
NAMES = ("fear", "joy", "neutral")


class Mixer(Encoder):
    """An encoder that shares no layer with those of mien: linear layers, between which the mean over patches is added."""

    patch, dim, heads, layers, any_visible = (2, 8, 8), 24, 3, 3, True

    def __init__(self) -> None:
        super().__init__()
        self.grid = (FRAMES // 2, SIZE // 8, SIZE // 8)
        self.patch_embed = nn.Sequential(nn.Conv3d(3, self.dim, self.patch, stride=self.patch), Flat())
        self.blocks = nn.ModuleList(nn.Linear(self.dim, self.dim) for _ in range(2))

    def forward(self, video: Tensor, visible: Tensor | None = None) -> Tensor:
        x = self.patch_embed(video)
        x = x if visible is None else take(x, visible)
        for block in self.blocks:
            x = x + block(x.tanh() + x.mean(dim=1, keepdim=True))
        return x

    def features(self, video: Tensor) -> Tensor:
        return self(video)

    def layer_of(self, parameter: str) -> int:
        return int(parameter.split(".")[1]) + 1 if parameter.startswith("blocks") else 0


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


KINDS = get_args(get_args(EncoderConfig)[0])


@pytest.fixture(params=[*KINDS, Mixer], ids=lambda kind: kind.__name__)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(0)
    return Mixer() if request.param is Mixer else request.param.sized("tiny").build(FRAMES, SIZE)


def uses(encoder: Encoder) -> list[Objective]:
    """Every objective, and a task with every head, each around a copy of an encoder."""
    objectives = [
        MaskedAutoencodingConfig(mask_ratio=0.5, decoder_dim=24, decoder_heads=2, decoder_depth=1),
        JointEmbeddingConfig(blocks=((1, 0.15), (1, 0.3)), predictor_dim=6 * encoder.heads, predictor_depth=1),
    ]
    heads = [MeanHeadConfig(scale=1.0), AttentiveHeadConfig(heads=2, depth=2, standardise=True)]
    tasks = [ClassificationConfig(head=head) for head in heads]
    return [
        *(config.build(deepcopy(encoder), PixelsConfig()) for config in objectives),
        *(config.build(deepcopy(encoder), PixelsConfig(), NAMES) for config in tasks),
    ]


def batch() -> dict[str, Tensor]:
    torch.manual_seed(1)
    video = torch.randint(0, 256, (2, 3, FRAMES, SIZE, SIZE), dtype=torch.uint8)
    return {"video": video, "index": torch.arange(2), "key": torch.tensor([3, 4]), "target": torch.tensor([0, 2])}


def test_what_an_encoder_declares_is_true(encoder: Encoder) -> None:
    video, patches = torch.rand(2, 3, FRAMES, SIZE, SIZE), int(np.prod(encoder.grid))
    assert encoder.patch_embed(video).shape == encoder(video).shape == (2, patches, encoder.dim)
    assert [a * b for a, b in zip(encoder.grid, encoder.patch, strict=True)] == [FRAMES, SIZE, SIZE]
    assert encoder.dim % encoder.heads == 0
    layers = {encoder.layer_of(name) for name, _ in encoder.named_parameters()}
    assert layers <= set(range(encoder.layers + 1))
    assert {0, 1} <= layers
    before = encoder.eval().features(video)
    if (maps := encoder.attention(video)) is not None:
        assert maps.shape == (2, *encoder.grid)
        torch.testing.assert_close(maps.mean(dim=(2, 3)), torch.ones(2, encoder.grid[0]))
    assert torch.equal(encoder.features(video), before)


def test_every_objective_and_head_learns_over_it_and_names_all_its_blocks(encoder: Encoder) -> None:
    for objective in uses(encoder):
        objective(objective.draw(batch()))["loss"].backward()
        objective.after_step(0.0)
        assert all(p.grad is not None for p in objective.encoder.patch_embed.parameters())
        named, there = objective.blocks, [part for part in objective.modules() if isinstance(part, Block)]
        assert set(there) | set(objective.encoder.blocks) <= set(named) <= set(objective.modules())
        assert len(named) == len(set(named))


@pytest.mark.slow
def test_every_objective_is_sharded_block_by_block(encoder: Encoder) -> None:
    store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        for objective in uses(encoder):
            expected = objective(drawn := objective.draw(batch()))["loss"].detach()
            wrapped = wrap(objective, "fsdp", Session(0, 1, CPU))
            assert all("FSDP" in type(block).__name__ for block in objective.blocks)
            loss = wrapped(drawn)["loss"]
            loss.backward()
            torch.testing.assert_close(loss.detach(), expected)
    finally:
        dist.destroy_process_group()


def test_calibration_features_and_explanations_take_it(encoder: Encoder) -> None:
    task = ClassificationConfig(head=MeanHeadConfig(scale=1.0)).build(encoder, PixelsConfig(), NAMES)
    clip = ClipConfig(frames=FRAMES, stride=1, size=SIZE)
    analyzer = Analyzer(
        task, ModelCard(KINDS[0](), clip, PixelsConfig(), task=ClassificationConfig(), names=NAMES), CPU
    )
    video = batch()["video"]
    tokens, statistics = encode(encoder, task.pixels(video))
    assert tokens.shape[-1] == encoder.dim
    assert statistics.shape == (2, size_of(encoder))
    config = MapConfig(sites=4, slots=2)
    for maps in occlusion_maps(question_about(analyzer, video, "joy"), config), attention_maps(task, video, config):
        assert all(one.shape == encoder.grid and np.isfinite(one).all() for one in maps)
