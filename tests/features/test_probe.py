"""Frozen features are computed once and never stale; probes over them are those over live ones, chosen on validation."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from conftest import DATA, ONE_PROCESS, TINY_VJEPA
from mien import cli
from mien.commands import convert, evaluate, probe
from mien.config import parse
from mien.encoders.vjepa import VJEPAConfig
from mien.features.cache import Features, ProbeFeatureConfig
from mien.features.frozen import Frozen, load_encoder
from mien.features.probes import Best, ProbeConfig, train_probes
from mien.modules.heads import AttentiveHeadConfig, MeanHeadConfig, StandardisedHead
from mien.modules.pixels import Pixels
from mien.tasks.classification import ClassificationConfig
from mien.tasks.regression import RegressionConfig
from mien.video.manifest import read_manifest
from mien.video.transforms import AugmentConfig
from mien.video.views import ViewConfig

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a V-JEPA pre-trained for two steps."""
    folder = tmp_path_factory.mktemp("vjepa")
    flags = [
        f"--data.manifest={corpus}",
        "--data.select=fold=1",
        f"--output={folder}",
        "--train.steps=2",
        "--train.batch=4",
    ]
    assert cli.main(["pretrain", *flags, *TINY_VJEPA, *ONE_PROCESS]) == 0
    return folder


def features(encoder: Path, corpus: Path, folder: Path, **options: Any) -> Features:
    """Features of all clips, prepared; options go to where they belong."""
    source = options.pop("source", None) or load_encoder(encoder, CPU)
    views = ViewConfig(segments=2, crops=options.pop("crops", 1), batch=options.pop("batch", 32))
    clip = options.pop("clip", source.clip)
    changes = options.pop("augmentation", None)
    options.setdefault("dtype", "fp32")
    config = ProbeFeatureConfig(folder=folder, **options)
    clips = read_manifest(corpus)
    found = Features(source.encoder, Pixels(source.pixels), clips, clip, views, config, CPU, changes)
    found.prepare()
    return found


def kept(folder: Path) -> set[Path]:
    return set(folder.rglob("*.safetensors"))


def probed(encoder: Path, corpus: Path, output: Path, *more: str) -> list[dict]:
    flags = [
        f"--model={encoder}", f"--data.manifest={corpus}", f"--output={output}", "--train=fold=1",
        "--validation=subject=s001", "--test=subject=s003", "--segments=2", "--views.crops=1", "--probe.epochs=2",
        "--workers=0", f"--features.folder={output / 'features'}", "--features.dtype=fp32", *more,
    ]  # fmt: skip
    return probe.run(parse(probe.Config, flags, prog="mien probe")).rows


def test_kept_features_are_the_live_ones(encoder: Path, corpus: Path, tmp_path: Path) -> None:
    stored = features(encoder, corpus, tmp_path)
    live = features(encoder, corpus, tmp_path / "none", live=True)
    for i in (0, 5, 27):
        torch.testing.assert_close(stored[i, 0], live[i, 0], rtol=1e-5, atol=1e-5)
    assert not (tmp_path / "none").exists()


def test_batches_and_memory_change_nothing(encoder: Path, corpus: Path, tmp_path: Path) -> None:
    one = features(encoder, corpus, tmp_path / "a", batch=1)
    many = features(encoder, corpus, tmp_path / "b", batch=7, memory=0.0)
    assert not many.held or many.room == 0
    torch.testing.assert_close(one[3, 0], many[3, 0], rtol=1e-5, atol=1e-5)
    assert many.held == {}


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp16", 1e-3), ("bf16", 8e-3)])
def test_half_precision_stays_within_its_tolerance(
    encoder: Path, corpus: Path, tmp_path: Path, dtype, tolerance
) -> None:
    whole, half = features(encoder, corpus, tmp_path), features(encoder, corpus, tmp_path, dtype=dtype)
    error = (whole[0, 0] - half[0, 0]).abs()
    assert error.max() > 0
    assert (error <= tolerance * whole[0, 0].abs() + 1e-6).all()


def test_a_changed_byte_weight_or_setting_meets_no_stale_feature(encoder: Path, corpus: Path, tmp_path: Path) -> None:
    copied, folder = tmp_path / "corpus", tmp_path / "features"
    shutil.copytree(corpus.parent, copied)
    table = copied / "manifest.csv"
    features(encoder, table, folder)
    first = kept(folder)
    assert len(first) == 28
    features(encoder, table, folder)
    assert kept(folder) == first

    video = read_manifest(table)[0].path
    video.write_bytes(video.read_bytes() + b"\0")
    features(encoder, table, folder)
    assert len(kept(folder)) == 29

    source = load_encoder(encoder, CPU)
    with torch.no_grad():
        source.encoder.get_parameter("norm.bias")[0] += 1e-6
    features(encoder, table, folder, source=source)
    assert len(kept(folder)) == 29 + 28
    for changed in (
        {"clip": replace(source.clip, stride=1)},
        {"crops": 3},
        {"dtype": "fp16"},
        {"pool": 2},
        {
            "source": Frozen(
                "x", source.encoder, source.config, source.clip, replace(source.pixels, mean=(0.0, 0.0, 0.0))
            )
        },
    ):
        before = len(kept(folder))
        features(encoder, table, folder, **changed)
        assert len(kept(folder)) == before + 28, changed


def test_moved_videos_keep_their_features_and_interrupted_work_goes_on(encoder: Path, corpus: Path, tmp_path) -> None:
    folder = tmp_path / "features"
    features(encoder, corpus, folder)
    shutil.copytree(corpus.parent, tmp_path / "moved")
    features(encoder, tmp_path / "moved" / "manifest.csv", folder)
    files = kept(folder)
    assert len(files) == 28
    times = {file: os.stat(file).st_mtime_ns for file in files}
    lost = min(files)
    lost.unlink()
    features(encoder, corpus, folder)
    assert {f for f in files if os.stat(f).st_mtime_ns != times[f]} == {lost}


def test_augmented_variants_differ_and_come_back(encoder: Path, corpus: Path, tmp_path: Path) -> None:
    changes = AugmentConfig(scales=(), area=(0.3, 0.8))
    found = features(encoder, corpus, tmp_path, variants=2, augmentation=changes)
    assert len(kept(tmp_path)) == 56
    assert not torch.equal(found[0, 0], found[0, 1])
    assert torch.equal(found[0, 0], found[0, 2])


def test_many_probes_at_once_are_each_what_they_are_alone() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(24, 5, 16), torch.arange(24) % 3

    def first(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return AttentiveHeadConfig(heads=2).build(16, 3)

    def trained(lrs: tuple[float, ...], seeds: int = 1) -> tuple[nn.ModuleList, list[Best]]:
        config = ProbeConfig(lrs=lrs, weight_decays=(0.1,), epochs=2, batch=8, seeds=seeds)
        heads = config.start(first)
        scores: list[list[float]] = []

        def validate(heads: nn.ModuleList) -> list[float]:
            scores.append([-F.cross_entropy(head(x), y).item() for head in heads])
            return scores[-1]

        batches = ([(x[i : i + 8], y[i : i + 8]) for i in (0, 8, 16)] for _ in range(2))
        judge = lambda raw, target: {"loss": F.cross_entropy(raw, target)}  # noqa: E731
        best = train_probes(heads, judge, batches, 6, config, validate)
        for seed, one in enumerate(best):
            mine = [line[seed * len(lrs) : (seed + 1) * len(lrs)] for line in scores]
            assert one.score == max(map(max, mine))
            assert mine[one.epoch - 1][one.probe] == one.score
        return heads, best

    together, best = trained((1e-2, 1e-3), seeds=2)
    assert len(together) == 4
    assert len(best) == 2
    for i, lr in enumerate((1e-2, 1e-3)):
        alone, _ = trained((lr,))
        for a, b in zip(together[i].parameters(), alone[0].parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert not torch.equal(*(together[i].get_parameter("linear.weight") for i in (0, 2)))


def test_standardising_makes_small_channels_count_and_travels_with_the_weights() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(64, 5, 16) * torch.logspace(-3, 2, 16) + 10
    head = AttentiveHeadConfig(heads=2, standardise=True).build(16, 3)
    assert isinstance(head, StandardisedHead)
    head.standard.fit(tokens.split(10))
    seen = head.standard(tokens).flatten(0, 1)
    torch.testing.assert_close(seen.mean(0), torch.zeros(16), atol=2e-2, rtol=0)  # fp32 tokens around 10
    torch.testing.assert_close(seen[:, 4:].std(0), torch.ones(12), atol=2e-2, rtol=0)
    again = AttentiveHeadConfig(heads=2, standardise=True).build(16, 3)
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(tokens), head(tokens))


@pytest.mark.parametrize("head", ["attentive", "mean"])
def test_a_probe_over_kept_features_is_the_one_over_live_features(encoder, corpus, tmp_path, head) -> None:
    flag = f"--head.name={head}"
    stored = probed(encoder, corpus, tmp_path / "stored", flag)
    live = probed(encoder, corpus, tmp_path / "live", flag, "--features.live")
    for key in ("validation", "UAR", "WAR", "lr", "epoch"):
        assert stored[0][key] == pytest.approx(live[0][key])
    a, b = (load_file(next((tmp_path / n).glob("*/weights.safetensors"))) for n in ("stored", "live"))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5)


def test_the_choice_never_looks_at_the_test_clips(encoder: Path, corpus: Path, tmp_path: Path) -> None:
    table = pd.read_csv(corpus)
    table["path"] = [str(corpus.parent / p) for p in table["path"]]
    other = table.copy()
    marked = other.subject == "s003"
    other.loc[marked, "expression"] = other.loc[marked, "expression"].to_numpy()[::-1]
    rows = []
    for name, rows_ in (("a", table), ("b", other)):
        rows_.to_csv(tmp_path / f"{name}.csv", index=False)
        rows.append(probed(encoder, tmp_path / f"{name}.csv", tmp_path / name)[0])
    same = ("lr", "weight decay", "epoch", "validation")
    assert [rows[0][key] for key in same] == [rows[1][key] for key in same]
    a, b = (pd.read_csv(tmp_path / name / encoder.name / "evaluation" / "predictions.csv") for name in "ab")
    assert a.predicted.tolist() == b.predicted.tolist()
    assert a.truth.tolist() != b.truth.tolist()


def test_people_in_two_parts_are_refused(encoder: Path, corpus: Path, tmp_path: Path) -> None:
    flags = [f"--model={encoder}", f"--data.manifest={corpus}", f"--output={tmp_path}", "--workers=0"]
    config = parse(probe.Config, [*flags, "--train=fold=1", "--validation=fold=2", "--test=fold=2"], prog="mien probe")
    with pytest.raises(ValueError, match="validation and test share"):
        probe.run(config)


def test_baselines_stand_in_one_table_and_the_probe_serves_as_model(
    encoder, corpus, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = probed(encoder, corpus, tmp_path, "--baselines")
    assert [row["features"] for row in rows] == [encoder.name, "vjepa, random weights", "raw pixels, linear"]
    assert all(0 <= row["UAR"] <= 1 for row in rows)
    printed = capsys.readouterr().out
    assert all(row["features"] in printed for row in rows)
    assert (tmp_path / "report.html").stat().st_size > 0
    assert json.loads((tmp_path / "probe.json").read_text()) == rows
    flags = [
        f"--model={tmp_path / encoder.name}",
        f"--data.manifest={corpus}",
        "--data.select=subject=s003",
        "--workers=0",
    ]
    marked = evaluate.run(parse(evaluate.Config, flags, prog="mien evaluate"))
    assert marked.scores["UAR"] == pytest.approx(rows[0]["UAR"])


def test_options_that_would_be_lost_are_refused(encoder: Path, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same name"):
        probe.run(probe.Config(model=(encoder, tmp_path / encoder.name)))
    with pytest.raises(ValueError, match="--segments"):
        probed(encoder, corpus, tmp_path, "--task.segments=2")
    with pytest.raises(ValueError, match="at once"):
        probed(encoder, corpus, tmp_path, "--views.segments=4")


def test_regression_probes(encoder: Path, corpus: Path, tmp_path: Path) -> None:
    row = probed(encoder, corpus, tmp_path, "--task.name=regression")[0]
    assert {"CCC", "PCC"} <= row.keys()


def test_features_for_other_tools(encoder: Path, corpus: Path, tmp_path: Path) -> None:
    flags = ["extract-features", f"--model={encoder}", f"--data.manifest={corpus}", "--workers=0", "--views.sliding=1"]
    flags += [f"--features.folder={tmp_path / 'kept'}", "--features.dtype=fp32"]
    assert cli.main([*flags, f"--output={tmp_path}"]) == 0
    assert cli.main([*flags, f"--output={tmp_path}", "--format=npy", "--tokens"]) == 0
    table = pd.read_parquet(tmp_path / "features.parquet")
    tokens = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert len(table) == len(tokens) == 28 * 2  # 16 frames hold two windows of 8 at stride 2
    assert tokens.shape[1:] == (4 * 16, 32)
    channels = table[[f"feature_{i}" for i in range(32)]].to_numpy()
    np.testing.assert_allclose(channels, tokens.mean(axis=1), rtol=1e-4, atol=1e-5)
    assert (table.t_end > table.t_start).all()
    assert table.t_start[:2].tolist() == pytest.approx([0.0, 1 / 25], abs=0.02)
    assert cli.main([*flags, f"--output={tmp_path}", "--tokens"]) == 1


def official(folder: Path) -> Path:
    """A V-JEPA 1 checkpoint as published, and its probe's."""
    vectors = load_file(DATA / "vjepa.safetensors")
    parts: dict[str, dict] = {}
    for key, value in vectors.items():
        part, _, name = key.partition("/")
        if name:
            parts.setdefault(part, {})[name] = value
    torch.save({"classifier": parts.pop("classifier"), "epoch": 20}, folder / "probe.pth.tar")
    torch.save(parts | {"epoch": 300, "opt": None}, folder / "jepa.pth.tar")
    return folder / "jepa.pth.tar"


def test_v_jepa_1_converts_with_its_probe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [str(official(tmp_path)), "--heads=4"]
    convert_to = lambda *more: convert.run(parse(convert.Config, [*flags, *more], prog="mien convert"))  # noqa: E731
    convert_to(str(tmp_path / "jepa"))
    frozen = load_encoder(tmp_path / "jepa", CPU)
    vectors = load_file(DATA / "vjepa.safetensors")
    target = {k.split("backbone.")[1]: v for k, v in vectors.items() if k.startswith("target_encoder/")}
    assert torch.equal(
        frozen.encoder.get_parameter("norm.weight"), target["norm.weight"]
    )  # the teacher is what is used frozen
    names = ["--names", *"abcdefgh"]
    convert_to(str(tmp_path / "classes"), f"--probe={tmp_path / 'probe.pth.tar'}", "--segments=2", *names)
    about = json.loads((tmp_path / "classes" / "model.json").read_text())
    assert about["task"]["segments"] == 2
    with pytest.raises(ValueError, match="8 classes"):
        convert_to(str(tmp_path / "x"), f"--probe={tmp_path / 'probe.pth.tar'}", "--names", "a")


def test_v_jepa_2_folder_converts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import VJEPA2Config, VJEPA2Model

    small = VJEPA2Config(
        patch_size=8, crop_size=32, frames_per_clip=8, hidden_size=48, num_attention_heads=3, num_hidden_layers=2,
        mlp_ratio=4.0, pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1,
    )  # fmt: skip
    VJEPA2Model(small).save_pretrained(tmp_path / "official")
    flags = [str(tmp_path / "official"), str(tmp_path / "ours"), "--clip.frames=8", "--clip.size=32"]
    convert.run(parse(convert.Config, flags, prog="mien convert"))
    assert "predictor is left out" in capsys.readouterr().out
    config = load_encoder(tmp_path / "ours", CPU).config
    assert isinstance(config, VJEPAConfig)
    assert config.positions == "rotary"


def test_a_kind_named_keeps_the_commands_own_defaults() -> None:
    read = lambda *flags: parse(probe.Config, flags, prog="x")  # noqa: E731
    assert read("--head.name=attentive", "--head.depth=4").head == AttentiveHeadConfig(depth=4, standardise=True)
    assert read("--head.name=mean").head == MeanHeadConfig()
    task = read("--task.name=classification").task
    assert isinstance(task, ClassificationConfig)
    assert task.smoothing == 0.0  # as without the flag
    assert read("--task.name=regression").task == RegressionConfig()
