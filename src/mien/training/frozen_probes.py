"""Probes over frozen encoders: a row of metrics for each encoder, and the table of all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.engine import distributed
from mien.features import baselines
from mien.features.cache import Features
from mien.features.frozen import Frozen, load_encoder, predictions, views_of
from mien.features.probes import Best, train_probes
from mien.files import remove_files, write_whole
from mien.interfaces import Task
from mien.models.card import ModelCard
from mien.modules.heads import StandardisedHead
from mien.reports import evaluation_report, plots
from mien.reports.evaluation_report import warnings
from mien.reports.page import Report
from mien.tasks import TaskConfig
from mien.training.outcome import probe_folder
from mien.training.partition import History, LabelledParts, Parts, examine, guard, provenance
from mien.training.preflight import preflight_probes
from mien.training.probe_setup import ProbeSetup
from mien.training.scoring import origin
from mien.training.selection import VALIDATION
from mien.video.clips import epoch_order
from mien.video.leaks import hash_clips
from mien.video.rates import count_rates

Row = dict[str, object]
"""A row of the table: what the probe reads, its settings, its score on validation, its metrics on the test clips."""


def histories_of(
    models: Sequence[Path], parts: Parts, group: str, leaks_allowed: bool, workers: int
) -> dict[str, History]:
    """What the encoder in each folder ('' has random weights) will have learnt from with its probe; leaks are refused."""
    print(", ".join(f"{len(part)} {name} clips" for name, part in parts.items()), flush=True)
    hashes = hash_clips([clip for clips in parts.values() for clip in clips], workers)
    names = [str(folder) for folder in models]
    histories = {name: examine(parts, name, group, hashes) for name in ("", *names)}
    for name in names:
        guard(histories[name], leaks_allowed, print)
    return histories


def frozen_encoders(
    models: Sequence[Path], baselines: bool, seed: int, device: torch.device
) -> Iterator[tuple[Frozen, str]]:
    """The encoders to probe, one in memory at a time, with their folders; those with random weights have ''."""
    for folder in models:
        yield load_encoder(folder, device), str(folder)
    kinds: set[str] = set()
    for folder in models if baselines else ():
        distributed.seed_step(seed)
        frozen = load_encoder(folder, device, random=True)
        if repr(frozen.config) not in kinds:
            kinds.add(repr(frozen.config))
            yield frozen, ""


def probe(source: Frozen, parts: LabelledParts, setup: ProbeSetup, history: History) -> Row:
    """Train the probes over one encoder, keep the best and evaluate it; returns its row of the table."""
    device, names = setup.device, parts.names
    task = setup.task.build(source.encoder, source.pixels, names, parts.targets["train"]).to(device)
    views = setup.views_in_all(parts.clips)
    preflight_probes(task, setup, source.clip, views, len(parts.clips["train"]), parts.learnt[0])
    write_whole(setup.output / "config.yaml", lambda path: path.write_text(setup.recipe))
    features = {part: setup.read(part, source, task, clips) for part, clips in parts.clips.items() if clips}
    folder = setup.output / probe_folder(source.name)
    each_seed = fit_probes(task, features, parts, setup, folder)
    best = max(each_seed, key=lambda one: one.score)
    heads = [with_weights(task.head, one) for one in each_seed]
    task.head.load_state_dict(best.state)
    history.write(folder)
    ModelCard(
        source.config, source.clip, source.pixels, task=setup.task, names=names, selection=VALIDATION,
        rates=dict(count_rates(parts.clips["train"])), leaks=tuple(map(str, history.leaks)),
        sources=source.sources,
    ).save(folder, task)  # fmt: skip
    lr, decay = setup.probe.settings()[best.probe]
    row: Row = {"features": source.name, "lr": lr, "weight decay": decay, "epoch": best.epoch}
    row["validation"] = best.score * task.outputs.direction
    if "test" not in features:
        return row
    print(f"{source.name}, evaluated on the test clips:")
    outputs = predictions(task, heads, features["test"], device)
    truth, clips = parts.targets["test"].numpy(), parts.clips["test"]
    notes = provenance(folder) | origin(folder, setup.data, clips, setup.split.test)
    evaluation_report.clear(folder / "evaluation")
    evaluation = evaluation_report.report(
        task.outputs, clips, outputs[each_seed.index(best)], truth, names, folder / "evaluation", notes=notes
    )
    return row | evaluation.scores | over_seeds(task, outputs, truth) | history.provenance()


def fit_probes(
    task: Task, features: dict[str, Features], parts: LabelledParts, setup: ProbeSetup, folder: Path
) -> list[Best]:
    """Train one head per seed and setting over the features; a line per epoch goes to ``epochs.jsonl``."""
    probe, device = setup.probe, setup.device
    heads = probe.start(lambda seed: first_head(seed, task, features["train"], setup.task)).to(device)
    task.train()
    task.encoder.eval()
    steps = -(-len(features["train"]) // probe.batch) * probe.epochs
    lines: list[str] = []

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Tokens and targets in an order that follows from the seed, one view of each clip."""
        rng = np.random.default_rng((probe.seed, epoch))
        places = epoch_order(probe.seed, epoch, len(features["train"]))
        for start in range(0, len(places), probe.batch):
            chosen = places[start : start + probe.batch]
            views = [views_of(features["train"][int(i), epoch], task.segments > 1) for i in chosen]
            tokens = torch.stack([v[int(rng.integers(len(v)))] for v in views])
            yield tokens.to(device), parts.learnt[torch.from_numpy(chosen)].to(device)

    def validate(heads: nn.ModuleList) -> list[float]:
        each = predictions(task, list(heads), features["validation"], device)
        return [task.outputs.gain(task.score(one, parts.targets["validation"].numpy())) for one in each]

    best = train_probes(
        heads, task.losses, map(batches, range(probe.epochs)), steps, probe, validate,
        lambda line: lines.append(json.dumps(line)),
    )  # fmt: skip
    write_whole(folder / "epochs.jsonl", lambda path: path.write_text("\n".join(lines) + "\n"))
    task.eval()
    return best


def first_head(seed: int, task: Task, features: Features, config: TaskConfig, clips: int = 500) -> nn.Module:
    """A head with the first weights of a seed; a ``Standard`` is fitted to training clips spread over all."""
    distributed.seed_step(seed)  # here, so that reading features cannot shift the first weights
    head = config.head.build(task.encoder.feature_dim, len(task.names))
    if isinstance(head, StandardisedHead):
        places = np.unique(np.linspace(0, len(features) - 1, clips).astype(int))
        head.standard.fit(features[int(i), 0] for i in places)
    return head


def with_weights(head: nn.Module, best: Best) -> nn.Module:
    """A copy of a head with the weights that were kept."""
    head = deepcopy(head).eval()
    head.load_state_dict(best.state)
    return head


def over_seeds(task: Task, outputs: NDArray[np.float64], truth: NDArray) -> dict[str, float]:
    """Mean and deviation of the headline metric over the probes of all seeds (seeds, clips, names)."""
    if len(outputs) == 1:
        return {}
    name = task.outputs.headline
    values = [task.score(one, truth)[name] for one in outputs]
    return {f"{name} mean": float(np.mean(values)), f"{name} deviation": float(np.std(values, ddof=1))}


def raw_pixels(source: Frozen, parts: LabelledParts, setup: ProbeSetup) -> Row:
    """The row of a linear model on raw pixels, its strength chosen on validation."""
    task = setup.task.build(source.encoder, source.pixels, parts.names, parts.targets["train"])
    x = {part: baselines.raw_pixels(clips, source.clip, setup.workers) for part, clips in parts.clips.items() if clips}
    y = {part: values.numpy() for part, values in parts.targets.items()}
    predict, gain, _ = baselines.fit_linear(
        task.outputs.linear, x["train"], y["train"], x["validation"],
        lambda p: task.outputs.gain(task.score(p, y["validation"])), len(parts.names),
    )  # fmt: skip
    row: Row = {"features": "raw pixels, linear", "validation": gain * task.outputs.direction}
    return row | (task.score(predict(x["test"]), y["test"]) if "test" in x else {})


def write_table(rows: Sequence[Row], setup: ProbeSetup) -> None:
    """Print the table; save it with a picture as report.html."""
    metric, others = setup.task.outputs.headline, setup.task.outputs.shown
    columns = dict.fromkeys((metric, f"{metric} mean", f"{metric} deviation", *others))  # the two over --probe.seeds
    shown = [m for m in columns if any(m in row for row in rows)]
    width = max(len(str(row["features"])) for row in rows)
    print(f"\n{'features':<{width}}  validation {metric}" + "".join(f"  {'test ' + m:>{len(m) + 5}}" for m in shown))
    for row in rows:
        cells = "".join(f"  {row[m]:>{len(m) + 5}.4f}" if m in row else " " * (len(m) + 7) for m in shown)
        print(f"{row['features']:<{width}}  {row['validation']:>{11 + len(metric)}.4f}{cells}")
    remove_files(setup.output, ("probe.json", "report.html"))
    report = Report("Probes over frozen features")
    report.text(
        f"Each probe was chosen on validation ({metric}), never on test. Head: {setup.task.head.name}; "
        f"{setup.task.segments} segments at once; {setup.probe.epochs} epochs."
    )
    for line in dict.fromkeys(line for row in rows for line in warnings(row)):
        print(f"  ! {line}")
        report.text(line)
    report.table([{name: value for name, value in row.items() if name != "leaks"} for row in rows])
    part = metric if shown else "validation"
    values = {part: {str(row["features"]): float(str(row[part])) for row in rows}}
    report.figure(plots.comparison(values, "Test" if shown else "Validation"))
    report.save(setup.output / "report.html")
    saved = json.dumps(rows, indent=2) + "\n"
    write_whole(setup.output / "probe.json", lambda path: path.write_text(saved))
    print(f"report in {setup.output / 'report.html'}")
