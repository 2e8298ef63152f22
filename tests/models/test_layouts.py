"""Official files of every known layout, made without this package, compute here what they compute there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    VideoMAEConfig,
    VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    VideoMAEModel,
    VJEPA2Config,
    VJEPA2Model,
)

import mien
from conftest import DATA
from mien import cli
from mien.config import build
from mien.engine import checkpoint
from mien.explanations.reconstruction import load_autoencoder
from mien.features.frozen import load_encoder
from mien.models.layouts import autoencoder_weights
from mien.modules.layers import Block
from mien.modules.pixels import PixelsConfig
from mien.objectives import ObjectiveConfig

Network = TypeVar("Network", bound=torch.nn.Module)
CPU = torch.device("cpu")
SVFAP = ["--heads=4", "--clip.size=64", "--depths", "2", "3", "2"]
NAMES = ["--names", "happy", "sad", "neutral", "angry", "surprise", "disgust", "fear"]


def convert(*arguments: object) -> None:
    assert cli.main(["convert", *map(str, arguments)]) == 0


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert cli.main(["convert", *map(str, arguments)]) == 1
    return capsys.readouterr().err


def fine_tuned() -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The small official SVFAP classifier, a clip, and the probabilities that it gives."""
    file = load_file(DATA / "svfap_finetune.safetensors")
    return {k: v for k, v in file.items() if k[:2] != "__"}, file["__video"], file["__logits"].softmax(1)


def vjepa_file() -> dict[str, dict[str, Tensor]]:
    """The networks of the small official V-JEPA 1 file."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(DATA / "vjepa.safetensors").items():
        part, _, name = key.partition("/")
        if name and part != "classifier":
            parts.setdefault(part, {})[name] = value
    return parts


def check_classifier(official: dict[str, Tensor], folder: Path, *flags: str) -> None:
    _, video, expected = fine_tuned()
    torch.save({"model": official}, folder / "official.pth")
    convert(folder / "official.pth", folder / "ours", *SVFAP, *flags, *NAMES)
    with torch.no_grad():
        ours = mien.load(folder / "ours", device="cpu").task.predict({"video": video})
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_layer_scale_is_folded_into_the_projection_before_it(tmp_path: Path) -> None:
    official, _, _ = fine_tuned()
    for key in [k for k in official if k.endswith("norm1.weight") and "cross" not in k]:
        block = key.removesuffix(".norm1.weight")
        for number, layer in enumerate(("cross_attn.proj", "attn.proj", "mlp.fc2")):
            if f"{block}.{layer}.weight" not in official:
                continue
            scale = torch.rand(48) + 0.5
            official[f"{block}.gamma_{number}"] = scale
            official[f"{block}.{layer}.weight"] = official[f"{block}.{layer}.weight"] / scale[:, None]
            official[f"{block}.{layer}.bias"] = official[f"{block}.{layer}.bias"] / scale
    check_classifier(official, tmp_path)


def test_bottleneck_tokens_may_differ_per_stage(tmp_path: Path) -> None:
    """Each bottleneck token twice is the same mixture: softmax shares a token's weight between its copies."""
    official, _, _ = fine_tuned()
    for part in ("weight", "bias"):
        name = f"spatial_downsamples.0.mlp.fc2.{part}"
        official[name] = official[name].repeat_interleave(2, dim=0)
    check_classifier(official, tmp_path)
    about = json.loads((tmp_path / "ours" / "model.json").read_text())
    assert about["encoder"]["bottleneck"] == [6, 3]


@pytest.mark.parametrize(("width", "heads"), [(384, 6), (768, 12), (1024, 16), (1280, 16), (1408, 16)])
def test_heads_of_videomae_are_the_published_ones(width: int, heads: int) -> None:
    hidden = 6144 if width == 1408 else 4 * width
    official = {
        "encoder.patch_embed.proj.weight": torch.empty(width, 3, 2, 16, 16, device="meta"),
        "encoder.blocks.0.mlp.fc1.weight": torch.empty(hidden, width, device="meta"),
    }
    config = autoencoder_weights.encoder_config_of(official, 0, ())
    assert config.heads == heads
    with torch.device("meta"):
        block = next(iter(config.build(16, 32).blocks))
    assert isinstance(block, Block)
    assert block.mlp.fc1.out_features == hidden


@pytest.mark.parametrize("missing", ["--heads", "--decoder-heads", "--depths"])
def test_what_no_shape_tells_must_be_said(missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = {
        "--heads": ["--heads=4"],
        "--decoder-heads": ["--decoder-heads=4"],
        "--depths": ["--depths", "2", "3", "2"],
    }
    others = [flag for name, given in flags.items() if name != missing for flag in given]
    error = refusal(capsys, DATA / "svfap_pretrain.safetensors", tmp_path / "x", "--clip.size=64", *others)
    assert f"say {missing}" in error
    assert not (tmp_path / "x").exists()


def test_the_encoder_alone_needs_no_class_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"module": fine_tuned()[0]}, tmp_path / "official.pth")
    assert "--encoder-only" in refusal(capsys, tmp_path / "official.pth", tmp_path / "x", *SVFAP)
    convert(tmp_path / "official.pth", tmp_path / "encoder", *SVFAP, "--encoder-only")
    assert "left out: fc_norm, head" in capsys.readouterr().out
    assert load_encoder(tmp_path / "encoder", CPU).encoder.dim == 48


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--segments=4", *NAMES], "--segments is of the probe"),
        (["--probe=probe.pth.tar", *NAMES], "--probe is for V-JEPA"),
        (["--encoder-only", *NAMES], "--names is of the classes"),
        (["--encoder-only", "--decoder-heads=4"], "--decoder-heads is of a decoder"),
    ],
)
def test_options_that_say_nothing_of_the_file_are_refused(
    flags: list[str], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"module": fine_tuned()[0]}, tmp_path / "official.pth")
    error = refusal(capsys, tmp_path / "official.pth", tmp_path / "x", *SVFAP, *flags)
    assert what in error
    assert "leave it out" in error
    assert not (tmp_path / "x").exists()


SMALL: dict[str, int] = {
    "image_size": 32, "patch_size": 8, "num_frames": 8, "hidden_size": 48, "num_attention_heads": 4,
    "num_hidden_layers": 2, "intermediate_size": 100, "decoder_hidden_size": 24, "decoder_num_attention_heads": 2,
    "decoder_num_hidden_layers": 2, "decoder_intermediate_size": 60,
}  # fmt: skip


@torch.no_grad()
def stirred(model: Network) -> Network:
    """A model whose every weight matters."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_videomae_encoder_of_transformers(tmp_path: Path) -> None:
    theirs = stirred(VideoMAEModel(VideoMAEConfig.from_dict(SMALL)))
    theirs.save_pretrained(tmp_path / "official")
    (tmp_path / "official" / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 1]}'
    )
    convert(tmp_path / "official", tmp_path / "ours")
    frozen = load_encoder(tmp_path / "ours", CPU)
    video = torch.randn(2, 3, 8, 32, 32)
    close(frozen.encoder(video), theirs(video.transpose(1, 2)).last_hidden_state)
    about = json.loads((tmp_path / "ours" / "model.json").read_text())
    assert about["pixels"] == {"mean": [0.5, 0.5, 0.5], "std": [1.0, 1.0, 1.0]}
    assert about["clip"]["frames"] == 8
    assert about["clip"]["size"] == 32


@torch.no_grad()
def test_videomae_pretraining_of_transformers(tmp_path: Path) -> None:
    theirs = stirred(VideoMAEForPreTraining(VideoMAEConfig.from_dict(SMALL | {"use_mean_pooling": False})))
    theirs.save_pretrained(tmp_path / "official")
    convert(tmp_path / "official", tmp_path / "ours")
    objective, _, _ = load_autoencoder(tmp_path / "ours", CPU)
    video = torch.randn(2, 3, 8, 32, 32)
    mask = torch.zeros(2, 64, dtype=torch.bool)
    mask[0, torch.randperm(64)[:40]] = True
    mask[1, torch.randperm(64)[:40]] = True
    places = torch.arange(64).expand(2, -1)
    visible, hidden = places[~mask].view(2, -1), places[mask].view(2, -1)
    close(objective.reconstruct(video, visible, hidden), theirs(video.transpose(1, 2), mask).logits)


@torch.no_grad()
def test_videomae_classifier_of_transformers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = stirred(VideoMAEForVideoClassification(VideoMAEConfig.from_dict(SMALL | {"num_labels": 3})))
    theirs.save_pretrained(tmp_path / "official")
    convert(tmp_path / "official", tmp_path / "ours", "--names", "anger", "fear", "joy")
    video = torch.randn(2, 3, 8, 32, 32)
    ours = mien.load(tmp_path / "ours", device="cpu").task.predict({"video": video})
    close(ours, theirs(video.transpose(1, 2)).logits.softmax(1))
    config = tmp_path / "official" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_size": 384, "num_attention_heads": 16}))
    assert "published with 6" in refusal(capsys, tmp_path / "official", tmp_path / "x")
    config.unlink()
    assert "config.json is missing" in refusal(capsys, tmp_path / "official", tmp_path / "x")


def original(theirs: VJEPA2Model) -> dict[str, Tensor]:
    """transformers' V-JEPA 2 encoder in the names of the released checkpoints."""
    names = {}
    for name, value in theirs.state_dict().items():
        if not name.startswith("encoder."):
            continue
        name = (
            name.removeprefix("encoder.")
            .replace("embeddings.patch_embeddings", "patch_embed")
            .replace("layernorm", "norm")
        )
        name = name.replace("layer.", "blocks.").replace(".attention.", ".attn.")
        if ".query." in name:
            others = (theirs.state_dict()["encoder." + original_name(name, part)] for part in ("key", "value"))
            value = torch.cat([value, *others])
        if ".key." not in name and ".value." not in name:
            names["module.backbone." + name.replace(".query.", ".qkv.")] = value
    return names


def original_name(name: str, part: str) -> str:
    return name.replace("blocks.", "layer.").replace(".attn.", ".attention.").replace("query", part)


@torch.no_grad()
@pytest.mark.parametrize("stored_table", [False, True])
def test_v_jepa_2_checkpoint(stored_table: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = VJEPA2Config(
        patch_size=16, crop_size=64, frames_per_clip=8, hidden_size=48, num_attention_heads=3, num_hidden_layers=2,
        mlp_ratio=4.0, pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1,
    )  # fmt: skip
    theirs = stirred(VJEPA2Model(small))
    teacher = original(theirs)
    predictor = {f"module.backbone.predictor_mask_tokens.{i}": torch.zeros(1, 1, 24) for i in range(10)}
    if stored_table:
        teacher["module.backbone.pos_embed"] = torch.zeros(1, 64, 48)
    tree = {"encoder": {k: v * 0 for k, v in teacher.items()}, "target_encoder": teacher, "predictor": predictor}
    torch.save(tree | {"epoch": 3, "opt": None}, tmp_path / "vitl.pt")
    flags = ("--clip.frames=8", "--clip.size=64")
    assert "48 wide, which is no published size" in refusal(capsys, tmp_path / "vitl.pt", tmp_path / "ours", *flags)
    convert(tmp_path / "vitl.pt", tmp_path / "ours", *flags, "--heads=3")
    assert "target_encoder is imported" in capsys.readouterr().out
    video = torch.randn(2, 3, 8, 64, 64)
    ours = load_encoder(tmp_path / "ours", CPU).encoder(video)
    close(ours, theirs(video.transpose(1, 2), skip_predictor=True).last_hidden_state)


def half_for_time(frames: int, side: int, dim: int) -> Tensor:
    """V-JEPA's position table without uniform power, channel by channel."""
    table = np.zeros((frames * side * side, dim))
    for place in range(len(table)):
        t, rest = divmod(place, side * side)
        column = 0
        for coordinate, share in zip((t, *divmod(rest, side)), (dim // 2, dim // 4, dim // 4), strict=True):
            for function in (np.sin, np.cos):
                for j in range(share // 2):
                    table[place, column] = function(coordinate / 10000 ** (j / (share / 2)))
                    column += 1
    return torch.from_numpy(table).float()[None]


def test_v_jepa_1_with_the_other_position_table(tmp_path: Path) -> None:
    parts = vjepa_file()
    for part in parts.values():
        for key in [key for key in part if key.endswith("pos_embed")]:
            frames, side = 4, round((part[key].shape[1] / 4) ** 0.5)
            part[key] = half_for_time(frames, side, part[key].shape[2])
    torch.save(parts, tmp_path / "jepa.pth.tar")
    convert(tmp_path / "jepa.pth.tar", tmp_path / "ours", "--heads=4", "--clip.frames=8", "--clip.size=64")
    about = json.loads((tmp_path / "ours" / "model.json").read_text())
    assert about["encoder"]["uniform_power"] is False
    assert about["objective"]["uniform_power"] is False
    encoder = load_encoder(tmp_path / "ours", CPU).encoder
    key = next(key for key in parts["encoder"] if key.endswith("pos_embed"))
    torch.testing.assert_close(encoder.table, parts["encoder"][key][0], rtol=1e-5, atol=1e-5)
    objective = build(ObjectiveConfig, about["objective"]).build(encoder, PixelsConfig())  # pyright: ignore
    key = next(key for key in parts["predictor"] if key.endswith("pos_embed"))
    torch.testing.assert_close(objective.predictor.position, parts["predictor"][key][0], rtol=1e-5, atol=1e-5)


def test_an_unknown_layout_lists_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"conv1.weight": torch.zeros(2), "layer1.0.bn1.bias": torch.zeros(2)}, tmp_path / "resnet.pth")
    error = refusal(capsys, tmp_path / "resnet.pth", tmp_path / "x")
    assert "the file holds conv1.weight" in error
    for known in ("SVFAP", "VideoMAE V2", "transformers", "V-JEPA 1", "V-JEPA 2"):
        assert known in error
    torch.save({"ema_encoder": {"norms_block.0.weight": torch.zeros(2)}, "predictor": {}}, tmp_path / "new.pt")
    assert "V-JEPA 2.1" in refusal(capsys, tmp_path / "new.pt", tmp_path / "x")


def test_a_file_of_v_jepa_without_its_predictor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(vjepa_file(), tmp_path / "jepa.pth.tar")
    convert(tmp_path / "jepa.pth.tar", tmp_path / "ours", "--heads=4", "--encoder-only")
    weights = checkpoint.read_weights(tmp_path / "ours")
    assert {name.split(".")[0] for name in weights} == {"encoder"}
    assert "left out" in capsys.readouterr().out
