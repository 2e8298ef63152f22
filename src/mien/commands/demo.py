"""From nothing to a report in minutes: draw faces, pre-train without labels, fine-tune on few, compare with scratch.

mien demo

Draws its own corpus, so nothing is downloaded. The same few labels and steps train a pre-trained and an untrained
encoder; both are evaluated on people neither has seen. Open mien-demo/report.html afterwards. A second run goes on where
a killed one stopped.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure
from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from mien.commands import evaluate, finetune, predict, pretrain, synth
from mien.config import STRICT
from mien.encoders.tpsbt import TPSBTConfig
from mien.engine.loop import TrainConfig
from mien.engine.optim import OptimConfig
from mien.engine.runlog import has_results, read_metrics
from mien.evaluation.runs import paired_predictions, read_run
from mien.modules.heads import MeanHeadConfig
from mien.names import to_cell
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.reports import plots
from mien.reports.page import Report, as_png
from mien.statistics.intervals import Difference, Interval, differences
from mien.tasks.classification import ClassificationConfig
from mien.training.data import DataConfig, TrainingDataConfig
from mien.video.clips import ClipConfig
from mien.video.manifest import read_manifest, write_manifest
from mien.video.stream import read_frames
from mien.video.transforms import AugmentConfig

ENCODER = TPSBTConfig(dim=64, heads=2, depths=(2, 2), bottleneck=4, patch=12)
CLIP = ClipConfig(frames=8, stride=4, size=48)
GENTLE = AugmentConfig(scales=(), area=(0.8, 1.0), ratio=(0.95, 1.05))
"""Sizes at which a TPSBT learns on two CPU cores in minutes; found by the runs in benchmarks/results/learning.md."""

Results = dict[str, dict[str, Interval]]
"""Metrics with their intervals, by run."""


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien demo``."""

    output: Path = Path("mien-demo")
    """Folder for everything."""
    clips: PositiveInt = 2500
    """Videos to draw."""
    subjects: PositiveInt = 180
    """Persons to draw; a fifth of them is held out for the test."""
    labels: PositiveInt = 700
    """Labelled clips for fine-tuning."""
    pretrain_steps: PositiveInt = 1200
    """Steps of pre-training, 64 clips each."""
    finetune_steps: PositiveInt = 300
    """Steps of fine-tuning, 64 clips each."""
    seed: NonNegativeInt = 0
    """Draws other people, other weights, other labels."""


def run(config: Config) -> None:
    """Run every step, print what comes out and write the report."""
    began = perf_counter()
    out = config.output
    unlabelled, labelled, test = draw_corpus(config)
    announce("pre-training on unlabelled clips")
    pretrain.run(pretraining(config, unlabelled))
    results: Results = {}
    for name, init in (("pre-trained", str(out / "pretrain")), ("from scratch", "")):
        announce(f"fine-tuning {name} on {config.labels} labelled clips, then evaluating on unseen people")
        run_folder = out / name.replace(" ", "-")
        finetune.run(finetuning(config, labelled, init, run_folder))
        options = evaluate.Config(model=run_folder, data=DataConfig(manifest=str(test)), workers=0, device="cpu")
        results[name] = {n: i for n, i in evaluate.run(options).metrics.items() if "." not in n}
    announce("reading one video")
    video = read_manifest(test)[0].path
    predict.run(predict.Config(video=video, model=str(out / "pre-trained"), faces="whole", device="cpu"))
    write_report(config, results, video, perf_counter() - began)
    verdict(config, results, perf_counter() - began)


def announce(what: str) -> None:
    """Announce a step."""
    print(f"\n== {what}", flush=True)


def draw_corpus(config: Config) -> tuple[Path, Path, Path]:
    """Draw the videos; manifests of unlabelled, labelled and test clips, the test persons being nobody else's."""
    folder = config.output / "corpus"
    manifest = folder / "manifest.csv"
    if not manifest.is_file() or (not as_asked(config, folder) and not has_results(config.output)):
        announce("drawing a corpus")
        synth.run(
            synth.Config(
                output=folder, clips=config.clips, subjects=config.subjects, size=64, frames=32, seed=config.seed,
                overwrite=folder.exists(),
            )
        )  # fmt: skip
    if not as_asked(config, folder):
        raise ValueError(
            f"{folder} holds another corpus than asked for; choose another --output, or delete {config.output}"
        )
    rows = list(csv.DictReader(manifest.open()))
    held_out = min(row["fold"] for row in rows)
    seen = [row for row in rows if row["fold"] != held_out]
    files = {
        "unlabelled": [{"path": row["path"], "subject": row["subject"]} for row in seen],
        "labelled": choose_labelled(seen, config.labels, config.seed),
        "test": [row for row in rows if row["fold"] == held_out],
    }
    for name, chosen in files.items():
        write_manifest(folder / f"{name}.csv", chosen)
    return folder / "unlabelled.csv", folder / "labelled.csv", folder / "test.csv"


def as_asked(config: Config, folder: Path) -> bool:
    """Whether the corpus in a folder is the one asked for."""
    drawn = json.loads((folder / "synth.json").read_text())
    return all(drawn[name] == getattr(config, name) for name in ("clips", "subjects", "seed"))


def choose_labelled(rows: list[dict[str, str]], count: int, seed: int) -> list[dict[str, str]]:
    """``count`` random rows with equally many of each expression."""
    rng = np.random.default_rng(seed)
    names = sorted({row["expression"] for row in rows})
    chosen: list[dict[str, str]] = []
    for name in names:
        of_class = [row for row in rows if row["expression"] == name]
        chosen += [of_class[i] for i in rng.permutation(len(of_class))[: count // len(names)]]
    return chosen


def pretraining(config: Config, manifest: Path) -> pretrain.Config:
    """Masked autoencoding at the demo's size."""
    return pretrain.Config(
        output=config.output / "pretrain",
        data=TrainingDataConfig(manifest=str(manifest), cache=True),
        clip=CLIP,
        augment=GENTLE,
        encoder=ENCODER,
        objective=MaskedAutoencodingConfig(mask_ratio=0.5, decoder_dim=48, decoder_heads=4, decoder_depth=2),
        optim=OptimConfig(lr=1.5e-3, lr_batch=0, min_lr=1.5e-5, warmup=0.1, clip_grad=1.0),
        train=training(config, config.pretrain_steps, batch=64),
    )


def finetuning(config: Config, manifest: Path, init: str, output: Path) -> finetune.Config:
    """Fine-tuning at the demo's size, the same whether it starts from pre-trained weights or not."""
    return finetune.Config(
        output=output,
        init=init,
        data=TrainingDataConfig(manifest=str(manifest), cache=True),
        clip=CLIP,
        augment=GENTLE,
        encoder=ENCODER,
        task=ClassificationConfig(smoothing=0.0, mixup=0.0, cutmix=0.0, head=MeanHeadConfig(scale=1.0)),
        optim=OptimConfig(lr=3e-3, lr_batch=0, min_lr=3e-5, warmup=0.1, clip_grad=1.0),
        train=training(config, config.finetune_steps, batch=64),
    )


def training(config: Config, steps: int, batch: int) -> TrainConfig:
    """One CPU process that decodes from memory."""
    return TrainConfig(
        steps=steps, batch=batch, workers=0, seed=config.seed, device="cpu", picture_every=steps, save_every=200
    )


def verdict(config: Config, results: Results, seconds: float) -> None:
    """Print whichever result came out, and what one may do next."""
    gain = difference(config)
    sure = "" if gain.low > 0 or gain.high < 0 else "; the interval holds 0, so this may be chance"
    word = "helped" if gain.value > 0 else "did not help"
    print(f"\npre-training {word}: {points(gain)} on unseen people, with {config.labels} labels{sure}")
    for name, result in results.items():
        print(f"  {name:<14} UAR {share(result['UAR'])}  WAR {share(result['WAR'])}  (chance {1 / 7:.1%})")
    print("next:")
    for what, command in next_steps(config).items():
        print(f"  {what}: {command}")
    print(f"{seconds:.0f} s in all; open {config.output / 'report.html'}")


def difference(config: Config) -> Difference:
    """UAR of the pre-trained run minus that from scratch, both evaluated on the same draws of subjects."""
    runs = [read_run(config.output / name) for name in ("pre-trained", "from-scratch")]
    return differences(*paired_predictions(*runs))["UAR"]


def share(interval: Interval) -> str:
    """A share in per cent with its interval, where there is one."""
    bounds = f" [{100 * interval.low:.1f}, {100 * interval.high:.1f}]" if math.isfinite(interval.low) else ""
    return f"{100 * interval.value:.1f} %{bounds}"


def points(gain: Interval) -> str:
    """A difference in points of UAR with its interval."""
    bounds = f" [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]" if math.isfinite(gain.low) else ""
    return f"{100 * gain.value:+.1f}{bounds} points of UAR"


def next_steps(config: Config) -> dict[str, str]:
    """Commands that go on from here, as they would be typed."""
    model = config.output / "pre-trained"
    return {
        "learn which predictions to rely on": f"mien calibrate --model {model} --data.manifest VALIDATION.csv",
        "read a video of your own": f"mien analyze VIDEO --model {model}",
        "look at all of it in the browser": f"mien serve --model {model}",
        "train on a corpus of real faces": "mien prepare --help, then mien finetune svfap_finetune",
    }


def write_report(config: Config, results: Results, video: Path, seconds: float) -> None:
    """The page: samples, reconstructions, curves, confusion matrices, the comparison."""
    out, report = config.output, Report("mien demo")
    gain, basis = difference(config), basis_of(out / "pre-trained")
    report.text(
        f"A TPSBT encoder of {ENCODER.dim} channels learnt from {config.clips * 4 // 5} unlabelled clips of drawn faces, "
        f"then from {config.labels} labelled ones. On people it has never seen, pre-training changes the mean class "
        f"recall by {points(gain)} against the same training from scratch (in brackets the 95 % interval). Seed {config.seed}, "
        f"{seconds:.0f} s on this machine."
    )
    report.table([{"start": name} | {m: share(v) for m, v in r.items()} for name, r in results.items()])
    report.text(f"{basis}. One seed: another draws other weights and other people.")
    shown = {m: {name: r[m].value for name, r in results.items()} for m in ("UAR", "WAR", "F1_macro")}
    report.picture(plots.png(plots.comparison(shown, "Unseen people", chance=1 / 7)), "Held-out subjects")
    report.heading("The corpus")
    clips = samples(out / "corpus" / "test.csv")
    report.videos(clips, {name: apex(path) for name, path in clips.items()})
    report.text("Each stands at its strongest moment; move there to play it.")
    report.text(
        "surprise and fear, and anger and disgust, show the same frames in another order: only motion tells them."
    )
    report.heading("Pre-training")
    pictures = sorted((out / "pretrain" / "pictures").glob("*.png"))
    report.picture(pictures[-1].read_bytes(), "Original, what the encoder sees, and what the decoder makes of it")
    report.picture(plots.png(loss_curves({"masked autoencoding": out / "pretrain"})), "Reconstruction loss")
    report.heading("Fine-tuning")
    folders = {name: out / name.replace(" ", "-") for name in results}
    report.picture(plots.png(loss_curves(folders)), "Training loss")
    for name, folder in folders.items():
        report.picture((folder / "evaluation" / "confusion.png").read_bytes(), f"Confusion matrix, {name}")
    report.heading("One video")
    scores = scores_of(out / "pre-trained" / "evaluation" / "predictions.csv", video)
    report.videos({video.name: video}, {video.name: apex(video)})
    report.picture(plots.png(plots.bars(scores, "Scores by name")), "Probabilities, averaged over views")
    report.heading("What next")
    report.table([{"what": what, "command": command} for what, command in next_steps(config).items()])
    report.save(out / "report.html")


def apex(video: Path) -> bytes:
    """The frame of a clip that differs most from its first and last ones, where a face is at rest, as PNG."""
    frames = np.stack([frame.pixels for frame in read_frames(video)])
    rest = (frames[0].astype(np.float32) + frames[-1]) / 2
    moved = np.abs(frames - rest).mean(axis=(1, 2, 3))
    return as_png(frames[int(moved.argmax())])


def basis_of(run: Path) -> str:
    """What the intervals of an evaluated run rest on."""
    return str(json.loads((run / "evaluation" / "metrics.json").read_text())["intervals"]["basis"])


def samples(manifest: Path) -> dict[str, Path]:
    """One clip per expression."""
    clips: dict[str, Path] = {}
    for clip in read_manifest(manifest):
        clips.setdefault(str(clip.columns["expression"]), clip.path)
    return dict(sorted(clips.items()))


def loss_curves(runs: dict[str, Path]) -> Figure:
    """Loss over steps of one or more runs."""
    lines = {name: read_metrics(folder / "metrics.jsonl") for name, folder in runs.items()}
    series = {name: ([p["step"] for p in points], [p["loss"] for p in points]) for name, points in lines.items()}
    return plots.curves(series, "step", "loss")


def scores_of(predictions: Path, video: Path) -> dict[str, float]:
    """The row of one video in saved predictions."""
    row = next(row for row in csv.DictReader(predictions.open()) if row["path"] == to_cell(video))
    names = json.loads((predictions.parent / "metrics.json").read_text())["recall"]
    return {name: float(row[name]) for name in names}
