"""How well a face can be read: sharpness and pose, per face and frame."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from mien.faces.face import Box, Pixels, Points

SIDE = 96
"""Pixels at which sharpness is measured, so that faces of all sizes compare."""

HEAD = np.array(
    [[-30.5, -36.5, -28.0], [30.5, -36.5, -28.0], [0.0, 0.0, 0.0], [-26.5, 27.5, -24.0], [26.5, 27.5, -24.0]],
    np.float64,
)
"""Mean head in millimetres (5, 3): right eye, left eye, nose tip, right and left corner of the mouth; x to the right of
the picture, y down, z towards the viewer, from the nose tip. Breadths and heights are YuNet's own mean over people who
look into the camera (16 clips); depths are round anthropometric means."""


def sharpness(picture: Pixels) -> float:
    """Variance of the Laplacian of an RGB picture (H, W, 3), grey, at 96 x 96: the one measure of blur."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    how = cv2.INTER_AREA if min(grey.shape) > SIDE else cv2.INTER_LINEAR  # enlarged by area, pixels would have edges
    return float(cv2.Laplacian(cv2.resize(grey, (SIDE, SIDE), interpolation=how), cv2.CV_64F).var())


def face_sharpness(pixels: Pixels, box: Box) -> float:
    """Sharpness of the face in a box of a frame (H, W, 3); 0 if the box is outside."""
    height, width = pixels.shape[:2]
    left, top = max(0, int(box[0])), max(0, int(box[1]))
    right, bottom = min(width, int(box[0] + box[2]) + 1), min(height, int(box[1] + box[3]) + 1)
    return sharpness(pixels[top:bottom, left:right]) if min(right - left, bottom - top) >= 2 else 0.0


def clip_sharpness(frames: Iterable[Pixels]) -> float:
    """Sharpness of the frames (T, H, W, 3) of a clip, the median over time."""
    return float(np.median([sharpness(frame) for frame in frames]))


def pose(landmarks: Points | None) -> tuple[float, float, float] | None:
    """(yaw, pitch, roll) in degrees of landmarks (5, 2), signs as in ``Face.pose``; None without landmarks.

    Scaled orthographic projection, solved linearly: the first step of POSIT (DeMenthon and Davis, 1995). Unlike
    perspective solvers it needs no camera and cannot flip between two solutions from frame to frame.
    """
    if landmarks is None:
        return None
    model, image = HEAD - HEAD.mean(0), landmarks - landmarks.mean(0)
    rows = np.linalg.lstsq(model, image.astype(np.float64), rcond=None)[0].T  # (2, 3)
    u, scales, v = np.linalg.svd(rows, full_matrices=False)
    if scales[1] < 1e-6:
        return None
    right, down = u @ v  # the nearest two orthonormal rows
    ahead = np.cross(right, down)  # where the head's axes point to, as seen by the viewer
    yaw, pitch = np.arcsin(np.clip(right[2], -1, 1)), np.arctan2(-down[2], ahead[2])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(np.arctan2(down[0], right[0])))
