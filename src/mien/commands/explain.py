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

from pathlib import Path

import tyro
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.engine import distributed
from mien.engine.distributed import choose_device
from mien.explanations import explanation
from mien.explanations.explanation import MapConfig, Maps
from mien.explanations.face_windows import FaceWindows, evenly_spaced, find_windows, read_face
from mien.explanations.question import question_about, require_known_target, top_output, window_outputs
from mien.explanations.reconstruction import load_autoencoder
from mien.explanations.result import About, Explanation
from mien.inference.analyzer import load
from mien.inference.predict import ReadConfig
from mien.inference.sources import Source, open_source
from mien.models.card import ModelCard
from mien.objectives.masked_autoencoding import MaskedAutoencoding
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


def run(config: Config) -> Explanation:
    """Explain, write and print."""
    config.refuse_identity("mien explain")
    with distributed.session(config.device, config.matmul):
        fine_tuned = ModelCard.load(config.model).task is not None
        with open_source(config.video) as source:
            found = explain_answer(config, source) if fine_tuned else explain_guesses(config, source)
            found.write(config.output)
    print(f"{found!r}\nmaps in {config.output}")
    return found


def explain_answer(config: Config, source: Source) -> Explanation:
    """Maps of a fine-tuned model."""
    analyzer, reading = load(config.model, config.device), config.reading()
    require_known_target(analyzer, config.target)
    timeline, there = read_face(analyzer, source, reading, config.face)
    row = timeline.face(there[0].face_id)
    stretch = FaceWindows(source, reading, analyzer.clip, analyzer.card.face_crop, evenly_spaced(there, config.windows))
    windows = stretch.read()
    name = config.target or top_output(analyzer, row)
    question = question_about(analyzer, windows.clips, name)
    about: About = {
        "target": name,
        "answer": float(row[name]),
        "unit": analyzer.outputs.evidence or name,
        "face": there[0].face_id,
        "windows": len(there),
        "explained": window_outputs(question)[:, question.output].tolist(),
    }
    found = Explanation(
        config.video, stretch, windows, about,
        moments=explanation.temporal_maps(question, config.maps), regions=explanation.spatial_maps(question, config.maps),
    )  # fmt: skip
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
    return found


def explain_guesses(config: Config, source: Source) -> Explanation:
    """Error maps of a masked autoencoder."""
    if config.target:
        raise ValueError(f"--target {config.target}: {config.model} is a pre-trained encoder and has no outputs")
    objective, clip, face_crop = load_autoencoder(config.model, choose_device(config.device))
    reading = config.reading()
    there = find_windows(source, reading, clip, face_crop, config.face)
    stretch = FaceWindows(source, reading, clip, face_crop, evenly_spaced(there, config.windows))
    windows, face = stretch.read(), there[0].face_id
    about: About = {"target": "reconstruction", "unit": "squared error", "face": face, "windows": len(there)}
    found = Explanation(config.video, stretch, windows, about)

    def make(model: MaskedAutoencoding) -> Maps:
        return explanation.error_maps(model, windows.clips, config.maps)

    found.maps["reconstruction"] = make(objective)
    if config.check:
        survival = explanation.randomisation_correlations(
            objective, make, found.maps["reconstruction"], config.maps.draws
        )
        found.survival["reconstruction"] = survival
    return found
