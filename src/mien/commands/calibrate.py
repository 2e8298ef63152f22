"""Make a fine-tuned model's answers mean what they say: fit temperature, prediction sets and limits on validation clips.

mien calibrate --model runs/finetune --data.manifest clips.csv --data.select 'split=val'

The clips must be of people that were neither trained on nor will be tested. Writes calibration.yaml,
calibration.safetensors and pictures beside the weights, which are not touched; `mien evaluate` and `mien predict` use
them from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from mien.calibration import calibration, conformal, density
from mien.calibration.calibration import Calibration
from mien.calibration.reliability import Limits
from mien.config import STRICT
from mien.engine import distributed
from mien.engine.checkpoint import ModelFolder
from mien.files import LOCK
from mien.inference.analyzer import Analyzer, Scores, load
from mien.interfaces import Clip, Outputs
from mien.model_files import ONNX, weights_file
from mien.reports import diagrams, plots
from mien.training.data import DataConfig, load_clips, located, warn
from mien.training.partition import seen_by
from mien.video.container import FrameLimit
from mien.video.inspection import digest
from mien.video.leaks import find_seen, hash_clips
from mien.video.views import ViewConfig

Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class Config(FrameLimit, distributed.ReaderOptions):
    """Options of ``mien calibrate``."""

    model: ModelFolder = Path("runs/finetune")
    """Folder of a fine-tuned run."""
    data: DataConfig = DataConfig()
    coverage: Share = 0.9
    """Share of the truth that prediction sets and intervals shall hold; others can be asked for later."""
    density: Share = 0.95
    """Quantile of the distances among validation clips beyond which a clip is out of the range of training."""
    blur: Share = 0.01
    """Quantile of the validation clips' sharpness below which a clip is blurred."""
    width: NonNegativeFloat = 0.0
    """Least width of a face in the video, in pixels; 0 takes half of what the model sees."""
    pose: PositiveFloat = 45.0
    """Largest yaw or pitch of the head, in degrees."""
    roll: float = 60.0
    """Largest tilt of the head, in degrees; crops of voxceleb2 are not turned upright: lower it for them."""
    views: ViewConfig = ViewConfig()


def writes(config: Config) -> Path | None:
    """The lock of the model's folder."""
    return config.model / LOCK if config.model.is_dir() else None


def run(config: Config) -> Calibration:
    """Calibrate, store and print."""
    if config.model.suffix == ONNX:
        raise ValueError(f"{config.model} carries the calibration of its run: calibrate the run, then export it again")
    with distributed.session(config.device, config.matmul):
        analyzer = load(config.model, config.device)
        clips = load_clips(config.data, config.workers)
        conformal.require_enough(len(clips), config.coverage)
        density.require_several(whom([clip.columns.get("subject") for clip in clips]))
        warn(config.data, clips, analyzer.card)
        refuse_trained(config.model, clips, config.workers)
        targets = located(analyzer.config, clips).targets(clips, analyzer.names).numpy()
        read = analyzer.score_clips(clips, config.views, config.workers, measure=True)
    subjects = [clip.columns.get("subject") for clip in clips]
    known, distance = density.fit(read.features, whom(subjects), config.density)
    limits = Limits(
        sharpness=float(np.quantile(read.sharpness, config.blur)),
        width=config.width or analyzer.clip.size / 2,
        pose=config.pose,
        roll=config.roll,
        distance=distance,
    )
    origin = origin_of(config, analyzer, clips)
    found = calibration.fit(
        analyzer.outputs, read.mean, targets, analyzer.names, known, limits, config.coverage, origin
    )
    found.save(config.model)
    draw(analyzer.outputs, found, read, targets, config.model)
    print(f"{found!r}\nstored in {config.model / 'calibration.yaml'}")
    return found


def refuse_trained(model: Path, clips: Sequence[Clip], workers: int) -> None:
    """Clips that the model was trained on would promise too much: they are an error that names some."""
    taught = [stretch for stretch in seen_by(model) or [] if stretch.part == "training"]
    known = find_seen(taught, hash_clips(clips, workers), "calibration", clips) if taught else []
    if known:
        raise ValueError(f"{model} was trained on these clips: {known[0]}. Calibrate on people it has not learnt from")


def whom(subjects: Sequence[object]) -> list[object]:
    """Whom each clip shows; without the column subject every clip stands for itself."""
    return [f"clip {i}" if subject in (None, "") else subject for i, subject in enumerate(subjects)]


def origin_of(config: Config, analyzer: Analyzer, clips: list[Clip]) -> calibration.Origin:
    """Which weights, clips and views a calibration rests on."""
    manifest, views = Path(config.data.manifest), analyzer.compatible_views(config.views)
    return {
        "weights": digest(weights_file(config.model)),
        "manifest": manifest.name,
        "manifest_sha256": digest(manifest),
        "select": config.data.select,
        "clips": len(clips),
        "subjects": len({clip.columns.get("subject") for clip in clips} - {None}),
        "views": {"segments": views.segments, "crops": views.crops, "sliding": views.sliding},
    }


def draw(task: Outputs, found: Calibration, read: Scores, targets: np.ndarray, folder: Path) -> None:
    """Reliability diagram of the validation clips, for probabilities."""
    before, after = (found.map.confidence(v, targets) for v in (read.mean, found.map.apply(read.mean)))
    if before and after:
        figure = diagrams.reliability({"before": before, "after": after}, task, "Validation clips")
        plots.save(figure, folder / "calibration.png")
