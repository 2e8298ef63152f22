"""Metrics of a fine-tuned model, with intervals, on labelled clips it has not seen.

mien evaluate --model runs/finetune --data.manifest clips.csv --data.select 'split=test'

Prints and saves WAR (accuracy), UAR (mean class recall), F1, recall per class and the confusion matrix; for regression
PCC, CCC, RMSE and 1-MAE; for labels that are yes or no each F1, AUC and accuracy beside what always saying the more
frequent answer gets; all with a 95 % interval over the people of the column subject. Each clip counts once, also
over several processes (torchrun). What the model has learnt from, leaks that were allowed and a choice on test clips
stand with the numbers. Beside them stand the calibration error and, of a model that `mien calibrate` has calibrated, how
often prediction sets or intervals hold the truth, also by subgroup.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.calibration.calibration import Calibration, require_calibration
from mien.config import STRICT
from mien.engine import distributed
from mien.engine.checkpoint import ModelFolder
from mien.evaluation import results
from mien.evaluation.clip_groups import mean_by_column
from mien.evaluation.results import Evaluation
from mien.files import LOCK, write_whole
from mien.inference.analyzer import Analyzer, Scores, load
from mien.model_files import report_folder
from mien.reports import calibration_quality
from mien.reports.evaluation_report import Targets, clear, print_summary, write
from mien.training.data import DataConfig, load_clips, located, warn
from mien.training.partition import provenance
from mien.training.scoring import origin, score
from mien.video.container import FrameLimit
from mien.video.inspection import digest
from mien.video.views import ViewConfig


@dataclass(frozen=True, config=STRICT)
class Config(FrameLimit, distributed.ReaderOptions):
    """Options of ``mien evaluate``."""

    model: ModelFolder = Path("runs/finetune")
    """Folder of a fine-tuned run, a public model by name, or an ONNX file of `mien export`."""
    output: Path | None = None
    """Folder for the report; by default the folder evaluation inside the model's; beside a file, in a folder of its name."""
    data: DataConfig = DataConfig()
    subgroups: tuple[str, ...] = ()
    """Columns of the manifest whose groups are evaluated on their own: sex, age (in bands), or age:30,45 (at these)."""
    group_by: str = ""
    """Column whose clips are evaluated together by their mean output, such as video for AVCAffe; empty takes each clip."""
    coverage: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the truth that sets and intervals shall hold, in (0, 1); by default what the model was calibrated for."""
    views: ViewConfig = ViewConfig()


def writes(config: Config) -> Path | None:
    """The lock of the folder that is written; none where there is no model to write beside."""
    return folder_of(config) / LOCK if config.output or config.model.exists() else None


def folder_of(config: Config) -> Path:
    """Where the report goes."""
    return config.output or report_folder(config.model) / "evaluation"


def run(config: Config) -> Evaluation:
    """Evaluate, print and save; of several ranks, the first one does."""
    folder = folder_of(config)
    with distributed.session(config.device, config.matmul) as session:
        analyzer, calibration = load(config.model, config.device), Calibration.load(config.model)
        require_calibration(calibration, config.coverage)
        clips = load_clips(config.data, config.workers, session.print)
        warn(config.data, clips, analyzer.card, session.print)
        results.require_columns(clips, config.subgroups, analyzer.names)
        targets = located(analyzer.config, clips, session.print).targets(clips, analyzer.names).numpy()
        measure = calibration is not None
        scores = score(analyzer, clips, config.views, config.workers, session, measure)
        notes = provenance(config.model, clips, config.workers) if session.first else {}
        quality = calibration_quality.assess(
            analyzer.outputs, calibration, scores, targets, analyzer.names, config.coverage
        )
        if session.first:
            clear(folder)
        lines = calibration_quality.write(quality, clips, config.subgroups, folder) if session.first else []
        cautions = calibration_notes(calibration, config.data, analyzer.compatible_views(config.views))
        notes |= origin(config.model, config.data, clips) | {"cautions": cautions}
        predictions = scores.mean
        if config.group_by:
            clips, predictions, targets = mean_by_column(clips, predictions, targets, config.group_by)
        names = analyzer.names
        evaluation = results.evaluate(analyzer.outputs, clips, predictions, targets, names, folder, config.subgroups)
        if session.first:
            if not config.group_by:
                report_majority(scores, targets, analyzer, folder)
            print_summary(evaluation)
            write(evaluation, predictions, targets, names, notes=notes)
            print("\n".join([*lines, *cautions]), flush=True)
    return evaluation


def calibration_notes(calibration: Calibration | None, data: DataConfig, views: ViewConfig) -> list[str]:
    """What a reader of the calibration's figures must know."""
    if calibration is None:
        return ["not calibrated: mien calibrate gives probabilities that mean what they say, and prediction sets"]
    facts, found = calibration.facts, calibration_quality.view_warnings(calibration, views)
    if (facts.manifest_sha256, facts.select) == (digest(Path(data.manifest)), data.select):
        found.append("warning: the model was calibrated on these very clips; error and coverage on them are flattered")
    return found


def report_majority(scores: Scores, targets: Targets, analyzer: Analyzer, folder: Path) -> None:
    """Where a clip has several windows, also the metrics of what most of them say; printed and saved as majority.json."""
    if not analyzer.outputs.exclusive or scores.votes.max(axis=1).min() == 1.0:
        return
    metrics = analyzer.task.score(scores.majority, targets)
    print("majority of the windows: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()), flush=True)
    write_whole(folder / "majority.json", lambda path: path.write_text(json.dumps(metrics, indent=2) + "\n"))
