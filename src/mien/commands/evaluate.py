"""Mark a fine-tuned model on labelled clips it has not seen.

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.calibration.calibration import Calibration, require_calibration
from mien.config import STRICT
from mien.engine import distributed
from mien.engine.distributed import Session
from mien.evaluation import marking
from mien.evaluation.grouping import mean_by
from mien.evaluation.marking import Marks
from mien.evaluation.subgroups import blank
from mien.files import LOCK, withdraw, write_whole
from mien.inference.analyzer import Analyzer, Scores, load
from mien.interfaces import Clip, Outputs
from mien.names import write_csv
from mien.reports import figures, trust
from mien.reports.sections import Section
from mien.training.fitting import DataConfig, load_clips, located, warn
from mien.training.parts import remarks, warnings
from mien.video.inspection import digest
from mien.video.limits import FrameLimit
from mien.video.views import ViewConfig

METRICS = "metrics.json"
"""Says that an evaluation is whole."""
WRITTEN = (
    METRICS, "report.html", "predictions.csv", "subgroups.csv",
    *(f"{figure}.{end}" for figure in figures.FIGURES for end in ("png", "csv")),
    "majority.json", "trust.csv", "calibrated.csv", "reliability.png", "folds.csv", "radar.png",
)  # fmt: skip
"""Files of an evaluation, or of a cross-validation."""
Predictions = NDArray[np.float64]
"""Outputs (N, names)."""
Targets = NDArray[Any]
"""The truth (N, ...), as a task's config gives it."""


@dataclass(frozen=True, config=STRICT)
class Config(FrameLimit, distributed.ReaderOptions):
    """Options of ``mien evaluate``."""

    model: Path = Path("runs/finetune")
    """Folder of a fine-tuned run."""
    output: Path | None = None
    """Folder for the report; by default the folder evaluation inside the model's."""
    data: DataConfig = DataConfig()
    subgroups: tuple[str, ...] = ()
    """Columns of the manifest whose groups are marked on their own: sex, age (in bands), or age:30,45 (at these)."""
    group_by: str = ""
    """Column whose clips are marked together by their mean answer, such as video for AVCAffe; empty marks each clip."""
    coverage: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the truth that sets and intervals shall hold, in (0, 1); by default what the model was calibrated for."""
    views: ViewConfig = ViewConfig()


def writes(config: Config) -> Path | None:
    """The lock of the folder that is written; none where there is no model to write beside."""
    folder = config.output or (config.model / "evaluation" if config.model.is_dir() else None)
    return folder and folder / LOCK


def run(config: Config) -> dict[str, float]:
    """Evaluate, print and save; returns the metrics."""
    folder = config.output or config.model / "evaluation"
    with distributed.session(config.device, config.matmul) as session:
        analyzer, calibration = load(config.model, config.device), Calibration.load(config.model)
        require_calibration(calibration, config.coverage)
        clips = load_clips(config.data, config.workers, session.say)
        warn(config.data, clips, analyzer.card, session.say)
        marking.require(clips, config.subgroups, analyzer.names)
        targets = located(analyzer.config, clips, session.say).targets(clips, analyzer.names).numpy()
        measure = calibration is not None
        scores = score(analyzer, clips, config.views, config.workers, session, measure)
        said = remarks(config.model, clips, config.workers) if session.first else {}
        judged = trust.judge(analyzer.outputs, calibration, scores, targets, analyzer.names, config.coverage)
        if session.first:
            clear(folder)
        lines = trust.write(judged, clips, config.subgroups, folder) if session.first else []
        cautions = caution(calibration, config.data, analyzer.suited(config.views))
        said |= origin(config.model, config.data, clips) | {"cautions": cautions}
        predictions = scores.mean
        if config.group_by:
            clips, predictions, targets = mean_by(clips, predictions, targets, config.group_by)
        if session.first:
            if not config.group_by:
                tell_majority(scores, targets, analyzer, folder)
            report(analyzer.outputs, clips, predictions, targets, analyzer.names, folder, config.subgroups, said)
            print("\n".join([*lines, *cautions]), flush=True)
    return analyzer.task.score(predictions, targets)


def clear(folder: Path) -> None:
    """Remove what an evaluation left in a folder before another one is written there."""
    withdraw(folder, WRITTEN)


def score(
    analyzer: Analyzer, clips: Sequence[Clip], views: ViewConfig, workers: int, session: Session, measure: bool = False
) -> Scores:
    """What a model says of clips, on every rank; each clip is read by one of them."""
    found = analyzer.score_clips(session.share(clips), views, workers, session.first, measure)
    parts = (found.mean, found.votes, found.features, found.sharpness)
    return Scores(*(session.gather(part, len(clips)) for part in parts))


def caution(calibration: Calibration | None, data: DataConfig, views: ViewConfig) -> list[str]:
    """What a reader of the calibration's marks must know."""
    if calibration is None:
        return ["not calibrated: mien calibrate gives probabilities that mean what they say, and prediction sets"]
    facts, found = calibration.facts, trust.other_views(calibration, views)
    if (facts.manifest_sha256, facts.select) == (digest(Path(data.manifest)), data.select):
        found.append("warning: the model was calibrated on these very clips; error and coverage on them are flattered")
    return found


def origin(model: Path, data: DataConfig, clips: Sequence[Clip], rows: str = "") -> dict[str, Any]:
    """What was evaluated on what, for ``said``; ``rows`` are conditions beside those of ``data``."""
    weights = model / "weights.safetensors"
    found: dict[str, object] = {"model": shown(model)}
    if weights.is_file():
        found["weights (SHA-256)"] = digest(weights)[:12]
    found["manifest"] = shown(Path(data.manifest))
    found |= {"rows": "; ".join(filter(None, (data.select, rows))) or "all", "clips": len(clips)}
    if people := {str(cell).strip() for clip in clips if not blank(cell := clip.columns.get(marking.SUBJECT))}:
        found["subjects"] = len(people)
    return {"evaluated": found}


def shown(path: Path) -> str:
    """A path for a page: from here, or its last two parts where it lies elsewhere."""
    here = Path.cwd()
    whole = path.resolve()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else "/".join(whole.parts[-2:])


def tell_majority(scores: Scores, targets: Targets, analyzer: Analyzer, folder: Path) -> None:
    """Where a clip has several windows, also mark what most of them say; printed and saved as majority.json."""
    if not analyzer.outputs.exclusive or scores.votes.max(axis=1).min() == 1.0:
        return
    marks = analyzer.task.score(scores.majority, targets)
    print("majority of the windows: " + ", ".join(f"{name} {value:.4f}" for name, value in marks.items()), flush=True)
    write_whole(folder / "majority.json", lambda path: path.write_text(json.dumps(marks, indent=2) + "\n"))


def report(
    task: Outputs, clips: Sequence[Clip], predictions: Predictions, targets: Targets, names: Sequence[str], folder: Path,
    subgroups: Sequence[str] = (), said: Mapping[str, Any] | None = None,
) -> Marks:  # fmt: skip
    """Mark predictions, print the metrics with their intervals and write everything into ``folder``.

    ``said`` is what the numbers have to carry (``mien.training.parts.remarks``).
    """
    marks = marking.mark(task, clips, predictions, targets, names, subgroups)
    marks.tell()
    write(marks, clips, predictions, targets, names, folder, subgroups, said=said or {})
    return marks


def write(
    marks: Marks, clips: Sequence[Clip], predictions: Predictions, targets: Targets, names: Sequence[str], folder: Path,
    kept: Sequence[str] = (), first: Sequence[Section] = (), said: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write predictions.csv with the ``kept`` columns of the manifest, pictures, report.html and, last, metrics.json.

    ``clear`` the folder first: where metrics.json stands, the whole is of one evaluation.
    """
    touched = warnings(dict(said or {}))
    for line in touched:
        print(f"  ! {line}")
    table = marking.predictions(marks.task, clips, predictions, targets, names, kept)
    write_whole(folder / "predictions.csv", lambda path: write_csv(table, path))
    figures.draw(marks.task, predictions, targets, names, folder)
    marks.write(folder, [*context(said or {}, touched), *first])
    saved = json.dumps({"clips": len(clips)} | marks.saved() | dict(said or {}), indent=2) + "\n"
    write_whole(folder / METRICS, lambda path: path.write_text(saved))
    print(f"report in {folder}", flush=True)


def context(said: Mapping[str, Any], touched: Sequence[str]) -> list[Section]:
    """What stands before the numbers: what touches them, which model, which clips."""
    warned = [*touched, *said.get("cautions", [])]
    about = [{"what": name, "value": value} for name, value in said.get("evaluated", {}).items()]
    sections = [Section("What touches these numbers", warnings=warned)] if warned else []
    return sections + ([Section("What was evaluated", rows=about)] if about else [])
