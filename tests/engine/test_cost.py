"""mien cost, and the preflight of what trains: what is to come is said, what cannot fit is refused, nothing is changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from conftest import ONE_PROCESS, TINY_DECODER, TINY_TPSBT, TINY_VJEPA
from mien import cli
from mien.encoders.tpsbt import TPSBTConfig
from mien.encoders.vit import ViTConfig
from mien.engine import memory
from mien.engine.cost import forward_macs, measure, noise_batch
from mien.modules.pixels import PixelsConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.training import preflight
from toy_models import write_model

CPU = torch.device("cpu")


def objective():
    torch.manual_seed(0)
    encoder = TPSBTConfig(dim=32, heads=2, depths=(1, 2), bottleneck=2, patch=8).build(8, 32)
    config = MaskedAutoencodingConfig(decoder_dim=32, decoder_heads=2, decoder_depth=1)
    return config.build(encoder, PixelsConfig())


def test_measuring_leaves_weights_gradients_mode_and_chance_alone() -> None:
    model = objective().eval()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    cost = measure(model, lambda n: model(noise_batch(n, 8, 32, CPU))["loss"], 3 * 8 * 32**2, CPU)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not model.training
    assert cost.parameters == sum(p.numel() for p in model.parameters())


def test_memory_grows_with_clips_by_what_autograd_keeps() -> None:
    model = objective()
    cost = measure(model, lambda n: model(noise_batch(n, 8, 32, CPU))["loss"], 3 * 8 * 32**2, CPU)
    found: dict[int, int] = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: found.setdefault(t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()) and t, lambda t: t
    ):
        model(noise_batch(16, 8, 32, CPU))
    kept = sum(found.values())
    assert 0.5 * kept < cost.fixed + 16 * cost.per_clip < 1.5 * kept
    assert cost.memory(20) - cost.memory(10) == pytest.approx(10 * cost.bytes_per_clip)


def test_products_of_a_transformer_by_hand() -> None:
    encoder = ViTConfig(dim=32, heads=2, depth=2, patch=8, tubelet=2).build(8, 32)
    tokens, dim = 4 * 4 * 4, 32
    embed = tokens * (3 * 2 * 8 * 8) * dim
    block = tokens * dim * 12 * dim + 2 * tokens * tokens * dim
    counted = forward_macs(encoder, lambda n: encoder(torch.zeros(n, 3, 8, 32, 32)).sum())
    assert counted == embed + 2 * block


def train(corpus: Path, output: Path, *flags: str, command: str = "pretrain") -> int:
    common = [f"--data.manifest={corpus}", f"--output={output}", "--train.steps=2", "--train.batch=8", *ONE_PROCESS]
    model = [*TINY_TPSBT, *(TINY_DECODER if command == "pretrain" else [])]
    return cli.main([command, *common, *model, *flags])


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_what_does_not_fit_is_refused_before_anything_is_made(
    command, corpus, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "available", lambda device: 1000)
    assert train(corpus, tmp_path / "run", command=command) == 1
    said = capsys.readouterr()
    assert "million parameters" in said.out
    for way in ("--train.batch", "--clip.size", "encoder", "tiny"):
        assert way in said.err
    assert not (tmp_path / "run").exists()


def test_a_split_of_the_batch_that_fits_is_named(
    corpus, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = objective()
    cost = measure(model, lambda n: model(noise_batch(n, 8, 32, CPU))["loss"], 3 * 8 * 32**2, CPU)
    monkeypatch.setattr(preflight, "available", lambda device: cost.memory(3) - cost.weights)
    assert train(corpus, tmp_path / "run") == 1
    assert "--train.accumulate 4" in capsys.readouterr().err
    assert train(corpus, tmp_path / "run", "--train.accumulate=4") == 0
    said = capsys.readouterr().out
    assert "a step of 2 clips at once" in said
    assert "for 2 steps" in said


@pytest.mark.parametrize("mixing", [True, False])
def test_no_split_is_named_that_leaves_a_clip_alone_to_be_mixed(
    mixing, corpus, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "available", lambda device: 15 * 10**8)
    monkeypatch.setattr(preflight, "needed", lambda cost, clip, train, micro, session: micro * 1e9)
    flags = [] if mixing else ["--task.mixup=0", "--task.cutmix=0"]
    assert train(corpus, tmp_path / "run", *flags, command="finetune") == 1
    assert ("--train.accumulate 8" in capsys.readouterr().err) is not mixing


def test_memory_that_runs_out_names_what_to_lower(
    corpus, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mien.commands.pretrain.fit", lambda *_, **__: torch.empty(2**60))
    assert train(corpus, tmp_path / "run") == 1
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    assert "memory ran out" in message
    for way in ("--train.batch", "--train.accumulate", "--clip.size", "encoder", "--train.workers"):
        assert way in message


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"), True),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("a recipe is sections and keys"), False),
    ],
)
def test_shortage_is_told_from_other_faults(error: Exception, short: bool) -> None:
    assert memory.is_out_of_memory(error) is short


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    assert memory.container_memory(tmp_path) is None
    (tmp_path / "memory.current").write_text("600\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 50\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.container_memory(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory.container_memory(tmp_path) == 450


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        (["svfap_tiny"], "0.41 million"),
        (["svfap_finetune", "tiny"], "0.31 million"),
        (["pretrain", *TINY_VJEPA], "million"),
    ],
)
def test_cost_of_a_recipe(arguments: list[str], parameters: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cost", *arguments, "--train.device=cpu", "--train.steps=100"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == ["parameters", "products", "memory", "there", "time", "whole"]
    assert parameters in lines["parameters"]
    assert "for 100 steps" in lines["whole"]


def test_cost_of_probes(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = {"encoder": {"name": "vit", "dim": 32, "heads": 2, "depth": 2, "patch": 8}, "pixels": {}}
    card |= {"clip": {"frames": 8, "size": 32}}
    (tmp_path / "model.json").write_text(json.dumps(card))  # weights are not needed
    asked = ["cost", "vjepa_probe", f"--model={tmp_path}", "--device=cpu"]
    assert cli.main(asked) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == ["model", "parameters", "products", "memory", "there", "time"]
    assert "million frozen, 1 probes of " in lines["parameters"]
    assert f"over its {8 * 64} tokens" in lines["products"], "eight segments at once"
    assert "4.3 GB for features" in lines["memory"], "as many as may be kept"
    assert (
        cli.main(
            [*asked, f"--data.manifest={corpus}", "--validation=subject=s001", "--test=subject=s000", "--features.live"]
        )
        == 0
    )
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    train, validation, test = 14, 7, 7
    assert f"features of {8 * (20 * train + 3 * (20 * validation + test))} views" in lines["whole"]
    assert " 0 MB for features" in lines["memory"]


def test_probes_say_what_is_to_come_and_are_refused_where_they_do_not_fit(
    corpus, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "model")
    flags = [f"--model={model}", f"--data.manifest={corpus}", f"--output={tmp_path / 'probe'}", "--device=cpu"]
    more = [
        "--workers=0",
        "--segments=2",
        "--validation=subject=s001",
        "--probe.epochs=1",
        f"--features.folder={tmp_path / 'features'}",
    ]
    monkeypatch.setattr(preflight, "available", lambda device: 1000)
    assert cli.main(["probe", *flags, *more]) == 1
    said = capsys.readouterr()
    assert "million frozen parameters, 6 probes" in said.out
    assert "--probe.batch" in said.err
    assert not (tmp_path / "probe").exists()
    assert not (tmp_path / "features").exists()


def test_quick_steps_are_timed_over_as_many_clips_as_a_micro_step_has() -> None:
    layer, clips = nn.Linear(2, 2), list[int]()

    def loss(count: int) -> Tensor:
        clips.append(count)
        return layer(torch.ones(count, 2)).sum()

    assert measure(layer, loss, 2, CPU, most=24).timed_clips == max(clips) == 24
    assert measure(layer, loss, 2, CPU).timed_clips == 2
