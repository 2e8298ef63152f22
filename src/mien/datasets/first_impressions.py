"""ChaLearn First Impressions V2: 10,000 clips of people who speak to a camera, five traits and an interview score in [0, 1].

The annotations are pickles of Python 2 (trait -> clip -> value), read by an unpickler that can make nothing but dicts,
strings and numbers. Which person is in a clip is not published; the column ``video`` is the film that it was cut from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mien.datasets.corpus import Cell, Corpus, Entry, Fault, Listing, Options, number_in
from mien.datasets.layout import all_clips_by_name, require, unknown_layout
from mien.datasets.pickles import read_pickle

TRAITS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
OTHERS = ("interview",)
SPLITS = {"train": "annotation_training.pkl", "val": "annotation_validation.pkl", "test": "annotation_test.pkl"}
LAYOUT = """
ROOT/                           pickles and clips at any depth; another folder of clips with --clips
  annotation_training.pkl       trait -> {clip file: value}
  annotation_validation.pkl
  annotation_test.pkl
  .../J4GQm9j0JZ0.003.mp4 ...
"""


def list_clips(root: Path, options: Options) -> Listing:
    """The clips of the three annotation files."""
    found = {split: single_file(root, name) for split, name in SPLITS.items()}
    if not any(found.values()):
        raise unknown_layout(root, f"none of {', '.join(SPLITS.values())} is there", LAYOUT)
    folder = require(root / options.clips, root, LAYOUT)
    there, listing = all_clips_by_name(folder), Listing([])
    for split, path in found.items():
        if path is None:
            fault = Fault("fold", f"{root / SPLITS[split]}: not there, so there are no clips of split {split}")
            listing.problems.append((root / SPLITS[split], fault))
        else:
            listing.entries += read_split(path, split, there, folder)
    listing.entries = with_split_faults(listing.entries)
    listing.ignore_unlisted(there.values())
    return listing


def single_file(root: Path, name: str) -> Path | None:
    """The file of a name below the root, None if there is none; two are an error."""
    found = sorted(root.rglob(name))
    if len(found) > 1:
        raise ValueError(f"{found[0]} and {found[1]} are both {name}; keep one")
    return found[0] if found else None


def read_split(path: Path, split: str, there: Mapping[str, Path], folder: Path) -> list[Entry]:
    """The clips of one annotation file."""
    found = {name.lower(): values for name, values in read_pickle(path).items() if isinstance(name, str)}
    traits = {name: values for name, values in found.items() if isinstance(values, dict)}
    absent = [name for name in TRAITS if name not in traits]
    if absent:
        raise ValueError(f"{path}: no values for {', '.join(absent)}; it holds {', '.join(found) or 'nothing'}")
    known = [name for name in (*TRAITS, *OTHERS) if name in traits]
    clips = sorted({str(clip) for name in known for clip in traits[name]})
    return [entry_of(clip, split, {n: traits[n].get(clip) for n in known}, path, there, folder) for clip in clips]


def entry_of(
    clip: str, split: str, values: Mapping[str, Cell], path: Path, there: Mapping[str, Path], folder: Path
) -> Entry:
    """One clip with its values."""
    source = f"{path.name} {clip}"
    checked = {name: number_in(source, name, value, 0, 1) for name, value in values.items()}
    fault = next((fault for _, fault in checked.values() if fault), None)
    stem = Path(clip).stem
    columns: dict[str, Cell] = {"video": stem.rpartition(".")[0] or stem, "split": split}
    columns |= {name: value for name, (value, _) in checked.items()}
    return Entry(there.get(stem, folder / clip), columns, source, fault)


def with_split_faults(entries: list[Entry]) -> list[Entry]:
    """The entries; a clip of two annotation files is in two parts, and both its entries carry the fault."""
    sources: dict[Path, list[str]] = {}
    for entry in entries:
        sources.setdefault(entry.path, []).append(entry.source)
    faults = {p: Fault("fold", f"in two parts: {' and '.join(s)}") for p, s in sources.items() if len(s) > 1}
    return [replace(entry, fault=entry.fault or faults.get(entry.path)) for entry in entries]


CORPUS = Corpus(
    name="first_impressions",
    title="ChaLearn First Impressions V2",
    task="five apparent personality traits",
    labels=(*TRAITS, *OTHERS),
    citation="Ponce-Lopez et al., ChaLearn LAP 2016: First Round Challenge on First Impressions, ECCV Workshops 2016",
    licence="research only, by registration",
    access="https://chalearnlap.cvc.uab.cat/dataset/24/description",
    layout=LAYOUT,
    list_clips=list_clips,
    expected={"": 10000, "split=train": 6000, "split=val": 2000, "split=test": 2000},
    takes=("clips",),
)
