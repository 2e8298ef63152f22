"""How well ``--identity sface`` joins faces into persons, on videos whose persons are known.

    mien models get yunet sface
    python benchmarks/identity.py FOLDER [--threshold 0.25 0.363 0.45]

FOLDER has a subfolder per person, with videos that show that person alone. Per threshold: persons that are found per person
who is there (1 is right; more are splits), persons found in whom several are mixed, and of all pairs of faces the share of
one person's that is joined, and of different persons' that is joined wrongly. ``ids`` are face ids without joining.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from itertools import combinations
from pathlib import Path

from mien.faces.detectors import DetectConfig
from mien.faces.follow import FollowConfig, follow
from mien.faces.identity import SAME_PERSON, FaceVectors, Gallery, Recogniser, persons
from mien.video.decode import VIDEOS, ends_in
from mien.video.inspection import digest
from mien.video.stream import read_frames


def look(video: Path) -> FaceVectors:
    """The faces of a video."""
    gallery = Gallery(Recogniser(Recogniser.find()))
    for seen in follow(read_frames(video), DetectConfig().build(), FollowConfig()):
        gallery.add(seen)
    return gallery.finish()


def row(threshold: float, found: Sequence[FaceVectors], truth: Sequence[str]) -> list[str]:
    """One line of the table; ``truth`` is the person of each video."""
    joined = persons(found, threshold)
    faces = [(name, person) for name, of_video in zip(truth, joined, strict=True) for person in of_video.values()]
    true = {name: {person for other, person in faces if other == name} for name in dict.fromkeys(truth)}
    mixed = sum(len({name for name, other in faces if other == person}) > 1 for person in {p for _, p in faces})
    pairs = list(combinations(faces, 2))
    same = [one == other for (a, one), (b, other) in pairs if a == b]
    different = [one == other for (a, one), (b, other) in pairs if a != b]
    split = sum(map(len, true.values())) / len(true)
    shares = (f"{sum(given)} of {len(given)}" for given in (same, different))
    return [f"{threshold:g}", f"{len(faces) / len(true):.2f}", f"{split:.2f}", str(mixed), *shares]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threshold", type=float, nargs="+", default=[0.25, 0.3, SAME_PERSON, 0.45, 0.55])
    given = parser.parse_args()
    videos = sorted(path for path in given.folder.glob("*/*") if ends_in(path.name, VIDEOS))
    if not videos:
        parser.error(f"{given.folder} has no videos in subfolders")
    found, truth = [look(video) for video in videos], [video.parent.name for video in videos]
    seen = sum(len(one.faces) for one in found)
    known = sum(len(one.vectors) for one in found)
    print(f"{len(set(truth))} persons, {len(videos)} videos, {seen} faces, {known} with a vector\n")
    print("| cosine | ids per person | persons found per person | mixed persons | same joined | different joined |")
    print("|---|---|---|---|---|---|")
    for threshold in given.threshold:
        print("| " + " | ".join(row(threshold, found, truth)) + " |")
    print(f"\n`python benchmarks/identity.py`, {date.today()}, SFace {digest(Recogniser.find())[:12]}")


if __name__ == "__main__":
    main()
