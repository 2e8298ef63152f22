"""The table of a cross-validation: all predictions pooled, with intervals, and the mean and deviation of the folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mien.evaluation.results import Evaluation, display_name, format_interval
from mien.files import write_whole
from mien.names import write_csv
from mien.reports import plots
from mien.reports.document import Section
from mien.reports.radar import FEWEST, radar
from mien.statistics.intervals import CrossValidation

POOLED = "all folds"
MOST = 8
"""Folds that a radar plot shows one by one; more would be a tangle."""


def section(found: CrossValidation, evaluation: Evaluation, folder: Path, weights: str) -> Section:
    """The table of all folds and the radar plot; writes folds.csv and radar.png into ``folder``.

    ``weights`` says how the weights were chosen.
    """
    table = metric_texts(found, evaluation)
    write_whole(folder / "folds.csv", lambda path: write_csv(pd.DataFrame(metric_rows(found, evaluation)), path))
    sentences = [
        f"Pooled: metrics over the {evaluation.overall.clips} test predictions of all {len(found.folds)} folds at once, as "
        "papers report cross-validation. Mean and deviation (sample) are over the metrics of the folds.",
        evaluation.basis,
        *(f"fold {fold} holds no {', '.join(names)}" for fold, names in found.absent.items()),
    ]
    picture = draw_radar(found, evaluation, folder / "radar.png")
    caption = "Pooled and per fold" if len(found.folds) <= MOST else "Pooled"
    return Section(f"{len(found.folds)} folds, {weights}", sentences, table, picture, caption)


def metric_texts(found: CrossValidation, evaluation: Evaluation) -> list[dict[str, object]]:
    """A line per metric as a person reads it."""
    return [
        {
            "metric": display_name(evaluation.task, name),
            "pooled": format_interval(interval),
            "mean": format_number(found.mean[name]),
            "deviation": format_number(found.deviation[name]),
            **{f"fold {fold}": format_number(scores[name]) for fold, scores in found.folds.items()},
        }
        for name, interval in evaluation.overall.metrics.items()
    ]


def metric_rows(found: CrossValidation, evaluation: Evaluation) -> list[dict[str, object]]:
    """A line per metric for programs."""
    return [
        {
            "metric": name,
            "pooled": i.value,
            "low": i.low,
            "high": i.high,
            "mean": found.mean[name],
            "deviation": found.deviation[name],
            **{f"fold {fold}": scores[name] for fold, scores in found.folds.items()},
        }
        for name, i in evaluation.overall.metrics.items()
    ]


def format_number(value: float) -> str:
    """Four digits; nothing for NaN."""
    return "" if math.isnan(value) else f"{value:.4f}"


def draw_radar(found: CrossValidation, evaluation: Evaluation, path: Path) -> Path | None:
    """Recall per class or the like of all folds and of each; None where these are too few for a radar plot."""
    metric, noun = evaluation.task.by_name[0], evaluation.task.noun
    before = f"{metric}."
    spokes = [name.removeprefix(before) for name in found.pooled if name.startswith(before)]
    if len(spokes) < FEWEST:
        return None
    shown = {POOLED: found.pooled}
    if len(found.folds) <= MOST:
        shown |= {f"fold {fold}": scores for fold, scores in found.folds.items()}
    results = {name: parts(scores, before, spokes) for name, scores in shown.items()}
    title = f"{metric[0].upper()}{metric[1:]} per {noun}"
    plots.save(radar(results, spokes, title, evaluation.task.percent, [POOLED]), path)
    return path


def parts(scores: Mapping[str, float], before: str, spokes: Sequence[str]) -> dict[str, float]:
    """The metrics of classes or targets by their names."""
    return {spoke: scores[before + spoke] for spoke in spokes}
