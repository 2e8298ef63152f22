"""A model as a folder for the hub: written, read from the folder and from a stand-in of the hub, equal to the byte."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

import mien
from mien.cli import main
from mien.models.card import ModelCard
from mien.reports.timeline_page import provenance_rows
from mien.training.initial_weights import card_in
from mien.video.leaks import LearntClip, write_seen
from toy_models import EXPRESSIONS, calibrated, pictures, write_model, write_video

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated, evaluated run that began from weights without commercial use."""
    folder = write_model(tmp_path_factory.mktemp("runs") / "faces", sources=("marlin-small (CC BY-NC 4.0, no commercial use)",))  # fmt: skip
    calibrated(folder)
    write_seen(folder / "seen.csv", [LearntClip("training", f"{i:064x}") for i in range(3)])
    metrics = {
        "clips": 9, "task": "classification", "WAR": 0.5, "UAR": 0.4, "recall": {"anger": 0.4},
        "intervals": {"level": 0.95, "basis": "95 % intervals: bootstrap over 9 subjects; 1,000 draws", "bounds": {"UAR": [0.3, 0.5]}},
        "leaks": ["test and training share 1 clips"], "evaluated": {"model": "x", "manifest": "clips.csv", "subjects": 9},
    }  # fmt: skip
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "metrics.json").write_text(json.dumps(metrics))
    (folder / "evaluation" / "subgroups.csv").write_text(
        'column,group,clips,subjects,WAR\nsex,"female, or not said",5,5,0.5\n'
    )
    return folder


@pytest.fixture(scope="module")
def folder(run: Path) -> Path:
    """The folder for the hub."""
    made = run.parent / "hub"
    said = ["--name", "me/faces", "--licence", "cc-by-nc-4.0", "--corpora", "CREMA-D (ODbL 1.0)"]
    assert main(["export", str(run), str(made), "--format", "hub", *said]) == 0
    return made


class Hub(BaseHTTPRequestHandler):
    """What the hub answers for one repository: its files at one commit, and their content."""

    folder: Path

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        where = self.path.partition("?")[0]
        if where in ("/api/models/me/faces/revision/main", f"/api/models/me/faces/revision/{COMMIT}"):
            files = [{"rfilename": file.name} for file in self.folder.iterdir()]
            content = json.dumps({"id": "me/faces", "sha": COMMIT, "siblings": files}).encode()
        elif where == f"/api/models/me/faces/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0"} for f in self.folder.iterdir()
            ]
            content = json.dumps(tree).encode()
        elif where.startswith(f"/me/faces/resolve/{COMMIT}/"):
            content = (self.folder / where.rpartition("/")[2]).read_bytes()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hash(content):x}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Type", "application/json" if where.startswith("/api") else "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server in place of the hub, and an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    Hub.folder = folder
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield
        server.shutdown()


def test_weights_are_the_runs_to_the_byte_and_give_the_same_answers(run: Path, folder: Path, tmp_path: Path) -> None:
    assert (folder / "model.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
    assert ModelCard.load(folder) == ModelCard.load(run)
    video = write_video(tmp_path / "video.mp4", pictures(20))
    here, there = (mien.load(place, "cpu").predict(video, faces="whole", progress=False) for place in (run, folder))
    assert there.frames.equals(here.frames)
    assert there.frames["reliable"].notna().all(), "the calibration goes along"
    assert "CC BY-NC 4.0" in str(provenance_rows(there.about)), "every page says what the weights began from"


def test_an_evaluation_says_what_licence_the_weights_inherit(run: Path, corpus: Path, tmp_path: Path) -> None:
    said = ["--data.manifest", str(corpus), "--data.select", "subject=s000", "--workers", "0"]
    assert main(["evaluate", "--model", str(run), "--output", str(tmp_path / "out"), *said]) == 0
    assert "no commercial use: these weights began from marlin-small" in (tmp_path / "out" / "report.html").read_text()


def test_it_is_read_from_the_hub_at_a_revision_and_the_commit_taken_is_told(
    run: Path, hub: None, capsys: pytest.CaptureFixture[str]
) -> None:
    analyzer = mien.load(f"hf://me/faces@{COMMIT}", "cpu")
    assert analyzer.names == EXPRESSIONS
    assert analyzer.calibration is not None
    assert COMMIT not in capsys.readouterr().err
    again = mien.load("hf://me/faces", "cpu")
    assert f"hf://me/faces@{COMMIT}" in capsys.readouterr().err
    assert again.folder is not None
    assert (again.folder / "model.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
    assert (again.folder / "seen.csv").is_file(), "what was learnt from goes along, for the guard against leaks"


def test_what_is_not_there_is_one_sentence(hub: None) -> None:
    with pytest.raises(ValueError, match="hf://me/nothing cannot be fetched"):
        mien.load("hf://me/nothing", "cpu")


def test_programs_find_names_preprocessing_and_calibration(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert config["id2label"] == {str(i): name for i, name in enumerate(EXPRESSIONS)}
    assert config["preprocessing"]["size"] == 32
    assert config["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert config["calibration"]["coverage"] == 0.8


def test_the_model_card_says_what_the_run_knows(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    about = yaml.safe_load(text.split("---")[1])
    assert about["license"] == "cc-by-nc-4.0"
    for said in (
        "marlin-small (CC BY-NC 4.0, no commercial use)", "**No commercial use**", "CREMA-D (ODbL 1.0)", "3 clips for training",
        "| UAR | 0.4000 | 0.3000 to 0.5000 |", "bootstrap over 9 subjects", "test and training share 1 clips",
        "| sex | female, or not said | 5 | 5 |", "subjects: 9", "mien analyze interview.mp4 --model hf://me/faces",
    ):  # fmt: skip
        assert said in text, said


def test_a_licence_that_the_sources_forbid_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), str(tmp_path / "hub"), "--format", "hub", "--licence", "mit"]) == 1
    assert "began from marlin-small" in capsys.readouterr().err
    assert not (tmp_path / "hub").exists()


def test_a_run_that_begins_from_weights_keeps_their_sources(run: Path, corpus: Path, tmp_path: Path) -> None:
    """So that every report says that its weights began from some without commercial use."""
    from mien.commands.finetune import Config
    from mien.training.data import load_clips
    from mien.training.fit import card_of

    config = replace(Config(), init=str(run), data=replace(Config().data, manifest=str(corpus)))
    assert card_of(config, load_clips(config.data, 0)[:2]).provenance()["sources"] == ["marlin-small (CC BY-NC 4.0, no commercial use)"]  # fmt: skip


def test_a_folder_that_is_no_model_of_mien_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "videomae"}))
    with pytest.raises(ValueError, match=r"model\.json is missing"):
        mien.load(tmp_path)
    assert card_in(tmp_path) is None
