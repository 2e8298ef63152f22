"""What training leaves, in Python: runs, probes and cross-validations; what lies in their folders is read when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mien.engine.checkpoint import checkpoints
from mien.engine.runlog import read_metrics
from mien.evaluation.results import Evaluation
from mien.inference.analyzer import Analyzer, load
from mien.interfaces import Encoder
from mien.models.card import ModelCard
from mien.statistics.intervals import CrossValidation
from mien.training.selection import RESULTS, folders


@dataclass(frozen=True, repr=False)
class TrainingRun:
    """The folder of a pre-training or a fine-tuning; ``TrainingRun(folder)`` also names one of an earlier day."""

    folder: Path

    @property
    def steps(self) -> int:
        """Optimizer steps done, as the newest checkpoint says."""
        return int(checkpoints(self.folder)[-1].stem.removeprefix("step-"))

    @property
    def history(self) -> pd.DataFrame:
        """A row per logged step: loss, learning rate and what else is logged."""
        return pd.DataFrame(read_metrics(self.folder / "metrics.jsonl"))

    @property
    def card(self) -> ModelCard:
        """What the weights are: encoder, task or objective, clips."""
        return ModelCard.load(self.folder)

    @property
    def weights(self) -> dict[str, Path]:
        """Folders of weights by how they were chosen: the last epoch, and those that did best while a task trained."""
        return folders(self.folder)

    @property
    def results(self) -> pd.DataFrame:
        """A row per folder of ``weights`` with its metrics on validation and test clips; empty where there are none."""
        file = self.folder / RESULTS
        return pd.read_json(file) if file.is_file() else pd.DataFrame()

    def load(self, device: str = "auto") -> Analyzer:
        """The fine-tuned model of the last epoch, as ``mien.load``; ``ValueError`` for a pre-training."""
        return load(self.folder, device)

    def encoder(self) -> Encoder:
        """The encoder alone, on the CPU; of a joint embedding the teacher's."""
        return self.card.build_encoder(self.folder)

    def __repr__(self) -> str:
        history = self.history
        loss = f", loss {history['loss'].iloc[-1]:.4g}" if len(history) else ""
        return f"TrainingRun({str(self.folder)!r}: {self.steps} steps{loss})"


@dataclass(frozen=True, eq=False, repr=False)
class ProbeResults:
    """Probes over frozen encoders, one per row."""

    folder: Path
    rows: list[dict[str, object]]
    """What each probe reads (``features``), its settings and its metrics."""

    @property
    def table(self) -> pd.DataFrame:
        """The rows, one below the other."""
        return pd.DataFrame(self.rows)

    def load(self, features: str | None = None, device: str = "auto") -> Analyzer:
        """An encoder with its probe as a model, by what stands in the column ``features``; by default the first."""
        return load(self.folder / probe_folder(features or str(self.rows[0]["features"])), device)

    def __repr__(self) -> str:
        return f"ProbeResults({str(self.folder)!r})\n{self.table.to_string(index=False)}"


def probe_folder(features: str) -> str:
    """The name of the folder of a probe, from that of the encoder it reads."""
    return features.replace(", ", "-").replace(" ", "-")


@dataclass(frozen=True, eq=False, repr=False)
class CrossValidationResults:
    """Every fold tested by a model that was trained on the others."""

    folder: Path
    evaluation: Evaluation
    """Of the predictions of all folds together, with intervals."""
    folds: CrossValidation
    """Metrics of each fold, their mean and deviation."""

    def __repr__(self) -> str:
        table = pd.DataFrame(self.folds.folds).T.rename_axis("fold")
        return f"{self.evaluation!r}\n{table.to_string(float_format='{:.4f}'.format)}"
