"""AVCAffe: 106 persons in video calls, nine tasks each, cut into clips of six seconds; labels are of the whole task.

Arousal and valence are five classes each; mental demand, effort and temporal demand numbers from 0 to 21. Twenty named
persons are the test. Published scores are the mean over the clips of a task: the column ``video`` says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mien.datasets.corpus import Cell, Corpus, Entry, Fault, Listing, Options, number_in
from mien.datasets.label_tables import read_utf8
from mien.datasets.layout import choose_folder, require, walk_clips

CLASSES = {
    "arousal": ("Excited", "Wide-awake", "Neutral", "Dull", "Calm"),
    "valence": ("Pleasant", "Pleased", "Neutral", "Unsatisfied", "Unpleasant"),
}
DEMANDS = ("mental_demand", "effort", "temporal_demand")
TEST = frozenset((1, 2, 13, 14, 43, 44, 53, 54, 57, 58, 63, 64, 67, 68, 77, 78, 99, 100, 107, 108))
"""Numbers of the test persons."""
LAYOUT = """
ROOT/
  ground_truths/arousal.txt, valence.txt                lines: aiim001_task_1, Excited
  ground_truths/mental_demand.txt, effort.txt, temporal_demand.txt    if they are there
  videos/shorter_segments/aiim001/task_1/*.avi ...      any other folder with --clips
"""

TaskLabels = dict[str, tuple[str, str]]
"""Video -> value as written, and its source."""


def list_clips(root: Path, options: Options) -> Listing:
    """Every clip found, with the labels of its task; labelled tasks without a clip are missing."""
    truths = require(root / "ground_truths", root, LAYOUT)
    for name in CLASSES:
        require(truths / f"{name}.txt", root, LAYOUT)
    folder = choose_folder(root, options.clips, ("videos/shorter_segments",), LAYOUT)
    listing = Listing([])
    labels = {name: read_labels(truths / f"{name}.txt", listing) for name in (*CLASSES, *DEMANDS)}
    for path in walk_clips(folder):
        parts = path.relative_to(folder).parts
        if len(parts) == 3:
            listing.entries.append(entry_of(path, parts[0], parts[1], labels))
        else:
            listing.ignored["videos that are not in <person>/<task>/"] += 1
    found = {entry.columns["video"] for entry in listing.entries}
    for video in sorted({video for values in labels.values() for video in values} - found):
        person, _, task = video.partition("_")
        listing.entries.append(entry_of(folder / person / task, person, task, labels))
    return listing


def read_labels(path: Path, listing: Listing) -> TaskLabels:
    """One file of labels; lines without a comma are headings and counted as ignored."""
    labels: TaskLabels = {}
    for line, text in enumerate(read_utf8(path).splitlines() if path.is_file() else [], start=1):
        video, comma, value = (part.strip() for part in text.partition(","))
        if comma:
            labels[video] = (value, f"{path.name} line {line}")
        elif text.strip():
            listing.ignored[f"lines without a comma in {path.name}"] += 1
    return labels


def entry_of(path: Path, person: str, task: str, labels: Mapping[str, TaskLabels]) -> Entry:
    """One clip with the labels of its task."""
    video = f"{person}_{task}"
    columns: dict[str, Cell] = {"subject": person, "task": task, "video": video, "split": split_of(person)}
    faults = []
    for name, values in labels.items():
        if video in values:
            columns[name], fault = value_of(name, *values[video])
            faults += [fault] if fault else []
        else:
            columns[name] = None
    if all(columns[name] is None for name in labels) and not faults:
        faults.append(Fault("label", f"{path}: no file in ground_truths has a line for {video}"))
    if columns["split"] is None:
        faults.append(Fault("fold", f"{path}: {person!r} is not aiim and a number, so it is in no part"))
    return Entry(path, columns, video, faults[0] if faults else None)


def split_of(person: str) -> str | None:
    """Train or test by the person's number."""
    number = person.removeprefix("aiim")
    if not (person.startswith("aiim") and number.isdecimal()):
        return None
    return "test" if int(number) in TEST else "train"


def value_of(name: str, text: str, source: str) -> tuple[Cell, Fault | None]:
    """One label: a class name in small letters, or a number."""
    if name in DEMANDS:
        return number_in(source, name, text, 0, 21)
    if text not in CLASSES[name]:
        return None, Fault("label", f"{source}: {name} {text!r} is none of {', '.join(CLASSES[name])}")
    return text.lower(), None


CORPUS = Corpus(
    name="avcaffe",
    title="AVCAffe",
    task="arousal and valence (five classes each) and cognitive load in video calls",
    labels=("arousal", "valence", *DEMANDS),
    citation="Sarkar, Posen and Etemad, AVCAffe: A Large Scale Audio-Visual Dataset of Cognitive Load and Affect for "
    "Remote Work, AAAI 2023",
    licence="Database License Agreement of the authors, research only",
    access="https://github.com/pritamqu/AVCAffe (doi 10.5683/SP3/PSWY62, on request)",
    layout=LAYOUT,
    list_clips=list_clips,
    expected={"": 58112},
    subjects=106,
    takes=("clips",),
)
