"""Mark a fine-tuned model on labelled clips it has not seen.

mien evaluate --model runs/finetune --data.manifest clips.csv --data.select 'split=test'

Prints and saves WAR (accuracy), UAR (mean class recall), F1, recall per class and the confusion matrix; for regression
PCC, CCC, RMSE and 1-MAE. Each clip counts once, also over several processes (torchrun). What the model has learnt from,
leaks that were allowed and a choice on test clips stand with the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from mien import distributed, metrics
from mien.analysis import plots
from mien.analysis.analyzer import Analyzer, load
from mien.analysis.grouping import mean_by
from mien.analysis.sharing import score_shared
from mien.checkpoint import write_whole
from mien.commands.fitting import DataConfig, load_clips
from mien.commands.parts import remarks, warnings
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
    group_by: str = ""
    """Column whose clips are marked together by their mean answer, such as video for AVCAffe; empty marks each clip."""
    views: ViewConfig = ViewConfig()
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    workers: int = 2
    """Processes that decode."""
    matmul: distributed.MatmulPrecision = "medium"
    """Precision of fp32 matrix products."""


def run(config: Config) -> dict[str, float]:
    """Evaluate, print and save; returns the metrics."""
    with distributed.session(config.device, config.matmul) as session:
        analyzer = load(config.model, config.device)
        clips = load_clips(config.data, config.workers, session.say)
        targets = analyzer.config.targets(clips, analyzer.names).numpy()
        predictions = score_shared(analyzer, clips, config.views, config.workers, session)
        said = remarks(config.model, clips, config.workers)
    if config.group_by:
        clips, predictions, targets = mean_by(clips, predictions, targets, config.group_by)
    if not session.first:
        return analyzer.task.score(predictions, targets)
    return report(analyzer, clips, predictions, targets, config.output or config.model / "evaluation", said=said)


def report(
    analyzer: Analyzer,
    clips: Sequence[Clip],
    predictions: NDArray[np.float64],
    targets: NDArray,
    folder: Path,
    said: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Write predictions.csv, metrics.json and a picture; print the metrics.

    ``said`` is what the numbers have to carry (``mien.commands.parts.remarks``).
    """
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
    saved = {"clips": len(clips), **result} | ({"recall": recalls} if recalls else {}) | dict(said or {})
    write_whole(folder / "metrics.json", lambda path: path.write_text(json.dumps(saved, indent=2) + "\n"))
    print(f"{len(clips)} clips: " + ", ".join(f"{name} {value:.4f}" for name, value in result.items()))
    for name, value in recalls.items():
        print(f"  recall {name:<16} " + ("absent from these clips" if value is None else f"{value:.4f}"))
    for line in warnings(dict(said or {})):
        print(f"  ! {line}")
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
