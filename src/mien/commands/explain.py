"""When and where a model looks in a video: maps over the face, and whether they are true.

mien explain VIDEO --model runs/finetune --output explanation --check

VIDEO is read as `mien analyze` reads it: faces are found, followed and cropped as the model's training clips were; --faces
whole is for a clip that is cropped to one face already. The answer that is explained is the one of `mien predict`, the mean
over all frames of a face; maps are made for --windows of it.
Of a fine-tuned model: what its answer loses when moments or squares of the face are hidden, and, where its encoder has
maps of attention (of a TPSBT, which sites feed its bottleneck tokens), those. Of a pre-training run of masked autoencoding: where the face is badly guessed from the rest.
Writes videos and pictures with the maps laid over the face, maps.npz with the numbers, and explanation.json. --check
adds two tests that a map must pass: randomised weights destroy it, and deleting the patches that it names hurts the
answer sooner than deleting random ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass as plain
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.engine import distributed
from mien.engine.distributed import choose_device
from mien.explanations import drawing, explanation, map_overlay
from mien.explanations.checks import Curves
from mien.explanations.explanation import MapConfig, Maps
from mien.explanations.face_windows import FaceWindows, WindowClips, evenly_spaced, find_windows, read_face
from mien.explanations.question import question_about, require_known_target, top_output, window_outputs
from mien.explanations.reconstruction import load_autoencoder
from mien.files import remove_files, write_whole
from mien.inference.analyzer import load
from mien.inference.predict import ReadConfig
from mien.inference.sources import Source, open_source
from mien.models.card import ModelCard
from mien.names import to_text
from mien.reports import plots
from mien.video.container import FrameLimit


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Config(ReadConfig, FrameLimit, distributed.DeviceOptions):
    """Options of ``mien explain``; those of reading are the same as of ``mien analyze``."""

    video: tyro.conf.Positional[Path]
    """Video file or folder of frames."""
    model: Path = Path("runs/finetune")
    """Folder of a fine-tuned run, or of a pre-training run of masked autoencoding."""
    output: Path = Path("explanation")
    """Folder for everything."""
    target: str = ""
    """Output to explain, by name; empty takes the model's own answer (of values the first)."""
    check: bool = False
    """Test the maps: randomised weights, deletion and insertion."""
    maps: MapConfig = MapConfig()
    face: NonNegativeInt | None = None
    """Number of the face to explain; left out: the one seen longest."""
    windows: NonNegativeInt = 1
    """Windows to explain, each on its own, spread over the time that the face is seen; 1 takes the middle one, 0 all."""
    matmul: distributed.MatmulPrecision = "highest"
    """Precision of fp32 matrix products; maps are small differences of answers, so it is the full one here."""


@plain
class Explained:
    """What is written in the end."""

    path: Path
    stretch: FaceWindows
    windows: WindowClips
    about: dict[str, Any]
    maps: dict[str, Maps] = field(default_factory=dict)
    """Maps by method."""
    moments: Maps = field(default_factory=list)
    """Loss per time slot of each window."""
    regions: Maps = field(default_factory=list)
    """Loss per site of each window."""
    survival: dict[str, list[float]] = field(default_factory=dict)
    """Rank correlation with the maps of each randomised model, by method."""
    curves: dict[str, list[Curves]] = field(default_factory=dict)
    """Deletion and insertion of each window, by method."""


def run(config: Config) -> None:
    """Explain, write and print."""
    with distributed.session(config.device, config.matmul):
        fine_tuned = ModelCard.load(config.model).task is not None
        with open_source(config.video) as source:
            found = explain_answer(config, source) if fine_tuned else explain_guesses(config, source)
            write(found, config.output)
    for line in told(found):
        print(line)
    print(f"maps in {config.output}")


def explain_answer(config: Config, source: Source) -> Explained:
    """Maps of a fine-tuned model."""
    analyzer, reading = load(config.model, config.device), config.reading()
    require_known_target(analyzer, config.target)
    timeline, there = read_face(analyzer, source, reading, config.face)
    row = timeline.face(there[0].face_id)
    stretch = FaceWindows(source, reading, analyzer.clip, analyzer.card.face_crop, evenly_spaced(there, config.windows))
    windows = stretch.read()
    name = config.target or top_output(analyzer, row)
    question = question_about(analyzer, windows.clips, name)
    about = {"target": name, "answer": float(row[name]), "unit": analyzer.outputs.evidence or name}
    about |= {"face": there[0].face_id, "windows": len(there)}
    about["explained"] = window_outputs(question)[:, question.output].tolist()
    found = Explained(config.video, stretch, windows, about)
    makers = {
        "occlusion": lambda task: explanation.occlusion_maps(question.of(task), config.maps),
        "attention": lambda task: explanation.attention_maps(task, windows.clips, config.maps),
    }
    for method, make in makers.items():
        if not (maps := make(analyzer.task)):
            continue
        found.maps[method] = maps
        if config.check:
            found.survival[method] = explanation.randomisation_correlations(
                analyzer.task, make, found.maps[method], config.maps.draws
            )
            found.curves[method] = explanation.curves_per_window(question, found.maps[method], config.maps)
    found.moments = explanation.temporal_maps(question, config.maps)
    found.regions = explanation.spatial_maps(question, config.maps)
    return found


def explain_guesses(config: Config, source: Source) -> Explained:
    """Error maps of a masked autoencoder."""
    if config.target:
        raise ValueError(f"--target {config.target}: {config.model} is a pre-trained encoder and has no outputs")
    objective, clip, face_crop = load_autoencoder(config.model, choose_device(config.device))
    reading = config.reading()
    there = find_windows(source, reading, clip, face_crop, config.face)
    stretch = FaceWindows(source, reading, clip, face_crop, evenly_spaced(there, config.windows))
    windows, about = stretch.read(), {"target": "reconstruction", "unit": "squared error"}
    found = Explained(config.video, stretch, windows, about | {"face": there[0].face_id, "windows": len(there)})

    def make(model: Any) -> Maps:
        return explanation.error_maps(model, windows.clips, config.maps)

    found.maps["reconstruction"] = make(objective)
    if config.check:
        survival = explanation.randomisation_correlations(
            objective, make, found.maps["reconstruction"], config.maps.draws
        )
        found.survival["reconstruction"] = survival
    return found


def write(found: Explained, folder: Path) -> None:
    """Videos, pictures, maps.npz and, last, explanation.json."""
    films = [f"{method}.mp4" for method in ("occlusion", "attention", "reconstruction")]
    remove_files(folder, ["explanation.json", "maps.npz", "maps.png", "when.png", "where.png", "check.png", *films])
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, NDArray[Any]] = {}
    for method, maps in found.maps.items():
        pairs, signed = zip(found.windows.frames, maps, strict=True), method == "occlusion"
        shown = [map_overlay.MapWindow(frames, one) for frames, one in pairs]
        title = f"{method}: {found.about['target']}"
        map_overlay.write_video(found.stretch, shown, folder / f"{method}.mp4", title, signed)
        rows["video"], rows[method] = map_overlay.picture_rows(found.stretch, shown, signed)
    plots.save_png(plots.mosaic([(name, frames / 255) for name, frames in rows.items()]), folder / "maps.png")
    if found.moments:
        plots.save(drawing.temporal_figure(found.windows.times, found.moments, found.about), folder / "when.png")
        plots.save(drawing.spatial_figure(found.windows.clips, found.regions, found.about), folder / "where.png")
    if found.curves:
        plots.save(drawing.removal_figure(found.curves, found.about["target"]), folder / "check.png")
    arrays = {name: np.stack(maps) for name, maps in found.maps.items()}
    arrays |= {"times": found.windows.times, "frames": found.windows.frames}
    arrays |= {"when": np.stack(found.moments), "where": np.stack(found.regions)} if found.moments else {}
    write_whole(folder / "maps.npz", lambda path: save_arrays(path, arrays))
    saved = {"video": to_text(found.path), **found.about, "checks": checks(found)}
    write_whole(folder / "explanation.json", lambda path: path.write_text(json.dumps(saved, indent=2) + "\n"))


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Arrays by name as .npz, under exactly this path."""
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


def checks(found: Explained) -> dict[str, dict[str, Any]]:
    """What each method's maps did in the checks, means over the windows."""
    result: dict[str, dict[str, Any]] = {}
    for method, survival in found.survival.items():
        areas = [one.areas() for one in found.curves.get(method, [])]
        means = {name: float(np.mean([area[name] for area in areas])) for name in (areas[0] if areas else {})}
        result[method] = {"randomised_rank_correlation": survival, **means}
    return result


def told(found: Explained) -> list[str]:
    """What a person is told: the answer, and what the checks say of each method."""
    answer = f" {found.about['answer']:.3f}" if "answer" in found.about else ""
    what = f"face {found.about['face']}, {found.about['target']}{answer}"
    explained = f"{len(found.stretch.windows)} of {found.about['windows']} windows explained"
    lines = [f"{found.path}: {what}; {explained}"]
    if "explained" in found.about:
        lines[0] += ", of which the model says " + ", ".join(f"{value:.3f}" for value in found.about["explained"])
    for method, check in checks(found).items():
        left = float(np.mean(check["randomised_rank_correlation"]))
        lines.append(f"  {method}: randomised weights leave a rank correlation of {left:+.2f} (0: nothing)")
        for what in ("deletion", "insertion"):
            if f"{what}_AUC" in check:
                area, chance, beaten = (check[f"{what}_{end}"] for end in ("AUC", "AUC_random", "beats_random"))
                lines.append(
                    f"    {what} AUC {area:.3f}, random regions {chance:.3f}; better than {beaten:.0%} of them"
                )
    return lines
