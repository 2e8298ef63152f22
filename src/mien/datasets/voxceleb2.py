"""VoxCeleb2: a million face clips of interviews without labels, for pre-training.

SVFAP cuts rows 0-160 and columns 32-192 of the 224x224 videos: ``--clip.crop voxceleb2``. Of the 1,092,009 clips of the
development part, 283 are known not to decode.
"""

from __future__ import annotations

from pathlib import Path

from mien.datasets.corpus import Corpus, Entry, Listing, Options
from mien.datasets.layout import choose_folder, unknown_layout, walk_clips

LAYOUT = """
ROOT/
  dev/mp4/id00012/21Uxsk56VDQ/00001.mp4 ...    identity, film, clip; any other folder with --clips
"""


def list_clips(root: Path, options: Options) -> Listing:
    """Every clip found; there is no list to compare it with."""
    folder = choose_folder(root, options.clips, ("dev/mp4",), LAYOUT)
    listing = Listing([])
    for path in walk_clips(folder):
        parts = path.relative_to(folder).parts
        if len(parts) == 3:
            listing.entries.append(Entry(path, {"subject": parts[0], "video": parts[1]}, "/".join(parts[:2])))
        else:
            listing.ignored["videos that are not in <identity>/<film>/"] += 1
    if not listing.entries:
        raise unknown_layout(root, f"no <identity>/<film>/<clip>.mp4 is in {folder.relative_to(root)}", LAYOUT)
    return listing


CORPUS = Corpus(
    name="voxceleb2",
    title="VoxCeleb2 (development part)",
    task="pre-training without labels",
    labels=(),
    citation="Chung, Nagrani and Zisserman, VoxCeleb2: Deep Speaker Recognition, Interspeech 2018",
    licence="the list of videos is under a Creative Commons licence; the videos belong to their owners",
    access="https://www.robots.ox.ac.uk/~vgg/data/voxceleb",
    layout=LAYOUT,
    list_clips=list_clips,
    expected={"": 1092009},
    subjects=5994,
    takes=("clips",),
)
