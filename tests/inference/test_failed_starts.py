"""A start that failed before there was anything to lose does not keep its folder from the corrected command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mien.commands import demo, pretrain
from mien.datasets.synthetic import SynthConfig, prepare_folder
from mien.encoders.vjepa import VJEPAConfig
from mien.faces import store
from mien.faces.clipfile import ClipFileConfig
from mien.faces.cut import CutConfig
from mien.inference.analyzer import load
from mien.inference.job import Job
from mien.inference.tables import Layout
from mien.training.run_config import ONCE_FIXED, identity
from mien.video.clips import ClipConfig
from mien.video.inspection import InspectionJournal, inspect_files
from toy_models import write_model
from trees import inspect_file


def test_a_store_in_which_nothing_was_cut_takes_other_settings(tmp_path: Path) -> None:
    one, other = CutConfig(), CutConfig(clip=ClipFileConfig(shortest=99))
    store.prepare_store(tmp_path, one)
    store.prepare_store(tmp_path, other)
    (tmp_path / "clips" / "a-0123456789").mkdir(parents=True)
    store.prepare_store(tmp_path, other)
    with pytest.raises(ValueError, match="99 there"):
        store.prepare_store(tmp_path, one)


def test_a_journal_without_findings_takes_another_subject(tmp_path: Path) -> None:
    path = tmp_path / "checked.jsonl"
    InspectionJournal(path, "typo").close()
    journal = InspectionJournal(path, "right")
    inspect_files([tmp_path / "no.mp4"], journal, 1, True, inspector=inspect_file)
    journal.close()
    with pytest.raises(ValueError, match="is about right"):
        InspectionJournal(path, "typo")


def test_an_analysis_without_rows_makes_way_for_another(tmp_path: Path) -> None:
    layout = load(write_model(tmp_path / "model"), "cpu").layout()
    with Job(tmp_path / "out", layout, {"hop": 3}, "csv") as job:
        assert not job.open(overwrite=False)
    with Job(tmp_path / "out", layout, {"hop": 4}, "csv") as job:
        assert not job.open(overwrite=False)
        job.frames.append([["x"] * len(job.frames.columns)])
    with pytest.raises(ValueError, match="hop was 4"):
        Job(tmp_path / "out", layout, {"hop": 3}, "csv").open(overwrite=False)


def test_a_corpus_that_never_became_whole_is_drawn_anew(tmp_path: Path) -> None:
    prepare_folder(SynthConfig(tmp_path, clips=42))
    prepare_folder(SynthConfig(tmp_path, clips=49))
    (tmp_path / "manifest.csv").touch()
    with pytest.raises(ValueError, match="holds a drawn corpus"):
        prepare_folder(SynthConfig(tmp_path, clips=42))


def test_a_demo_that_has_not_trained_takes_other_settings(tmp_path: Path) -> None:
    demo.draw_corpus(demo.Config(tmp_path, clips=21, subjects=5, labels=7))
    demo.draw_corpus(demo.Config(tmp_path, clips=14, subjects=5, labels=7))
    (tmp_path / "pretrain" / "checkpoints").mkdir(parents=True)
    (tmp_path / "pretrain" / "checkpoints" / "step-0000001.pt").touch()
    with pytest.raises(ValueError, match="holds another corpus"):
        demo.draw_corpus(demo.Config(tmp_path, clips=21, subjects=5, labels=7))


def test_a_detector_that_was_moved_is_the_same_detector(tmp_path: Path) -> None:
    layout = Layout(("anger", "fear"), "classification", "emotion", None)

    def job_with(model: str) -> Job:
        return Job(tmp_path / "out", layout, {"hop": 3, "detector": {"name": "yunet", "model": model}}, "csv")

    with job_with("/old/place/yunet.onnx") as job:
        job.open(overwrite=False)
        job.frames.append([["x"] * len(job.frames.columns)])
    assert not job_with("/new/place/yunet.onnx").open(overwrite=False), "it goes on"
    with pytest.raises(ValueError, match="holds another analysis"):
        job_with("/new/place/scrfd.onnx").open(overwrite=False)


def test_a_run_of_version_0_1_is_not_another_run() -> None:
    config = pretrain.Config(encoder=VJEPAConfig(), clip=ClipConfig(fps=0.0))
    said = identity(config, [])
    assert not [key for _, key, _ in ONCE_FIXED if f".{key}:" in said]
    other = identity(replace(config, clip=ClipConfig(fps=25.0), encoder=VJEPAConfig(uniform_power=False)), [])
    assert "clip.fps: 25.0" in other
    assert "encoder.uniform_power: false" in other
