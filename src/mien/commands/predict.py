"""Say in a few lines what one video shows.

mien predict VIDEO --model runs/finetune

VIDEO is a file or a folder of frames. It is read as `mien analyze` reads it: faces are found, followed and cropped as the
model's training clips were, and what is printed of each face are the means over its frames, the face seen longest first;
--faces whole is for a clip that is cropped to one face already. --json prints for programs. Of a model that
`mien calibrate` has calibrated these are means of calibrated values, with a prediction set (values: an interval) and what
speaks against relying on them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tyro
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.engine import distributed
from mien.inference.analyzer import Analyzer, load
from mien.inference.predict import ReadConfig
from mien.inference.reliability_share import share_of
from mien.inference.timeline import Timeline
from mien.interfaces import Outputs
from mien.names import to_text
from mien.video.container import FrameLimit


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Config(ReadConfig, FrameLimit, distributed.DeviceOptions):
    """Options of ``mien predict``; those of reading are the same as of ``mien analyze``."""

    video: tyro.conf.Positional[Path]
    """Video file or folder of frames."""
    model: str = "runs/finetune"
    """Folder of a fine-tuned run, or hf://owner/name."""
    json: bool = False
    """Print one JSON object instead of a table: what is said of the face seen longest, and of all under "faces"."""


Facts = dict[str, Any]
"""What is said of a face, as ``--json`` prints it."""


def run(config: Config) -> Timeline:
    """Read and print. Raises ``ValueError`` where no face is seen, and, after printing, where a video breaks off."""
    with distributed.session(config.device, config.matmul):
        analyzer = load(config.model, config.device, config.matmul)
        timeline = analyzer.predict(config.video, **vars(config.reading()))
        longest = int(timeline.face()["face_id"])
        order = sorted(timeline.summary()["face_id"], key=lambda face: face != longest)
        described = [describe(analyzer, timeline, int(face), config.coverage) for face in order]
        faces = [face for face, _, _ in described]
    if config.json:
        print(json.dumps({"path": to_text(config.video)} | faces[0] | faces[0]["scores"] | {"faces": faces}))
    else:
        print(config.video)
        for face, beside, closing in described:
            print("\n".join(lines(analyzer.outputs, face, beside, closing, len(faces) > 1)))
    for line in promises(analyzer, faces[0]["windows"]):
        print(line, file=sys.stderr)
    if timeline.about["stopped"]:
        raise ValueError(f"{timeline.about['stopped']}. What is printed was read before")
    return timeline


def describe(
    analyzer: Analyzer, timeline: Timeline, number: int, coverage: float | None
) -> tuple[Facts, dict[str, str], str]:
    """What is said of a face: how long it was seen, means over its frames, set or intervals, doubts; and for a person what
    is plausible, a text per name and a sentence."""
    row, names = timeline.face(number), timeline.names
    windows = timeline.windows[timeline.windows["face_id"] == number]
    frames = timeline.frames[(timeline.frames["face_id"] == number) & (timeline.frames["success"] == 1)]
    facts: Facts = {"face_id": number, "frames": int(row["frames"]), "windows": len(windows)}
    facts |= {"person": int(row["person"])} if timeline.layout.persons else {}
    facts |= {"first": float(row["first"]), "last": float(row["last"])}
    facts["scores"] = {name: float(row[name]) for name in names}
    if timeline.layout.label:
        facts[timeline.layout.label] = row[timeline.layout.label]
    share = share_of(frames)
    facts |= {"reliable": not share.unreliable if share.judged else None, "reasons": list(share.reasons)}
    facts |= {"unreliable": share.share, "reliability": share.sentence()}
    if analyzer.calibration is None:
        return facts, {}, ""
    around = analyzer.calibration.conformal([[row[name] for name in names]], coverage)
    facts["coverage"] = coverage or analyzer.calibration.facts.coverage
    return {**facts, **around.to_json(0, names)}, *around.describe(0, names, facts["coverage"])


def lines(task: Outputs, face: Facts, beside: Mapping[str, str], closing: str, several: bool) -> list[str]:
    """A face for a person: whether to rely on it, then classes by rank, or other outputs in their order."""
    scores = face["scores"]
    who = f"face {face['face_id']}" + (f", person {face['person']}" if "person" in face else "")
    shown = [f"  {who}, {face['frames']} frames"] if several else []
    shown.append(f"  {face['reliability']}")
    for name, value in sorted(scores.items(), key=lambda item: -item[1]) if task.exclusive else scores.items():
        bar = f"{'#' * round(30 * value):<30}" if task.bounds else ""
        shown.append(f"  {name:<20} {value:7.4f} {bar} {beside.get(name, '')}".rstrip())
    return [*shown, f"  {closing}"] if closing else shown


def promises(analyzer: Analyzer, windows: int) -> list[str]:
    """A warning where sets and intervals are not of what was calibrated: means over other windows."""
    if analyzer.calibration is None or windows == 1:
        return []
    views = analyzer.calibration.facts.views
    return [
        f"warning: calibrated for the views {views}, this is a mean over {windows} windows: sets and intervals hold the truth "
        "as promised only of clips that are no longer than a window"
    ]
