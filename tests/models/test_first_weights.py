"""``--init`` gives a new model all that fits of another one, and says what starts afresh; first weights are published ones."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from conftest import DATA, ONE_PROCESS, TINY_DECODER, TINY_TPSBT, TINY_VJEPA
from mien import cli
from mien.encoders.tpsbt import TPSBTConfig
from mien.encoders.vit import ViTConfig
from mien.encoders.vjepa import VJEPAConfig
from mien.engine import checkpoint
from mien.models.card import EncoderOnly, ModelCard
from mien.modules.heads import AttentiveHead, AttentiveHeadConfig
from mien.modules.layers import Block, PatchEmbed
from mien.modules.pixels import PixelsConfig
from mien.objectives.joint_embedding import JointEmbeddingConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.training.initial_weights import start_encoder, start_objective
from mien.video.clips import ClipConfig
from runs import torchrun

VIT = ViTConfig(dim=32, heads=2, depth=2, patch=8)
VJEPA = VJEPAConfig(dim=32, heads=2, depth=2, patch=8)
AUTOENCODER = MaskedAutoencodingConfig(decoder_dim=32, decoder_heads=2, decoder_depth=1)
EMBEDDING = JointEmbeddingConfig(predictor_dim=24, predictor_heads=2, predictor_depth=1)


def pretrained(corpus: Path, output: Path, *more: str) -> dict[str, torch.Tensor]:
    flags = [f"--data.manifest={corpus}", f"--output={output}", "--train.steps=1", "--train.batch=2", *ONE_PROCESS]
    assert cli.main(["pretrain", *flags, *more]) == 0
    return load_file(output / "weights.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("method", ["masked_autoencoding", "joint_embedding"])
def test_pretraining_goes_on_from_all_of_another_run(
    method: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = (
        [*TINY_TPSBT, *TINY_DECODER] if method == "masked_autoencoding" else [*TINY_VJEPA, "--objective.momentum=1 1"]
    )
    tiny = [word for flag in tiny for word in flag.replace("=1 1", " 1 1").split()]
    before = pretrained(corpus, tmp_path / "before", *tiny)
    stopped = ["--optim.lr=0", "--optim.min-lr=0", "--optim.warmup-start=0", "--train.seed=1"]
    after = pretrained(corpus, tmp_path / "after", *tiny, *stopped, f"--init={tmp_path / 'before'}")
    assert equal(before, after)
    note = next(line for line in capsys.readouterr().out.splitlines() if "loaded" in line)
    assert note.endswith("afresh: optimizer, schedules")


def test_a_new_folder_has_the_modes_that_the_umask_gives(corpus: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        pretrained(corpus, tmp_path / "run", *TINY_TPSBT, *TINY_DECODER)
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"weights.safetensors", "model.json", "config.yaml"} <= {path.name for path in files}
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {p.name: "0o640" for p in files}


def exported(folder: Path, encoder: Any, objective: Any = None) -> Path:
    """A folder of weights by chance."""
    torch.manual_seed(1)
    built = encoder.build(8, 48)
    model = objective.build(built, PixelsConfig()) if objective else EncoderOnly(built)
    ModelCard(encoder, ClipConfig(), PixelsConfig(), objective).save(folder, model)
    return folder


def card_of(encoder: Any, objective: Any) -> ModelCard:
    """The card of a run that begins."""
    return ModelCard(encoder, ClipConfig(), PixelsConfig(), objective)


def started(folder: Path, encoder: Any, objective: Any) -> tuple[dict[str, torch.Tensor], str]:
    """The weights of a new objective after ``--init folder``, and what was told."""
    notes: list[str] = []
    torch.manual_seed(0)
    model = objective.build(encoder.build(8, 48), PixelsConfig())
    start_objective(model, str(folder), card_of(encoder, objective), notes.append)
    return model.state_dict(), notes[0].removeprefix(f"{folder}: ")


def test_a_part_that_does_not_fit_starts_afresh_and_says_why(tmp_path: Path) -> None:
    folder = exported(tmp_path, VIT, AUTOENCODER)
    weights = load_file(folder / "weights.safetensors")
    deeper = MaskedAutoencodingConfig(decoder_dim=32, decoder_heads=2, decoder_depth=2)
    state, note = started(folder, VIT, deeper)
    assert "afresh: optimizer, schedules, decoder (blocks.1.attn.proj.bias is only here)" in note
    assert torch.equal(state["mask_token"], weights["mask_token"])
    assert not torch.equal(state["decoder.head.weight"], weights["decoder.head.weight"])
    other = MaskedAutoencodingConfig(decoder_dim=32, decoder_heads=4, decoder_depth=1)
    _, note = started(folder, VIT, other)
    assert "decoder (objective.decoder_heads is 2 there, 4 here)" in note
    _, note = started(folder, VIT, MaskedAutoencodingConfig(decoder_dim=16, decoder_heads=2, decoder_depth=1))
    assert "mask_token (it is (1, 1, 32) there, (1, 1, 16) here)" in note


def test_another_objective_takes_what_it_has_a_use_for(tmp_path: Path) -> None:
    folder = exported(tmp_path / "a", VIT, AUTOENCODER)
    weights = load_file(folder / "weights.safetensors")
    state, note = started(folder, VIT, EMBEDDING)
    assert note.startswith("loaded encoder, teacher (a copy of the encoder), encoder_norm; afresh: ")
    assert "predictor (not in the weights)" in note
    assert torch.equal(state["teacher.blocks.0.attn.qkv.weight"], weights["encoder.blocks.0.attn.qkv.weight"])
    folder = exported(tmp_path / "b", VJEPA, EMBEDDING)
    weights = load_file(folder / "weights.safetensors")
    weights["teacher.norm.weight"] += 1.0
    checkpoint.write_whole(folder / "weights.safetensors", lambda path: checkpoint.save_file(weights, path))
    state, note = started(folder, VJEPA, AUTOENCODER)
    assert note.startswith("loaded encoder; afresh")
    assert torch.equal(state["encoder.norm.weight"], weights["teacher.norm.weight"])  # the better encoder
    state, note = started(folder, VJEPA, EMBEDDING)
    assert torch.equal(state["encoder.norm.weight"], weights["encoder.norm.weight"])
    assert torch.equal(state["teacher.norm.weight"], weights["teacher.norm.weight"])


def test_an_encoder_alone_is_enough_and_other_heads_are_refused(tmp_path: Path) -> None:
    folder = exported(tmp_path, VIT)
    _, note = started(folder, VIT, AUTOENCODER)
    assert note.startswith("loaded encoder; afresh: optimizer, schedules, decoder (not in the weights)")
    four = ViTConfig(dim=32, heads=4, depth=2, patch=8)
    with pytest.raises(ValueError, match=r"encoder\.heads is 2 there, 4 here"):
        started(folder, four, AUTOENCODER)
    with pytest.raises(ValueError, match=r"encoder\.heads is 2 there, 4 here"):
        start_encoder(four.build(8, 48), str(folder), card_of(four, AUTOENCODER), print)


def test_what_the_encoder_was_fed_otherwise_is_said(tmp_path: Path) -> None:
    folder, notes = exported(tmp_path, VIT), []
    start_encoder(VIT.build(8, 48), str(folder), card_of(VIT, AUTOENCODER), notes.append)
    assert not notes, "fed as this run feeds it"
    card = json.loads((folder / "model.json").read_text())
    card |= {
        "clip": {"frames": 16, "stride": 2, "size": 224, "crop": "square"},
        "pixels": {"mean": [0.5] * 3, "std": [0.25] * 3},
    }
    card |= {"face_crop": {"preset": "openface", "size": 64, "margin": None}}
    (folder / "model.json").write_text(json.dumps(card))
    start_encoder(VIT.build(8, 48), str(folder), card_of(VIT, AUTOENCODER), notes.append)
    pixels, clips, faces = notes
    assert pixels.startswith("warning: ")
    assert pixels.endswith("--pixels.mean 0.5 0.5 0.5 --pixels.std 0.25 0.25 0.25 takes the model's")
    assert "--pixels.mean 0.485 0.456 0.406" in pixels
    assert clips.endswith("--clip.stride 2 --clip.size 224 there, --clip.stride 4 --clip.size 160 here")
    assert "preset openface, size 64" in faces
    notes.clear()
    model = AUTOENCODER.build(VIT.build(8, 48), PixelsConfig())
    start_objective(model, str(folder), card_of(VIT, AUTOENCODER), notes.append)
    assert notes[1:] == [pixels, clips, faces]


def test_pretraining_goes_on_from_official_weights(tmp_path: Path) -> None:
    flags = ["--heads=4", "--decoder-heads=4", "--clip.size=64", "--depths", "2", "3", "2"]
    assert cli.main(["convert", str(DATA / "svfap_pretrain.safetensors"), str(tmp_path / "official"), *flags]) == 0
    encoder = TPSBTConfig(dim=48, heads=4, depths=(2, 3, 2), bottleneck=3)
    objective = MaskedAutoencodingConfig(decoder_dim=32, decoder_heads=4, decoder_depth=2)
    notes: list[str] = []
    model = objective.build(encoder.build(16, 64), PixelsConfig())
    start_objective(model, str(tmp_path / "official"), card_of(encoder, objective), notes.append)
    assert notes[0].endswith("afresh: optimizer, schedules")
    assert equal(dict(model.state_dict()), load_file(tmp_path / "official" / "weights.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_several_ranks_go_on_from_the_same_weights(parallel: str, corpus: Path, tmp_path: Path) -> None:
    before = pretrained(corpus, tmp_path / "before", *TINY_VJEPA)
    still = ["--optim.lr=0", "--optim.min-lr=0", "--objective.momentum", "1", "1", f"--init={tmp_path / 'before'}"]
    torchrun("pretrain", corpus, tmp_path / "after", 2, f"--train.parallel={parallel}", *still)
    assert equal(before, load_file(tmp_path / "after" / "weights.safetensors"))


def test_v_jepa_starts_as_published() -> None:
    torch.manual_seed(0)
    encoder = VJEPAConfig(dim=96, heads=4, depth=3, patch=8).build(8, 48)
    objective = JointEmbeddingConfig(predictor_dim=96, predictor_heads=4, predictor_depth=3).build(
        encoder, PixelsConfig()
    )
    for blocks in (encoder.blocks, objective.predictor.blocks):
        for layer, block in enumerate(blocks, start=1):
            assert isinstance(block, Block)
            assert block.attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert block.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
            for last in (block.attn.proj, block.mlp.fc2):
                assert last.weight.std().item() == pytest.approx(0.02 / (2 * layer) ** 0.5, rel=0.05)
                assert last.bias is not None
                assert not last.bias.any()
    assert isinstance(encoder.patch_embed, PatchEmbed)
    assert encoder.patch_embed.proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert all(not token.any() for token in objective.predictor.mask_tokens)
    head = AttentiveHeadConfig(heads=4).build(96, 7)
    assert isinstance(head, AttentiveHead)
    assert head.value.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert head.mlp.fc2.weight.std().item() == pytest.approx(0.02 / 2**0.5, rel=0.05)


@pytest.mark.parametrize("config", [VIT, TPSBTConfig(dim=96, heads=4, depths=(1, 2), bottleneck=2, patch=8)])
def test_autoencoders_start_as_published(config: Any) -> None:
    torch.manual_seed(0)
    encoder = config.build(8, 48)
    objective = AUTOENCODER.build(encoder, PixelsConfig())
    for blocks in (encoder.blocks, objective.decoder.blocks):
        for block in blocks:
            assert isinstance(block, Block)
            for layer in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
                bound = (6 / sum(layer.weight.shape)) ** 0.5  # Xavier, uniform
                assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.02)
    bound = (1 / encoder.patch_embed.proj.weight[0].numel()) ** 0.5  # left as PyTorch makes convolutions
    assert encoder.patch_embed.proj.weight.abs().max().item() == pytest.approx(bound, rel=0.02)
    assert 0.01 < objective.mask_token.abs().max().item() <= 0.02
