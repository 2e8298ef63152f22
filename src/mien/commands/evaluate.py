"""Mark a fine-tuned model on labelled clips it has not seen.

mien evaluate --model runs/finetune --data.manifest clips.csv --data.select 'split=test'

Prints and saves WAR (accuracy), UAR (mean class recall), F1, recall per class and the confusion matrix; for regression
PCC, CCC, RMSE and 1-MAE. Each clip counts once. Beside them stand the calibration error and, of a model that
`mien calibrate` has calibrated, how often prediction sets or intervals hold the truth, also by subgroup.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from mien import distributed, metrics
from mien.analysis import plots, trust
from mien.analysis.analyzer import Analyzer, load
from mien.analysis.calibration import Calibration
from mien.analysis.features import digest
from mien.analysis.pooling import pool_clips
from mien.checkpoint import write_whole
from mien.commands.fitting import DataConfig, load_clips
from mien.config import STRICT
from mien.interfaces import Clip
from mien.tasks.classification import ClassificationConfig
from mien.video.views import ViewConfig


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien evaluate``."""

    model: Path = Path("runs/finetune")
    """Folder of a fine-tuned run."""
    output: Path | None = None
    """Folder for the report; by default the folder evaluation inside the model's."""
    data: DataConfig = DataConfig()
    subgroups: tuple[str, ...] = ()
    """Columns of the manifest by whose values calibration error and coverage are shown too."""
    coverage: float | None = None
    """Share of the truth that sets and intervals shall hold, in (0, 1); by default what the model was calibrated for."""
    views: ViewConfig = ViewConfig()
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    workers: int = 2
    """Processes that decode."""
    matmul: distributed.MatmulPrecision = "medium"
    """Precision of fp32 matrix products."""


def run(config: Config) -> dict[str, float]:
    """Evaluate, print and save; returns the metrics."""
    with distributed.session(config.device, config.matmul):
        analyzer, calibration = load(config.model, config.device), Calibration.load(config.model)
        clips = load_clips(config.data, config.workers)
        groups = {column: by_value(clips, column) for column in config.subgroups}
        targets = analyzer.config.targets(clips, analyzer.names).numpy()
        read = pool_clips(analyzer, clips, config.views, config.workers)
    folder = config.output or config.model / "evaluation"
    result = report(analyzer, clips, read.outputs, targets, folder)
    judged = trust.judge(calibration, read, targets, analyzer.names, config.coverage)
    for line in [
        *trust.write(judged, clips, groups, folder),
        *warnings(calibration, config.data, analyzer.suited(config.views)),
    ]:
        print(line)
    return result


def by_value(clips: Sequence[Clip], column: str) -> dict[str, NDArray[np.int64]]:
    """Row numbers by value of a column, in alphabetical order."""
    if not any(column in clip.columns for clip in clips):
        raise ValueError(f"--subgroups {column}: no such column; there are {', '.join(clips[0].columns) or 'none'}")
    cells = np.array([str(clip.columns.get(column) or "(empty)") for clip in clips])
    return {str(name): np.flatnonzero(cells == name) for name in np.unique(cells)}


def warnings(calibration: Calibration | None, data: DataConfig, views: ViewConfig) -> list[str]:
    """What a reader of the calibration's marks must know."""
    if calibration is None:
        return ["not calibrated: mien calibrate gives probabilities that mean what they say, and prediction sets"]
    facts, found = calibration.facts, trust.other_views(calibration, views)
    if (facts.manifest_sha256, facts.select) == (digest(Path(data.manifest)), data.select):
        found.append("warning: the model was calibrated on these very clips; error and coverage on them are flattered")
    return found


def report(
    analyzer: Analyzer, clips: Sequence[Clip], predictions: NDArray[np.float64], targets: NDArray, folder: Path
) -> dict[str, float]:
    """Write predictions.csv, metrics.json and a picture; print the metrics."""
    result = analyzer.task.score(predictions, targets)
    table = pd.DataFrame(predictions, columns=list(analyzer.names))
    table.insert(0, "path", [str(clip.path) for clip in clips])
    if isinstance(analyzer.config, ClassificationConfig):
        table.insert(1, "truth", [analyzer.names[t] for t in targets])
        table.insert(2, "predicted", [analyzer.names[i] for i in predictions.argmax(1)])
        recalls = classification_extras(analyzer, predictions, targets, folder)
    else:
        for i, name in enumerate(analyzer.names):
            table[f"{name}_truth"] = targets[:, i]
        plots.save(plots.scatter(predictions, targets, analyzer.names), folder / "scatter.png")
        recalls = {}
    write_whole(folder / "predictions.csv", lambda path: table.to_csv(path, index=False))
    saved = {"clips": len(clips), **result} | ({"recall": recalls} if recalls else {})
    write_whole(folder / "metrics.json", lambda path: path.write_text(json.dumps(saved, indent=2) + "\n"))
    print(f"{len(clips)} clips: " + ", ".join(f"{name} {value:.4f}" for name, value in result.items()))
    for name, value in recalls.items():
        print(f"  recall {name:<16} " + ("absent from these clips" if value is None else f"{value:.4f}"))
    print(f"report in {folder}")
    return result


def classification_extras(
    analyzer: Analyzer, predictions: NDArray[np.float64], targets: NDArray, folder: Path
) -> dict[str, float | None]:
    """Confusion matrix as PNG and CSV, and the recall per class (None where a class does not occur)."""
    counts = metrics.confusion(predictions, targets, analyzer.names)
    plots.save(plots.confusion_matrix(counts, analyzer.names, "Rows: truth"), folder / "confusion.png")
    table = pd.DataFrame(counts, index=list(analyzer.names), columns=list(analyzer.names))
    write_whole(folder / "confusion.csv", lambda path: table.to_csv(path))
    recalls = metrics.recalls(predictions, targets, analyzer.names)
    return {name: None if np.isnan(value) else float(value) for name, value in recalls.items()}
