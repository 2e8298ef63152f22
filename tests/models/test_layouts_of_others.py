"""What ``mien convert`` makes of weights computes what their owners' networks compute."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import mien
import owners
from mien import cli, downloads
from mien.commands import probe
from mien.config import parse
from mien.encoders.vjepa import VJEPAConfig
from mien.engine import checkpoint
from mien.features.frozen import Frozen, load_encoder
from mien.models.card import ModelCard
from mien.modules.pixels import Pixels, PixelsConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.training.initial_weights import start_objective
from mien.video.manifest import read_manifest
from mien.video.views import ViewConfig, ViewDataset, distinct_views
from owners import LAYOUTS, Published, Size

CPU = torch.device("cpu")


def convert(published: Published, size: Size, output: Path, *flags: str) -> int:
    known = (f"--heads={size.heads}", f"--clip.frames={size.frames}", f"--clip.size={size.side}")
    return cli.main(["convert", str(published.path), str(output), *known, *published.flags, *flags])


def reading(folder: Path, published: Published) -> Tensor:
    """What the converted model makes of the same clip."""
    if published.read == "probabilities":
        return mien.load(folder, device="cpu").task.predict({"video": published.video})
    frozen = load_encoder(folder, CPU)
    if published.read == "tokens":
        return frozen.encoder(published.video)
    features = frozen.encoder.features(published.video)
    return frozen.pool(features) if published.read == "pooled" else features


def card(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text())


@torch.no_grad()
@pytest.mark.parametrize("name", LAYOUTS)
def test_outputs_are_the_owners(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    (tmp_path / "theirs").mkdir()
    published = layout.write(tmp_path / "theirs", layout.small)
    assert convert(published, layout.small, tmp_path / "ours") == 0
    ours = reading(tmp_path / "ours", published)
    assert ours.std() > 0.01
    torch.testing.assert_close(ours, published.outputs, rtol=1e-5, atol=1e-5)


@pytest.fixture
def marlin(tmp_path: Path) -> Published:
    (tmp_path / "theirs").mkdir()
    return owners.marlin_full(tmp_path / "theirs", owners.TINY)


def test_what_marlin_was_trained_with_travels_in_the_card(
    marlin: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["convert", str(marlin.path), str(tmp_path / "ours"), "--heads=4"]) == 0
    assert "left out: enc_dec_proj, decoder" in capsys.readouterr().out
    about = card(tmp_path / "ours")
    assert about["encoder"]["eps"] == 1e-5
    assert about["pixels"] == {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    assert about["pooling"] == "norm of mean"
    assert [about["clip"][key] for key in ("frames", "stride", "size")] == [16, 2, 224]


def test_marlin_with_another_table_is_refused(
    marlin: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = torch.load(marlin.path)
    weights["encoder.pos_embedding.emb"] += 0.01
    torch.save(weights, marlin.path)
    assert convert(marlin, owners.TINY, tmp_path / "ours") == 1
    assert "not the fixed sinusoid table" in capsys.readouterr().err
    assert not (tmp_path / "ours").exists()


def test_pre_training_goes_on_from_marlin_with_its_norm(marlin: Published, tmp_path: Path) -> None:
    """Its decoder read the normed tokens, as a masked autoencoder's does."""
    assert convert(marlin, owners.TINY, tmp_path / "ours") == 0
    about = ModelCard.load(tmp_path / "ours")
    objective = MaskedAutoencodingConfig().build(about.initial_encoder(), PixelsConfig())
    said: list[str] = []
    own = replace(about, objective=MaskedAutoencodingConfig(), pooling=None)
    start_objective(objective, str(tmp_path / "ours"), own, said.append)
    assert "loaded encoder, encoder_norm;" in said[0]
    assert objective.encoder_norm.eps == 1e-5
    assert not torch.equal(objective.encoder_norm.weight, torch.ones(48))


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("base", 86_833_152), ("giant", 1_013_267_968)],
)
def test_v_jepa_2_1_has_as_many_parameters_as_published(size: str, parameters: int) -> None:
    """Counted by others; besides the encoder here a file has three norms, a patch embedding of pictures and two vectors."""
    with torch.device("meta"):
        encoder = VJEPAConfig.sized(size).build(16, 384)
    dim = encoder.dim
    outside = 3 * 2 * dim + dim * (3 * 16 * 16 + 1) + 2 * dim
    assert sum(p.numel() for p in encoder.parameters()) + outside == parameters


def test_levels_must_end_with_the_last_block() -> None:
    for levels in ((2, 3), (4, 2), (2, 2, 4)):
        with pytest.raises(ValueError, match="end with the last block"):
            VJEPAConfig(depth=4, levels=levels)


def test_levels_of_an_unpublished_depth_are_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = owners.vjepa_2_1(tmp_path, Size(36, 2, 4, 72))
    assert convert(published, Size(36, 2, 4, 72), tmp_path / "ours", "--levels=all") == 1
    assert "after which of 4 blocks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "who"),
    [
        (["lg_region_tokens", "blocks.0.first_attn.q.weight"], "MAE-DFER"),
        (["encoder.lg_region_tokens", "encoder_audio.blocks.0.norm1.weight"], "AVF-MAE++"),
        (["encoder.patch_embed.proj.weight", "encoder.blocks.0.attn.q_bias", "encoder_audio.norm.weight"], "HiCMAE"),
    ],
)
def test_what_is_not_imported_yet_is_named(
    names: list[str], who: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": {name: torch.zeros(2) for name in names}}, tmp_path / "x.pth")
    assert cli.main(["convert", str(tmp_path / "x.pth"), str(tmp_path / "ours")]) == 1
    assert f"{who}, which is not imported yet" in capsys.readouterr().err


def test_levels_is_of_v_jepa_2_1_alone(marlin: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(marlin, owners.TINY, tmp_path / "ours", "--levels=all") == 1
    assert "--levels is of V-JEPA 2.1's encoder" in capsys.readouterr().err


def test_encoders_by_name_are_probed_in_one_table(
    marlin: Published, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The four levels of V-JEPA 2.1 side by side are what its probe reads."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MIEN_MODELS", raising=False)
    cache = downloads.cache()
    (tmp_path / "21").mkdir()
    size = Size(36, 2, 12, 72, patch=32)
    assert convert(marlin, replace(owners.TINY, side=32), cache / "marlin-small") == 0
    assert convert(owners.vjepa_2_1_levels(tmp_path / "21", size), size, cache / "vjepa2.1-base") == 0
    flags = [
        "--model", "marlin-small", "vjepa2.1-base", f"--data.manifest={corpus}", f"--output={tmp_path / 'probes'}",
        "--train=fold=1", "--validation=subject=s001", "--test=subject=s003", "--segments=1", "--views.crops=1",
        "--views.segments=1", "--probe.epochs=1", "--workers=0", f"--features.folder={tmp_path / 'features'}", "--leaks-allowed",
    ]  # fmt: skip
    rows = probe.run(parse(probe.Config, flags, prog="mien probe")).rows
    assert [row["features"] for row in rows] == ["marlin-small", "vjepa2.1-base"]
    head = mien.load(tmp_path / "probes" / "vjepa2.1-base", device="cpu").task.head
    assert head.pool(torch.zeros(1, 3, 4 * 36)).shape == (1, 4 * 36)


def test_features_are_pooled_as_the_owners_do(marlin: Published, corpus: Path, tmp_path: Path) -> None:
    assert convert(marlin, replace(owners.TINY, side=32), tmp_path / "ours") == 0
    flags = [
        f"--model={tmp_path / 'ours'}", f"--data.manifest={corpus}", "--data.select=subject=s003", "--workers=0",
        f"--features.folder={tmp_path / 'kept'}", "--features.dtype=fp32", "--matmul=highest", "--views.segments=1", "--views.crops=1",
    ]  # fmt: skip
    for more in ([f"--output={tmp_path / 'a'}"], [f"--output={tmp_path / 'b'}", "--tokens", "--format=npy"]):
        assert cli.main(["extract-features", *flags, *more]) == 0
    tokens = torch.from_numpy(np.load(tmp_path / "b" / "features.npy"))
    pooled = pd.read_parquet(tmp_path / "a" / "features.parquet").filter(like="feature_").to_numpy().copy()
    frozen, weights = load_encoder(tmp_path / "ours", CPU), checkpoint.read_weights(tmp_path / "ours")
    scale, shift = weights["encoder_norm.weight"], weights["encoder_norm.bias"]
    plain = frozen.encoder.features(first_clip(corpus, frozen))
    for mine, theirs in ((tokens[0], plain[0]), (torch.from_numpy(pooled)[0], plain[0].mean(dim=0))):
        expected = torch.nn.functional.layer_norm(theirs, (48,), scale, shift, 1e-5)
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5, check_dtype=False)


def first_clip(corpus: Path, frozen: Frozen) -> Tensor:
    """The first window of the first clip of a person, normalised."""
    clips = [clip for clip in read_manifest(corpus) if clip.columns["subject"] == "s003"]
    view = ViewDataset(clips, frozen.clip, ViewConfig(segments=1, crops=1))[0]
    return Pixels(frozen.pixels)(next(iter(distinct_views(view)))[None])


def test_a_model_of_the_hub_may_be_named_where_a_path_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path has lost one of the two slashes."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match="needs the extra hub"):
        checkpoint.model_folder(Path("hf://somebody/model@main"))
