"""How well a model is calibrated on labelled clips: calibration error, coverage, share of unreliable clips; by group.

quality = assess(task, calibration, scores, targets, names)   # without calibration only the error of the raw outputs
quality.group_rows({"all": rows, ...})                       # a line per group of clips
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mien.calibration.calibrated import Calibrated, calibration_error
from mien.calibration.calibration import Calibration
from mien.calibration.maps import MAPS
from mien.calibration.reliability import reasons
from mien.evaluation import results
from mien.files import write_whole
from mien.inference.analyzer import Scores
from mien.interfaces import Clip, Outputs
from mien.names import write_csv
from mien.reports import diagrams, plots
from mien.statistics.metrics import Array
from mien.video.views import ViewConfig


@dataclass(frozen=True)
class CalibrationQuality:
    """Outputs of N labelled clips and what the calibration makes of them."""

    task: Outputs
    outputs: Array
    """Raw outputs (N, names)."""
    targets: Array
    """The truth (N, ...)."""
    names: tuple[str, ...]
    calibrated: Calibrated | None
    """None where the model was not calibrated."""
    reasons: list[list[str]]
    """Per clip, why its answer is not reliable."""

    def group_rows(self, groups: Mapping[str, Array]) -> list[dict[str, object]]:
        """Row numbers by group name -> a line per group, in the given order; empty groups are left out."""
        return [self.group_row(name, rows) for name, rows in groups.items() if len(rows)]

    def group_row(self, name: str, rows: Array) -> dict[str, object]:
        """Of some clips: errors in [0, 1], coverage as a share, mean size of the sets or intervals."""
        found: dict[str, object] = {"group": name, "clips": len(rows)}
        found |= {f"ECE{end}": calibration_error(*pair) for end, pair in self.confidence(rows).items()}
        if self.calibrated is None:
            return found
        found |= self.calibrated.summary(self.targets, rows, self.names)
        return found | {"unreliable": np.mean([bool(self.reasons[i]) for i in rows])}

    def confidence(self, rows: Array) -> dict[str, tuple[Array, Array]]:
        """How sure raw outputs (_raw) and calibrated ones are of some clips, and whether they are right; nothing for values."""
        given = {"_raw": self.outputs} | ({} if self.calibrated is None else {"": self.calibrated.values})
        pairs = {
            end: MAPS[self.task.calibration].confidence(values[rows], self.targets[rows])
            for end, values in given.items()
        }
        return {end: pair for end, pair in pairs.items() if pair is not None}

    def table(self, clips: Sequence[Clip]) -> pd.DataFrame:
        """A row per clip: calibrated outputs, prediction set or interval, whether it holds the truth, reliable, reasons."""
        c = self.calibrated
        if c is None:
            raise ValueError("the model is not calibrated; run mien calibrate")
        columns = {"path": [clip.path for clip in clips], **c.columns(self.targets, self.names)}
        texts = [" ".join(found) for found in self.reasons]
        return pd.DataFrame(columns | {"reliable": [not text for text in texts], "reasons": texts})


def assess(
    task: Outputs,
    calibration: Calibration | None,
    scores: Scores,
    targets: Array,
    names: Sequence[str],
    coverage: float | None = None,
) -> CalibrationQuality:
    """What a model made of clips (``Analyzer.score_clips``, measured) and their truth -> its calibration quality."""
    if calibration is None:
        return CalibrationQuality(task, scores.mean, targets, tuple(names), None, [[] for _ in targets])
    calibrated = calibration.apply(scores.mean, coverage)
    return CalibrationQuality(
        task, scores.mean, targets, tuple(names), calibrated, unreliable_reasons(calibration, scores)
    )


def unreliable_reasons(calibration: Calibration, scores: Scores) -> list[list[str]]:
    """Why each clip's answer is not reliable, by what the clip itself tells: sharpness and distance."""
    distances, limits = calibration.density.distance(scores.features), calibration.facts.limits
    return [reasons(s, None, None, d, limits) for s, d in zip(scores.sharpness, distances, strict=True)]


def view_warnings(calibration: Calibration, views: ViewConfig) -> list[str]:
    """A warning where outputs are means over other views than those that were calibrated."""
    fitted, now = calibration.facts.views, {name: getattr(views, name) for name in calibration.facts.views}
    if fitted == now:
        return []
    return [f"warning: calibrated for the views {fitted}, read with {now}; calibrate again with these --views"]


def write(quality: CalibrationQuality, clips: Sequence[Clip], subgroups: Sequence[str], folder: Path) -> list[str]:
    """Write trust.csv (a line per group), calibrated.csv (per clip) and the reliability diagram; lines to print."""
    lines = [{"column": "", **line} for line in quality.group_rows({"all": np.arange(len(clips))})]
    groups = {results.parse_subgroup(given)[0]: results.subgroup_rows(clips, given) for given in subgroups}
    lines += [{"column": column, **line} for column, found in groups.items() for line in quality.group_rows(found)]
    frame = pd.DataFrame(lines)
    write_whole(folder / "trust.csv", lambda path: write_csv(frame, path))
    if quality.calibrated is not None:
        table = quality.table(clips)
        write_whole(folder / "calibrated.csv", lambda path: write_csv(table, path))
    if pairs := quality.confidence(np.arange(len(clips))):
        named = {{"_raw": "raw", "": "calibrated"}[end]: pair for end, pair in pairs.items()}
        plots.save(diagrams.reliability(named, quality.task), folder / "reliability.png")
    if len(frame.columns) == 3:
        return []
    return frame.rename(columns={"column": ""}).to_string(index=False, float_format="{:.3f}".format).splitlines()
