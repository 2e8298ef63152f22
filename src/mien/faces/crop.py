"""One square picture per face. Crop settings are plain values: they travel with weights and are applied at inference.

The same face cropped in another way is another picture to a network, and training on one crop while reading another is
the first cause of failed reproductions. So a crop is defined by numbers alone, and each preset says where they are from:

- ``loose``: a square around the box with space on every side; eyes level where landmarks are known.
- ``voxceleb2``: what rows 0-160 and columns 32-192 of a VoxCeleb2 video (224 x 224) show. Its authors' cropping pipeline
  (SyncNet) cuts 1.4 box sides, the box touching the top edge and centred across: rows 0-160 and columns 32-192 are the
  detector's box itself, made square. Upright, no alignment.
- ``openface``: OpenFace's similarity alignment (Baltrusaitis et al., 2016): in 112 x 112 pixels the eyes are 45 pixels
  apart and the mean face is centred. Fitted here to eyes, nose and the middle of the mouth instead of 68 points.
- ``template``: eyes, nose and corners of the mouth on the 112-pixel template of face recognition (ArcFace, SFace and the
  frame models of OpenCV's zoo): least squares from the template to the picture, turned round, sampled at single points.
- ``stretched``: the detector's box itself, made square by stretching, as some frame models were trained.
"""

from __future__ import annotations

from typing import Annotated, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.faces.face import Box, Face, Pixels, Points

VOXCELEB2_ROWS, VOXCELEB2_COLUMNS = (0, 160), (32, 192)
"""What is kept of a frame of a VoxCeleb2 file, which is a face crop of 224 x 224 already (SVFAP's pre-training)."""

OPENFACE = np.array([[33.5, 29.0], [78.5, 29.0], [56.0, 56.0], [56.0, 76.0]], np.float32) / np.float32(112)
"""Right eye, left eye, nose tip and middle of the mouth in OpenFace's aligned square of side 1."""
OPENFACE_SIDE, OPENFACE_DROP = 1.17, 0.12
"""Side of that square, and how far its centre lies below that of a detector's box, in widths of the box: where there
are no landmarks. Means over 16 clips of people who look into the camera."""

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float64
)
"""Right eye, left eye, nose tip and corners of the mouth (right, left) in a picture of 112 x 112 pixels."""
TEMPLATE_SIDE, TEMPLATE_RISE = 1.02, 0.076
"""Side of that picture, and how far its centre lies above that of a detector's box, in heights of the box: where there are
no landmarks. Means over 43 faces of people who look into the camera."""

MARGIN = {"loose": 0.25, "voxceleb2": 0.0, "openface": 0.0, "template": 0.0, "stretched": 0.0}
ALIGNED = {"loose": True, "voxceleb2": False, "openface": True, "template": True, "stretched": False}


@dataclass(frozen=True, config=STRICT)
class CropConfig:
    """How a face becomes a square picture."""

    preset: Literal["loose", "voxceleb2", "openface", "template", "stretched"] = "loose"
    """loose: box with space around; voxceleb2: as SVFAP's pre-training saw faces; openface: similarity-aligned; template: five
    landmarks on the template of face recognition; stretched: the box itself, stretched to a square."""
    size: Annotated[int, Field(ge=16, le=2048)] = 224
    """Side of the square in pixels."""
    margin: Annotated[float, Field(ge=-0.4, le=4)] | None = None
    """Space added on every side, in sides of the preset's square; left out: 0.25 for loose, 0 for the others."""
    align: bool | None = None
    """Turn the crop so that the eyes are level; left out: yes for loose, openface and template, no for the others."""


def crop(pixels: Pixels, face: Face, config: CropConfig) -> Pixels:
    """Frame (H, W, 3) -> the face (size, size, 3); black where the square reaches over the border."""
    matrix = crop_transform(face.box, face.landmarks, config)
    shrink = 1 if config.preset == "template" else int(max(1, 1 / np.hypot(matrix[0, 0], matrix[1, 0])))
    side = shrink * config.size
    # Drawn shrink times larger and averaged: sampling a large face at few points would leave jagged edges.
    picture = cv2.warpAffine(pixels, shrink * matrix, (side, side), flags=cv2.INTER_LINEAR)
    if shrink > 1:
        picture = cv2.resize(picture, (config.size, config.size), interpolation=cv2.INTER_AREA)
    return picture.astype(np.uint8, copy=False)


def crop_transform(box: Box, landmarks: Points | None, config: CropConfig) -> NDArray[np.float64]:
    """What takes points of the frame to points of the crop (2, 3): a similarity, of ``stretched`` a scaling."""
    margin = MARGIN[config.preset] if config.margin is None else config.margin
    align = ALIGNED[config.preset] if config.align is None else config.align
    if config.preset == "openface" and landmarks is not None and align:
        # Eyes, nose and the middle of the mouth: what a smile moves least.
        unit = similarity(np.concatenate([landmarks[:3], landmarks[3:].mean(0, keepdims=True)]), OPENFACE)
    elif config.preset == "openface":
        lower = (box[0], box[1] + OPENFACE_DROP * box[2], box[2], box[3])
        unit = unit_square(lower, OPENFACE_SIDE * box[2], 0.0)
    elif config.preset == "template" and landmarks is not None and align:
        back = similarity(TEMPLATE / 112, landmarks.astype(np.float64))
        unit = cv2.invertAffineTransform(back)
    elif config.preset == "template":
        higher = (box[0], box[1] - TEMPLATE_RISE * box[3], box[2], box[3])
        unit = unit_square(higher, TEMPLATE_SIDE * box[3], 0.0)
    elif config.preset == "stretched":
        across, down = 1 / max(box[2], 1e-6), 1 / max(box[3], 1e-6)
        unit = np.array([[across, 0.0, -box[0] * across], [0.0, down, -box[1] * down]])
    else:
        unit = unit_square(box, max(box[2], box[3]), roll(landmarks) if align else 0.0)
    inner = 1 / (1 + 2 * margin)
    unit = inner * unit
    unit[:, 2] += margin * inner
    return config.size * unit


def unit_square(box: Box, side: float, angle: float) -> NDArray[np.float64]:
    """The similarity that takes the square of ``side`` around a box's centre, turned by ``angle``, to the unit square."""
    centre = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / max(side, 1e-6)
    return np.concatenate([turn, (0.5 - turn @ centre)[:, None]], axis=1)


def roll(landmarks: Points | None) -> float:
    """Angle of the line through the eyes in radians, clockwise in the picture; 0 without landmarks."""
    if landmarks is None:
        return 0.0
    x, y = landmarks[1] - landmarks[0]
    return float(np.arctan2(y, x))


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Least squares turn, scale and shift (2, 3) that takes points (N, 2) to points (N, 2) (Umeyama, 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    norm = max(float((a * a).sum()), 1e-9)
    cos, sin = float((a * b).sum()) / norm, float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / norm
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([turn, (target.mean(0) - turn @ source.mean(0))[:, None]], axis=1)
