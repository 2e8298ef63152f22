"""What ``mien calibrate`` leaves beside the weights, and its use: calibration.yaml and calibration.safetensors.

calibration = Calibration.load(folder)            # what `mien calibrate` stored beside the weights
answers = calibration.apply(outputs, coverage=0.9)   # outputs (N, names), as an Analyzer gives them
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import pydantic
import yaml
from numpy.typing import ArrayLike
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mien import __version__
from mien.calibration.calibrated import Calibrated, calibration_error
from mien.calibration.density import Density
from mien.calibration.maps import MAPS, CalibrationMap, Temperature
from mien.calibration.reliability import Limits
from mien.config import STRICT, build, to_tree
from mien.files import write_whole
from mien.interfaces import Outputs
from mien.model_files import ONNX, read_notes, weights_file
from mien.statistics.metrics import Array
from mien.tasks import outputs_of
from mien.video.inspection import digest
from mien.yaml_files import read_yaml

FACTS, SCORES = "calibration", "calibration_scores"
"""Names of a calibration among the notes of an ONNX file."""
MEASURED = Density(np.zeros(1), np.ones(1), np.eye(1))
"""The density of an ONNX file, whose one statistic of a clip is the distance."""


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class CalibrationFacts:
    """calibration.yaml: everything about a calibration that a person wants to read."""

    mien: str
    """Version that made it."""
    weights: str
    """SHA-256 of weights.safetensors, to which it belongs."""
    manifest: str
    """Name of the validation manifest."""
    manifest_sha256: str
    """SHA-256 of that file."""
    select: str
    """Rows of it that were used."""
    clips: int
    """Number of those rows."""
    subjects: int
    """Different values of their column subject; 0 without that column."""
    views: dict[str, int]
    """Views over which outputs were averaged."""
    task: str
    """Name of the task: classification, regression, ..."""
    names: tuple[str, ...]
    """Names of the outputs."""
    temperature: float
    """Logits are divided by it: above 1 the model was too sure, below 1 not sure enough. 1 for values."""
    uniform: float
    """Share of even chances that is mixed in, in [0, 1): about what labels hold of pure chance. 0 for values."""
    coverage: float
    """Share of the truth that sets and intervals hold where no other is asked for."""
    thresholds: tuple[float, ...]
    """At that coverage: a class is in the set if 1 - its probability is at most this; per value half the interval's width; of
    labels first those of no, then of yes, which is in the set if the probability of the other is at most this."""
    limits: Limits
    """Where an answer counts as unreliable."""
    fitted_on: dict[str, float]
    """Loss and calibration error on the validation clips before and after; flattered, since fitted on these."""
    slopes: tuple[float, ...] = ()
    """Per label, what its logit is multiplied by; none for other tasks."""
    shifts: tuple[float, ...] = ()
    """Per label, what is then added to its logit."""


@dataclass(frozen=True, eq=False, repr=False)
class Calibration:
    """What `mien calibrate` found; ``apply`` uses it."""

    facts: CalibrationFacts
    scores: Array
    """Conformal scores of the validation clips (N, ...), in rising order."""
    density: Density

    def __repr__(self) -> str:
        facts, limits = self.facts, self.facts.limits
        error = ""
        if facts.fitted_on:
            before, after = facts.fitted_on["ECE_before"], facts.fitted_on["ECE_after"]
            error = f", calibration error {before:.3f} -> {after:.3f} on these clips"
        return (
            f"{facts.clips} clips of {facts.subjects} subjects: {self.map.sentence(facts.names, facts.thresholds)}{error}; "
            f"{facts.coverage:.0%} coverage\nunreliable: sharpness below {limits.sharpness:.3g}, face narrower than "
            f"{limits.width:g} px, head turned over {limits.pose:g} or tilted over {limits.roll:g} degrees, feature distance "
            f"over {limits.distance:.3g}"
        )

    @property
    def map(self) -> CalibrationMap:
        """The map with its parameters."""
        return MAPS[outputs_of(self.facts.task).calibration].of(self.facts)

    @classmethod
    def load(cls, folder: Path) -> Calibration | None:
        """The calibration in a model's folder, or among the notes of its ONNX file; None where there is none.

        ``ValueError`` if it belongs to other weights.
        """
        if folder.suffix == ONNX and folder.is_file():
            return cls.of_notes(read_notes(folder))
        file = folder / "calibration.yaml"
        if not file.is_file():
            return None
        facts = build(CalibrationFacts, read_yaml(file))
        if facts.weights != digest(weights_file(folder)):
            raise ValueError(f"{file} was made for other weights than those beside it; run mien calibrate again")
        try:
            tensors = load_file(folder / "calibration.safetensors")
            return cls(facts, tensors["scores"], Density.of(tensors))
        except (OSError, KeyError, SafetensorError) as error:
            raise ValueError(
                f"{folder / 'calibration.safetensors'} is not readable; run mien calibrate again"
            ) from error

    @classmethod
    def of_notes(cls, notes: Mapping[str, str]) -> Calibration | None:
        """What ``notes`` gave."""
        if FACTS not in notes:
            return None
        facts = build(CalibrationFacts, json.loads(notes[FACTS]))
        return cls(facts, np.array(json.loads(notes[SCORES])), MEASURED)

    def notes(self) -> dict[str, str]:
        """All but the density as notes of an ONNX file, whose network measures the distance itself."""
        return {FACTS: json.dumps(to_tree(self.facts)), SCORES: json.dumps(self.scores.tolist())}

    def save(self, folder: Path) -> None:
        """Write calibration.yaml and calibration.safetensors beside the weights, which stay as they are."""
        tensors = {"scores": self.scores} | self.density.tensors()
        (folder / "calibration.yaml").unlink(missing_ok=True)  # written last: without it there is no calibration
        write_whole(folder / "calibration.safetensors", lambda path: save_file(tensors, path))
        about = {key: value for key, value in to_tree(self.facts).items() if value or key not in ("slopes", "shifts")}
        text = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
        write_whole(folder / "calibration.yaml", lambda path: path.write_text(text))

    def apply(self, outputs: ArrayLike, coverage: float | None = None) -> Calibrated:
        """Outputs (N, names) -> calibrated ones with sets or intervals at a coverage in (0, 1)."""
        return self.conformal(self.map.apply(outputs), coverage)

    def conformal(self, values: ArrayLike, coverage: float | None = None) -> Calibrated:
        """Sets or intervals around values (N, names) that are calibrated already, such as means over windows."""
        chosen = self.facts.coverage if coverage is None else coverage
        return self.map.conformal(np.asarray(values, dtype=float), self.scores, chosen)


class Origin(TypedDict):
    """What a calibration rests on: the first fields of ``CalibrationFacts``."""

    weights: str
    manifest: str
    manifest_sha256: str
    select: str
    clips: int
    subjects: int
    views: dict[str, int]


def require_calibration(found: Calibration | None, coverage: float | None) -> None:
    """A coverage can be asked of a calibrated model alone."""
    if coverage is not None and found is None:
        raise ValueError(
            f"--coverage {coverage:g}: this model is not calibrated, so it has no sets or intervals; mien calibrate makes them"
        )


def fit(
    task: Outputs,
    outputs: ArrayLike,
    targets: ArrayLike,
    names: tuple[str, ...],
    density: Density,
    limits: Limits,
    coverage: float,
    origin: Origin,
) -> Calibration:
    """Outputs (N, names) and truth of validation clips of a task -> their calibration.

    ``origin`` has the fields of ``CalibrationFacts`` from weights to views.
    """
    raw, truth = np.asarray(outputs, dtype=float), np.asarray(targets)
    found = MAPS[task.calibration].fit(raw, truth, names)
    values = found.apply(raw)
    scores = found.scores(values, truth)
    facts = CalibrationFacts(
        mien=__version__,
        **origin,
        task=task.kind,
        names=names,
        **vars(Temperature()) | vars(found),
        coverage=coverage,
        thresholds=found.thresholds(scores, coverage),
        limits=limits,
        fitted_on=errors_before_and_after(found, raw, values, truth),
    )
    return Calibration(facts, scores, density)


def errors_before_and_after(found: CalibrationMap, raw: Array, values: Array, truth: Array) -> dict[str, float]:
    """Cross-entropy and expected calibration error of probabilities before and after; nothing for values."""
    pairs = {end: found.confidence(given, truth) for end, given in (("before", raw), ("after", values))}
    errors = {f"ECE_{end}": calibration_error(*pair) for end, pair in pairs.items() if pair is not None}
    if not errors:
        return {}
    return {
        "cross_entropy_before": found.loss(raw, truth),
        "cross_entropy_after": found.loss(values, truth),
        **errors,
    }
