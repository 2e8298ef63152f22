"""Any folder of videos in which the folder's name is the class.

``ROOT/<class>/...``, or ``ROOT/<part>/<class>/...`` where all folders of the root are called train, val, validation or
test. Folders may be nested further; a folder that holds images is one clip.
"""

from __future__ import annotations

from pathlib import Path

from mien.datasets.corpus import Cell, Corpus, Entry, Listing, Options
from mien.datasets.layout import unknown_layout, walk_clips
from mien.names import to_text

PARTS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
LAYOUT = """
ROOT/
  <class>/clip.mp4             or <class>/<clip>/*.jpg
or
ROOT/
  train/<class>/clip.mp4       parts: train, val, validation, test
"""


def list_clips(root: Path, options: Options) -> Listing:
    """Every clip below the folders of classes."""
    folders = sorted(f.name for f in root.iterdir() if f.is_dir()) if root.is_dir() else []
    in_parts = bool(folders) and all(name.lower() in PARTS for name in folders)
    listing = Listing([])
    for path in walk_clips(root):
        parts = path.relative_to(root).parts
        if len(parts) < 2 + in_parts:
            listing.ignored["clips outside the folders of classes"] += 1
            continue
        split: dict[str, Cell] = {"split": PARTS[parts[0].lower()]} if in_parts else {}
        listing.entries.append(
            Entry(path, {"expression": to_text(parts[in_parts])} | split, to_text("/".join(parts[:-1])))
        )
    if not listing.entries:
        raise unknown_layout(root, "no clip lies in a folder of a class", LAYOUT)
    return listing


CORPUS = Corpus(
    name="folder",
    title="a folder of classes",
    task="anything with one class per clip",
    labels=("expression",),
    citation="",
    licence="",
    access="",
    layout=LAYOUT,
    list_clips=list_clips,
)
