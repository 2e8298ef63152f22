"""A model as a folder for a model hub: config.json, model.safetensors, and README.md written from the run.

``mien.load(folder)`` and ``mien.load("hf://owner/name@revision")`` read it. The weights are the run's file, byte for byte; the
calibration and the hashes of what was learnt from (seen.csv) go along, so that reliability and the guard against leaks do.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mien.config import to_tree
from mien.files import remove_files, write_whole
from mien.inference.analyzer import Analyzer
from mien.inference.onnx_export import preprocessing
from mien.model_files import WEIGHTS, weights_file
from mien.models.card import HUB_CARD, NOTE, without_commercial_use
from mien.training.partition import SEEN_FILE, seen_by
from mien.yaml_files import read_yaml

README = "README.md"
TAGGED = ("calibration.yaml", "calibration.safetensors", SEEN_FILE)
"""Files that are copied where the run has them."""
PROBLEMS = {"classes": "single_label_classification", "values": "regression", "labels": "multi_label_classification"}
"""Names that hubs have for kinds of answers."""
COLUMNS = 8
"""Columns of a table of subgroups that are shown."""


@dataclass(frozen=True)
class Statement:
    """What no run knows and its owner says."""

    licence: str = ""
    """Licence of the weights."""
    corpora: Sequence[str] = ()
    """Corpora that were learnt from, each with its terms."""
    name: str = ""
    """owner/name on the hub."""


def write_hub_folder(analyzer: Analyzer, folder: Path, evaluation: Path, stated: Statement) -> None:
    """Write the folder; ``evaluation`` is one that `mien evaluate` wrote, if it is there.

    Raises ``ValueError`` where a licence is stated that the weights' sources do not allow.
    """
    assert analyzer.folder is not None
    refuse_licence(analyzer.card.sources, stated.licence)
    weights = weights_file(analyzer.folder)
    remove_files(folder, [HUB_CARD, README, *TAGGED])
    write_whole(folder / WEIGHTS[1], lambda path: shutil.copyfile(weights, path))
    for name in TAGGED:
        if (source := analyzer.folder / name).is_file():
            write_whole(folder / name, lambda path, source=source: shutil.copyfile(source, path))
    text = model_card(analyzer, evaluation, stated)
    write_whole(folder / README, lambda path: path.write_text(text, encoding="utf-8"))
    tree = json.dumps(hub_config(analyzer), indent=2) + "\n"
    write_whole(folder / HUB_CARD, lambda path: path.write_text(tree))


def refuse_licence(sources: Sequence[str], licence: str) -> None:
    """Weights that began from weights without commercial use have it neither."""
    closed = without_commercial_use(sources)
    if closed and licence and not any(word in licence.upper() for word in ("NC", "NONCOMMERCIAL")):
        raise ValueError(
            f"--licence {licence}: these weights began from {', '.join(closed)}, so they have no licence that allows commercial "
            "use; state one that forbids it, such as cc-by-nc-4.0"
        )


def hub_config(analyzer: Analyzer) -> dict[str, Any]:
    """config.json: what programs ask of a model, and the whole card."""
    names, calibration = analyzer.names, analyzer.calibration
    return {
        "model_type": "mien",
        "problem_type": PROBLEMS[analyzer.outputs.form],
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
        "preprocessing": preprocessing(analyzer),
        "calibration": strict(to_tree(calibration.facts)) if calibration else None,
        NOTE: analyzer.card.tree(),
    }


def strict(value: Any) -> Any:
    """Values as every reader of JSON takes them: what is not finite is null."""
    if isinstance(value, dict):
        return {key: strict(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def model_card(analyzer: Analyzer, evaluation: Path, stated: Statement) -> str:
    """README.md: metadata for the hub, then what a reader has to know, from the run's own files."""
    about: dict[str, Any] = {"library_name": "mien", "pipeline_tag": "video-classification"}
    closed = without_commercial_use(analyzer.card.sources)
    about["license"] = stated.licence or "other"
    about["tags"] = ["facial-expression-recognition", "video", *(["non-commercial"] if closed else [])]
    parts = [
        ("What it is", what_it_is(analyzer)),
        ("Use", usage(stated.name or "owner/name")),
        ("Licence", licences(analyzer, stated)),
        ("Data, and who is in it", data(analyzer, stated)),
        ("Evaluation", evaluated(evaluation)),
        ("Limits", limits(analyzer)),
    ]
    body = "\n".join(f"\n## {title}\n\n" + "\n".join(lines) for title, lines in parts)
    title = stated.name.rpartition("/")[2] or (analyzer.folder.name if analyzer.folder else "model")
    return f"---\n{yaml.safe_dump(about, sort_keys=False)}---\n\n# {title}\n{body}\n"


def what_it_is(analyzer: Analyzer) -> list[str]:
    """Task, encoder, input."""
    card, clip = analyzer.card, analyzer.clip
    size = sum(parameter.numel() for parameter in analyzer.task.parameters()) / 1e6
    rate = f"{clip.fps:g} per second" if clip.fps else f"one of every {clip.stride}"
    crop = f"faces cut by mien ({card.face_crop.preset})" if card.face_crop else "clips as their corpus has them"
    lines = [
        f"A model for video of faces: {analyzer.outputs.kind} into {', '.join(analyzer.names)}.",
        f"Encoder {card.encoder.name}, {size:.1f} M parameters; it reads {clip.frames} frames, {rate}, of {clip.size} x "
        f"{clip.size} pixels, from {crop}.",
    ]
    chosen = f"; {card.chosen.metric} {card.chosen.score:.4f} at step {card.chosen.step}" if card.chosen else ""
    return [*lines, f"Weights: {card.selection or 'the last of the training'}{chosen}."]


def usage(name: str) -> list[str]:
    """How to read a video with it."""
    return ["```sh", f"mien analyze interview.mp4 --model hf://{name}", "```", "", "```python", "import mien", "",
            f'timeline = mien.load("hf://{name}").predict("interview.mp4")', "```"]  # fmt: skip


def licences(analyzer: Analyzer, stated: Statement) -> list[str]:
    """Of the weights, and of what they began from."""
    sources = analyzer.card.sources
    lines = [f"Of these weights: {stated.licence or 'not stated by their owner'}."]
    lines += [f"They began from public weights: {'; '.join(sources)}."] if sources else []
    if without_commercial_use(sources):
        lines.append("**No commercial use**: the licence of the weights that they began from forbids it.")
    return [*lines, "Corpora may have terms of their own that bind weights trained on them."]


def data(analyzer: Analyzer, stated: Statement) -> list[str]:
    """What was learnt from, as far as the run knows."""
    assert analyzer.folder is not None
    corpora = "; ".join(stated.corpora) or "not stated by the owner"
    lines = [f"Corpora and their terms: {corpora}."]
    if seen := seen_by(analyzer.folder):
        parts = ", ".join(f"{count} clips for {part}" for part, count in Counter(clip.part for clip in seen).items())
        lines.append(f"Learnt from {parts} (hashes in {SEEN_FILE}, by which mien refuses to evaluate on them).")
    if analyzer.card.rates:
        lines.append(f"Videos by frame rate: {', '.join(f'{n} at {rate}' for rate, n in analyzer.card.rates.items())}.")
    run = analyzer.folder / "config.yaml"
    if (
        run.is_file()
        and isinstance(tree := read_yaml(run), dict)
        and (manifest := tree.get("data", {}).get("manifest"))
    ):
        lines.append(f"Manifest of the training: {Path(manifest).name}.")
    lines += [f"Left out of the training: {skip}." for skip in analyzer.card.skipped]
    return [*lines, "Who is shown (age, sex, origin, acted or not) is what these corpora say of themselves; subgroups are under Evaluation where they were measured."]  # fmt: skip


def evaluated(folder: Path) -> list[str]:
    """Metrics with intervals from an evaluation's folder, with what touches them."""
    file = folder / "metrics.json"
    if not file.is_file():
        return ["Not evaluated. Do not rely on its answers."]
    saved: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    bounds, evaluated_on = saved["intervals"]["bounds"], saved.get("evaluated", {})
    lines = [f"- {what}: {value}" for what, value in evaluated_on.items() if what != "model"]
    lines += ["", f"| metric | value | {saved['intervals']['level']:.0%} interval |", "|---|---|---|"]
    for name, value in saved.items():
        if isinstance(value, float):
            low, high = bounds.get(name, (None, None))
            lines.append(f"| {name} | {value:.4f} | {'' if low is None else f'{low:.4f} to {high:.4f}'} |")
    lines += ["", saved["intervals"]["basis"] + "."]
    lines += [f"- Leak: {leak}" for leak in saved.get("leaks", [])]
    lines += ["- Weights chosen on test clips: the best of many numbers, not a test."] * (
        saved.get("selection") == "best on test"
    )
    lines += [f"- {caution}" for caution in saved.get("cautions", [])]
    groups = folder / "subgroups.csv"
    return [*lines, "", "By group:", "", *markdown(groups)] if groups.is_file() else lines


def markdown(file: Path) -> list[str]:
    """The first columns of a table of subgroups as Markdown."""
    with file.open(newline="", encoding="utf-8") as stream:
        rows = [f"| {' | '.join(row[:COLUMNS])} |" for row in csv.reader(stream)]
    return [rows[0], "|" + "---|" * (rows[0].count("|") - 1), *rows[1:]]


def limits(analyzer: Analyzer) -> list[str]:
    """What its numbers are not."""
    lines = [
        "A face is not a feeling: the outputs say which labels annotators would probably give to what is seen. They are no "
        "diagnosis, and no ground for decisions about a person; inferring emotions at work or in education is forbidden in the "
        "European Union (AI Act, Article 5(1)(f)).",
        "Faces, cameras and cultures that the corpora do not show may be read worse.",
    ]
    if analyzer.calibration is None:
        return [*lines, "Not calibrated: probabilities say too much, and nothing tells unfamiliar faces."]
    return [*lines, f"Calibrated ({analyzer.calibration.facts.clips} clips); answers on what is unlike them are marked not reliable."]  # fmt: skip
