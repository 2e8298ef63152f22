"""Explanations: a model that looks at a known place is caught at it, and what a map must survive is measured."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import ONE_PROCESS, TINY_DECODER, TINY_TPSBT
from mien.cli import main
from mien.encoders.tpsbt import TPSBTConfig
from mien.explanations.checks import randomised_copy, removal_curves, similarity
from mien.explanations.explanation import MapConfig, occlusion_maps, randomisation_correlations
from mien.explanations.face_windows import FaceWindows, WindowClips, evenly_spaced, read_face
from mien.explanations.map_overlay import MapWindow, map_over_frame
from mien.explanations.occlusion import (
    box_losses,
    boxes,
    mean_over_boxes,
    occlusion_map,
    spatial_map,
    temporal_map,
    with_hidden_box,
)
from mien.explanations.question import question_about, window_outputs
from mien.explanations.reconstruction import error_map, load_autoencoder
from mien.inference.analyzer import Analyzer, load
from mien.inference.predict import ReadConfig
from mien.inference.sources import open_source
from mien.modules.layers import patchify
from mien.modules.pixels import PixelsConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.video.decode import open_video
from mien.video.manifest import read_manifest

GRID, PATCH = (4, 4, 4), (2, 8, 8)
PLACE = (2, 1, 2)


class Looker(nn.Module):
    """Answers by the contrast of the patches of a clip, above all of those around ``PLACE``."""

    def __init__(self) -> None:
        super().__init__()
        distance = np.linalg.norm(np.indices(GRID).transpose(1, 2, 3, 0) - PLACE, axis=-1)
        self.weight = nn.Parameter(torch.from_numpy(np.exp(-distance).ravel()).float())

    def forward(self, clips: Tensor) -> Tensor:
        contrast = patchify(clips.float() / 255, PATCH, channels_first=True).std(dim=2)  # V patches
        return contrast @ self.weight.detach()


@pytest.fixture(scope="module")
def noise() -> Tensor:
    """A clip in which every patch has contrast."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 8, 32, 32), dtype=np.uint8))


def test_boxes_cover_every_patch_equally_often() -> None:
    covering = boxes((3, 5, 4), (2, 3, 9))
    count = np.zeros((3, 5, 4))
    for box in covering:
        count[box] += 1
    assert (count == 6).all()
    assert (mean_over_boxes(np.ones(len(covering)), covering, (3, 5, 4)) == 1).all()


@pytest.mark.parametrize("fill", ["blur", "mean"])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 2, 2)])
def test_occlusion_finds_the_patch_that_is_looked_at(noise: Tensor, fill, size) -> None:
    importance = occlusion_map(Looker(), noise, GRID, PATCH, size, fill)
    assert np.unravel_index(importance.argmax(), GRID) == PLACE
    assert similarity(importance, Looker().weight.detach().numpy().reshape(GRID)) > 0.85


def test_occlusion_finds_the_moment_and_the_site(noise: Tensor) -> None:
    def motion(clips: Tensor) -> Tensor:
        change = clips.float().diff(dim=2).abs()
        return change[:, :, 4, 8:16, 16:24].mean(dim=(1, 2, 3))  # from frame 4 to 5, in site (1, 2)

    assert temporal_map(motion, noise, GRID, PATCH, 1, "hold", 32).round(3).tolist() == [
        0,
        0,
        pytest.approx(85, abs=8),
        0,
    ]
    where = spatial_map(motion, noise, GRID, PATCH, 1, "mean", 32)
    assert np.unravel_index(where.argmax(), where.shape) == (1, 2)
    assert np.count_nonzero(where) == 1


def test_what_is_hidden_is_gone_and_the_rest_stays(noise: Tensor) -> None:
    box = (slice(1, 2), slice(0, 1), slice(3, 4))
    for fill in ("blur", "mean", "hold"):
        changed = with_hidden_box(noise, box, PATCH, fill)  # pyright: ignore[reportArgumentType]
        differs = (changed != noise).any(dim=0)
        assert differs[2:4, :8, 24:].float().mean() > 0.9
        differs[2:4, :8, 24:] = False
        assert not differs.any()
    first = with_hidden_box(noise, (slice(0, 1), slice(0, 4), slice(0, 4)), PATCH, "hold")
    assert torch.equal(first[:, 0], noise[:, 2])


def test_randomised_weights_destroy_the_map(noise: Tensor) -> None:
    model = Looker()

    def make(copy: Looker) -> list[np.ndarray]:
        return [occlusion_map(copy, noise, GRID, PATCH, (1, 1, 1))]

    maps = make(model)
    before = model.weight.clone()
    left = randomisation_correlations(model, make, maps, draws=5)
    assert torch.equal(model.weight, before)
    assert abs(np.mean(left)) < 0.2
    assert similarity(maps[0], maps[0]) == pytest.approx(1)
    shuffled = randomised_copy(model, 0).weight
    assert torch.equal(shuffled.sort().values, before.sort().values)
    assert not torch.equal(shuffled, before)
    assert similarity(maps[0], np.ones(GRID)) == 0


def test_deletion_and_insertion_tell_the_map_from_random_regions(noise: Tensor) -> None:
    model, regions = Looker(), boxes(GRID, (1, 2, 2))
    values = mean_over_boxes(box_losses(model, noise, regions, PATCH, "blur", 32), regions, GRID)
    good = removal_curves(model, noise, values, regions, PATCH)
    areas = good.areas()
    assert areas["deletion_AUC"] < areas["deletion_AUC_random"]
    assert areas["insertion_AUC"] > areas["insertion_AUC_random"]
    assert areas["deletion_beats_random"] == areas["insertion_beats_random"] == 1
    assert good.deletion[0] == pytest.approx(good.insertion[-1]) == pytest.approx(float(model(noise[None])[0]))
    wrong = removal_curves(model, noise, -values, regions, PATCH).areas()
    assert wrong["deletion_beats_random"] == wrong["insertion_beats_random"] == 0


def test_a_window_gives_its_map_between_its_frames_and_no_further() -> None:
    values = np.arange(4.0)[:, None, None] * np.ones((1, 2, 2))
    window = MapWindow(np.array([10, 12, 14, 16, 18, 20, 22, 24]), values)
    assert window.at(9) is None
    assert window.at(25) is None
    middle = [window.at(n) for n in (10, 11, 13, 24)]
    assert [float(m[0, 0]) for m in middle if m is not None] == [0, 0, 0.5, 3]
    short = MapWindow(np.array([0, 1, 2, 2, 2, 2, 2, 2]), values)
    assert short.at(2) is not None


def test_paint_leaves_grey_what_says_nothing_and_colours_the_rest() -> None:
    frame = np.full((32, 32, 3), 128, np.uint8)
    values = np.zeros((4, 4))
    values[0, 0], values[3, 3] = 1, -1
    painted = map_over_frame(frame, values, (-1, 1), signed=True).astype(int)
    assert abs(painted[16, 16] - 128).max() < 8
    assert painted[2, 2, 0] > painted[2, 2, 2] + 40
    assert painted[-2, -2, 2] > painted[-2, -2, 0] + 40


@pytest.fixture(scope="module")
def runs(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained run, a classifier, a regression, and a classifier that reads two segments at once."""
    folder = tmp_path_factory.mktemp("explain")
    common = [f"--data.manifest={corpus}", "--train.steps=2", "--train.batch=4", *TINY_TPSBT, *ONE_PROCESS]
    more = {
        "pretrain": TINY_DECODER, "classes": [], "values": ["--task.name=regression"], "joint": [],
    }  # fmt: skip
    for name, flags in more.items():
        command = "pretrain" if name == "pretrain" else "finetune"
        scale = ["--task.head.scale=1"] if command == "finetune" else []
        assert main([command, f"--output={folder / name}", *common, *flags, *scale]) == 0
    card = folder / "joint" / "model.json"  # as a probe's folder says it
    about = json.loads(card.read_text())
    card.write_text(json.dumps(about | {"task": about["task"] | {"segments": 2}}))
    return folder


@pytest.fixture(scope="module")
def video(corpus: Path) -> Path:
    return read_manifest(corpus)[0].path


def explain(*arguments: object) -> int:
    flags = ["--faces=whole", "--device=cpu", "--maps.draws=2", "--maps.orders=3"]
    return main(["explain", *map(str, arguments), *flags])


def windows_of(analyzer: Analyzer, video: Path, count: int = 0) -> WindowClips:
    reading = ReadConfig(faces="whole")
    with open_source(video) as source:
        _, there = read_face(analyzer, source, reading, None)
        return FaceWindows(source, reading, analyzer.clip, None, evenly_spaced(there, count)).read()


def test_batch_size_does_not_change_the_maps(runs: Path, video: Path) -> None:
    analyzer = load(runs / "classes", "cpu")
    windows = windows_of(analyzer, video)
    assert len(windows.clips) == 2
    question = question_about(analyzer, windows.clips)
    maps = [np.stack(occlusion_maps(question, MapConfig(batch=batch))) for batch in (1, 7, 64)]
    assert np.ptp(maps[0]) > 1e-3
    np.testing.assert_allclose(maps[1], maps[0], atol=1e-5)
    np.testing.assert_allclose(maps[2], maps[0], atol=1e-5)
    autoencoder, *_ = load_autoencoder(runs / "pretrain", torch.device("cpu"))
    errors = [error_map(autoencoder, windows.clips[0], batch=batch) for batch in (1, 32)]
    np.testing.assert_allclose(errors[0], errors[1], atol=1e-5)


def test_attention_is_the_models_own_and_leaves_its_numbers_alone() -> None:
    torch.manual_seed(0)
    encoder = TPSBTConfig(dim=32, heads=2, depths=(1, 2, 2), bottleneck=3, patch=8).build(8, 32).eval()
    video = torch.randn(2, 3, 8, 32, 32)
    with torch.inference_mode():
        before = encoder.features(video)
        stages = [stage.unflatten(-1, (4, 4)) for stage in encoder.bottleneck_attention(video)]
        assert torch.equal(encoder.features(video), before)
        first = encoder.spatial_downsamples[0]
        kept: list[tuple[Tensor, Tensor]] = []

        def keep(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            kept.append((given[0], out))

        hook = first.register_forward_hook(keep)
        encoder.features(video)
        hook.remove()
    tokens, bottleneck = kept[0]
    assert [stage.shape for stage in stages] == [(2, 2, 3, 4, 4), (2, 1, 3, 4, 4)]
    torch.testing.assert_close(stages[0].flatten(3) @ tokens, bottleneck)
    for stage in stages:
        np.testing.assert_allclose(stage.sum(dim=(3, 4)), 1, atol=1e-5)
    attention = encoder.attention(video).detach()
    assert attention.shape == (2, 4, 4, 4)
    np.testing.assert_allclose(attention.mean(dim=(2, 3)), 1, atol=1e-5)


def test_error_is_larger_where_nothing_can_be_guessed() -> None:
    torch.manual_seed(0)
    encoder = TPSBTConfig(dim=32, heads=2, depths=(1, 2), bottleneck=2, patch=8).build(8, 32)
    config = MaskedAutoencodingConfig(
        decoder_dim=32, decoder_heads=2, decoder_depth=1, mask_ratio=0.5, normalize_target=False
    )
    objective = config.build(encoder, PixelsConfig()).eval()
    video = torch.full((3, 8, 32, 32), 128, dtype=torch.uint8)
    video[:, 4:, :16] = torch.randint(0, 256, (3, 4, 16, 32), dtype=torch.uint8)
    errors = error_map(objective, video)
    assert errors.shape == (4, 4, 4)
    assert errors[2:, :2].min() > errors[2:, 2:].max()
    assert errors[:2].max() < errors[2:, :2].min()
    with pytest.raises(ValueError, match="never hidden"):
        error_map(objective, video, masks=1)


def test_joined_windows_are_asked_as_the_model_reads_them(runs: Path, video: Path) -> None:
    analyzer = load(runs / "joint", "cpu", matmul="highest")
    windows = windows_of(analyzer, video)
    question = question_about(analyzer, windows.clips, "fear")
    assert len(windows.clips) == 2
    whole = float(analyzer.predict(video, faces="whole").windows["fear"].iloc[0])
    assert float(window_outputs(question)[0, question.output]) == pytest.approx(whole, abs=1e-6)
    for i, window in enumerate(windows.clips):
        probability = float(question.score(i, "answer")(window[None])[0])
        assert probability == pytest.approx(whole, abs=1e-6)
        evidence = float(question.score(i, "evidence")(window[None])[0])
        assert evidence == pytest.approx(np.log(whole / (1 - whole)), abs=1e-4)


def test_explain_a_classifier_with_checks(
    runs: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(video, "--model", runs / "classes", "--output", tmp_path, "--target=fear", "--check") == 0
    printed = capsys.readouterr().out
    assert "fear" in printed
    assert "random regions" in printed
    names = {
        "occlusion.mp4",
        "attention.mp4",
        "maps.png",
        "when.png",
        "where.png",
        "check.png",
        "maps.npz",
        "explanation.json",
    }
    assert {file.name for file in tmp_path.iterdir()} == names
    saved = json.loads((tmp_path / "explanation.json").read_text())
    assert saved["answer"] == load(runs / "classes", "cpu", matmul="highest").scores(video, faces="whole")["fear"]
    assert (saved["face"], saved["windows"], len(saved["explained"])) == (0, 2, 1)
    assert set(saved["checks"]) == {"occlusion", "attention"}
    assert len(saved["checks"]["occlusion"]["randomised_rank_correlation"]) == 2
    with np.load(tmp_path / "maps.npz") as maps:
        assert maps["occlusion"].shape == maps["attention"].shape == (1, 4, 4, 4)
        assert maps["when"].shape == (1, 4)
        assert maps["where"].shape == (1, 4, 4)
    with open_video(video) as source, av.open(str(tmp_path / "occlusion.mp4")) as overlay:
        times = [frame.time for frame in overlay.decode(video=0)]
        np.testing.assert_allclose(times, source.timestamps[:15] - source.timestamps[0], atol=1e-3)  # the first window


def test_explain_values_and_a_pre_training_run(runs: Path, video: Path, tmp_path: Path) -> None:
    assert explain(video, "--model", runs / "values", "--output", tmp_path / "v", "--target=arousal", "--check") == 0
    assert json.loads((tmp_path / "v" / "explanation.json").read_text())["unit"] == "arousal"
    assert explain(video, "--model", runs / "pretrain", "--output", tmp_path / "p", "--check") == 0
    assert {file.name for file in (tmp_path / "p").iterdir()} == {
        "reconstruction.mp4", "maps.png", "maps.npz", "explanation.json",
    }  # fmt: skip


def test_impossible_questions_name_the_way_out(
    runs: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, says in (
        (["--model", runs / "classes", "--target=joy"], "outputs are anger, disgust"),
        (["--model", runs / "pretrain", "--target=fear"], "has no outputs"),
        (["--model", tmp_path], "no model here"),
    ):
        assert explain(video, *arguments, "--output", tmp_path / "x") != 0
        assert says in capsys.readouterr().err
        assert not (tmp_path / "x").exists()
