"""Who is who: a vector per followed face, and faces joined into persons across shots, gaps and videos.

The network is SFace (Zhong et al., 2021; Apache-2.0) as OpenCV's zoo publishes and feeds it: five landmarks on the template,
112 x 112 pixels, 128 numbers, compared by their cosine. A face is never split, and two faces that share a frame are never
one person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien import downloads
from mien.faces.crop import TEMPLATE, similarity
from mien.faces.face import Face, FrameFaces, Pixels, Points
from mien.faces.track import covered_share

SFACE = "face_recognition_sface_2021dec.onnx"
SAME_PERSON = 0.363
"""Cosine from which two photographs show one person, by the network's owner (opencv_zoo, sface.py)."""
PICTURES, APART = 8, 0.5
"""Pictures of a face that its vector is the mean of: the best ones, each the best of its own half second."""
COVERED = 0.1
"""Share of a face that another may cover in a picture that counts."""

Vector = NDArray[np.float32]
"""(128,), of length 1."""


class Recogniser:
    """SFace: a face on a frame becomes a vector. Not to be shared between threads."""

    def __init__(self, file: Path) -> None:
        """Raises ``ValueError`` for a file that OpenCV cannot read."""
        self.file = file
        try:
            self.network = cv2.FaceRecognizerSF.create(str(file), "")
        except cv2.error as error:
            raise self.refusal(error) from error

    @staticmethod
    def find() -> Path:
        """Its file on this machine; ``ValueError`` that says how to get it where there is none."""
        if (file := downloads.find(SFACE)) is None:
            raise ValueError(
                f"--identity sface needs {SFACE}: mien models get sface (39 MB, Apache-2.0), or MIEN_MODELS=FOLDER that holds it"
            )
        return file

    def refusal(self, error: cv2.error) -> ValueError:
        """An error of OpenCV in a sentence."""
        reason = str(error).strip().splitlines()[0]
        return ValueError(f"{self.file}: not the network of SFace ({reason}); mien models get sface")

    def vector(self, picture: Pixels) -> Vector:
        """An aligned picture -> its vector."""
        try:
            given = self.network.feature(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise self.refusal(error) from error
        return unit(np.asarray(given, np.float32).reshape(-1))


def unit(vector: NDArray[np.floating]) -> Vector:
    """The same direction, length 1."""
    return (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)


def aligned(pixels: Pixels, landmarks: Points) -> Pixels:
    """A face of a frame (H, W, 3) with its landmarks on the template (112, 112, 3); black beyond the border."""
    matrix = similarity(landmarks.astype(np.float64), TEMPLATE)
    return cv2.warpAffine(pixels, matrix, (112, 112), flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def worth(face: Face) -> float:
    """How much a picture of a face tells, from 0 to 1: large, frontal and sharp ones tell most."""
    assert face.pose is not None
    yaw, pitch = np.radians(face.pose[:2])
    frontal = max(float(np.cos(yaw)), 0.0) * max(float(np.cos(pitch)), 0.0)
    return min(face.box[2] / 112, 1.0) * frontal * min(face.sharpness / 100, 1.0)


@dataclass(frozen=True, eq=False)
class FaceVectors:
    """What is known of the faces of one video, to join them with one another and with those of other videos."""

    faces: tuple[int, ...]
    """Ids of all faces, rising."""
    vectors: Mapping[int, Vector]
    """By id; a face that was never seen well enough has none, and stays a person of its own."""
    together: frozenset[tuple[int, int]]
    """Pairs of faces that share a frame."""

    def to_json(self) -> dict[str, Any]:
        """Plain values that give the same to the bit."""
        vectors = {str(face): [float(v) for v in vector] for face, vector in self.vectors.items()}
        return {"faces": list(self.faces), "together": sorted(map(list, self.together)), "vectors": vectors}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> FaceVectors:
        """The other way."""
        vectors = {int(face): np.array(vector, np.float32) for face, vector in tree["vectors"].items()}
        return cls(tuple(tree["faces"]), vectors, frozenset((one, other) for one, other in tree["together"]))


@dataclass(eq=False)
class Gallery:
    """Gathers the vectors of the faces of a video, frame by frame, in a few kilobytes per face."""

    recogniser: Recogniser
    together: set[tuple[int, int]] = field(default_factory=set)
    kept: dict[int, list[tuple[float, Vector]]] = field(default_factory=dict)
    """By face, the worth and vector of its best pictures, best first; every face has an entry."""
    waiting: dict[int, tuple[int, float, Pixels]] = field(default_factory=dict)
    """By face, the best picture so far of the present half second: number of that, worth, aligned picture."""

    def add(self, seen: FrameFaces) -> None:
        """Look at the faces of a frame."""
        self.together.update(combinations((face.id for face in seen.faces), 2))
        now = int(seen.frame.time // APART)
        for face in seen.faces:
            self.kept.setdefault(face.id, [])
            hidden = any(o is not face and covered_share(face.box, o.box) > COVERED for o in seen.faces)
            if face.state != "detected" or face.landmarks is None or hidden:
                continue
            if face.id in self.waiting and self.waiting[face.id][0] != now:
                self.keep(face.id)
            if face.id not in self.waiting or worth(face) > self.waiting[face.id][1]:
                self.waiting[face.id] = now, worth(face), aligned(seen.frame.pixels, face.landmarks)

    def keep(self, face: int) -> None:
        """Take the waiting picture of a face, if it is one of its best."""
        _, value, picture = self.waiting.pop(face)
        kept = self.kept[face]
        if len(kept) < PICTURES or value > kept[-1][0]:
            kept.append((value, self.recogniser.vector(picture)))
            kept.sort(key=lambda one: -one[0])
            del kept[PICTURES:]

    def finish(self) -> FaceVectors:
        """What was gathered; there are no more frames."""
        for face in sorted(self.waiting):
            self.keep(face)
        vectors = {face: unit(np.mean([v for _, v in kept], axis=0)) for face, kept in self.kept.items() if kept}
        return FaceVectors(tuple(sorted(self.kept)), vectors, frozenset(self.together))


def persons(videos: Sequence[FaceVectors], threshold: float) -> list[dict[int, int]]:
    """For each video, the person of every face, numbered over all videos in order of appearance."""
    places = [(video, face) for video, found in enumerate(videos) for face in found.faces]
    number = {place: i for i, place in enumerate(places)}
    apart = [(number[v, a], number[v, b]) for v, found in enumerate(videos) for a, b in found.together]
    groups = join([videos[v].vectors.get(face) for v, face in places], apart, threshold)
    return [{face: groups[number[v, face]] for face in found.faces} for v, found in enumerate(videos)]


def join(vectors: Sequence[Vector | None], apart: Iterable[tuple[int, int]], threshold: float) -> list[int]:
    """The group of each vector, numbered in order: average linkage on cosines, the most alike first, down to ``threshold``.

    Pairs in ``apart`` never come into one group; what has no vector stays alone. Memory grows with the square of the number.
    """
    count = len(vectors)
    alike = np.full((count, count), -np.inf, np.float32)
    if known := [i for i, vector in enumerate(vectors) if vector is not None]:
        table = np.stack([vector for vector in vectors if vector is not None])
        alike[np.ix_(known, known)] = table @ table.T
    for one, other in (*apart, *((i, i) for i in range(count))):
        alike[one, other] = alike[other, one] = -np.inf
    group, size = np.arange(count), np.ones(count, np.float32)
    while count and alike.max() >= threshold:
        one, other = sorted(divmod(int(alike.argmax()), count))
        mean = (size[one] * alike[one] + size[other] * alike[other]) / (size[one] + size[other])
        alike[one], alike[:, one] = mean, mean
        alike[other], alike[:, other] = -np.inf, -np.inf
        size[one] += size[other]
        group[group == other] = one
    return np.unique(group, return_inverse=True)[1].tolist()
