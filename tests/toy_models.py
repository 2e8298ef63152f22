"""Tiny untrained models in folders as `mien finetune` leaves them, and small videos, for tests of reading videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import mien
from mien.calibration.calibration import Origin
from mien.calibration.calibration import fit as calibrate
from mien.calibration.clip_statistics import size_of
from mien.calibration.density import Density
from mien.calibration.reliability import Limits
from mien.encoders.tpsbt import TPSBTConfig
from mien.interfaces import Encoder
from mien.models.card import ModelCard
from mien.modules.heads import MeanHeadConfig
from mien.modules.pixels import PixelsConfig
from mien.reports.timeline_overlay import encode
from mien.tasks.classification import ClassificationConfig
from mien.tasks.regression import RegressionConfig
from mien.video.clips import ClipConfig
from mien.video.inspection import digest

EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
CLIP = ClipConfig(frames=8, stride=2, size=32)
"""A window covers 15 frames."""
SPAN = 15


def write_model(folder: Path, task: Any = None, clip: ClipConfig = CLIP, **more: Any) -> Path:
    """Weights by chance, large enough that outputs differ from window to window."""
    torch.manual_seed(0)
    encoder = TPSBTConfig(dim=32, heads=2, depths=(1, 2), bottleneck=2, patch=8)
    task = task or ClassificationConfig(head=MeanHeadConfig(scale=40.0))
    names = EXPRESSIONS if task.name == "classification" else task.columns
    model = task.build(encoder.build(clip.frames, clip.size), PixelsConfig(), names)
    ModelCard(encoder, clip, PixelsConfig(), task=task, names=names, **more).save(folder, model)
    return folder


def calibrated(folder: Path, limits: Limits | None = None) -> Path:
    """A model of ``write_model`` with a calibration by chance; beyond ``limits`` its answers are not reliable."""
    rng = np.random.default_rng(0)
    outputs = rng.dirichlet(np.ones(len(EXPRESSIONS)), 200)
    labels = np.array([rng.choice(len(EXPRESSIONS), p=p) for p in outputs])
    weights = digest(folder / "weights.safetensors")
    origin: Origin = {"weights": weights, "manifest": "m", "manifest_sha256": "", "select": "", "clips": 200, "subjects": 20, "views": {}}  # fmt: skip
    size = size_of(mien.load(folder, "cpu").task.encoder)
    density = Density(np.zeros(size, np.float32), np.ones(size, np.float32), np.eye(size, dtype=np.float32))
    calibrate(
        ClassificationConfig.outputs, outputs, labels, EXPRESSIONS, density, limits or Limits(), 0.8, origin
    ).save(folder)
    return folder


def values(*columns: str) -> RegressionConfig:
    """A regression task with visible outputs."""
    return RegressionConfig(columns=columns, output="tanh", head=MeanHeadConfig(scale=40.0))


def pictures(count: int, seed: int = 0, size: int = 48) -> np.ndarray:
    """Frames (N, size, size, 3) of smooth random colours that change over time."""
    rng = np.random.default_rng(seed)
    knots = rng.uniform(0, 255, (count // 8 + 2, 4, 4, 3))
    at = np.arange(count) / 8
    whole, part = at.astype(int), (at % 1)[:, None, None, None]
    small = (1 - part) * knots[whole] + part * knots[whole + 1]
    return np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_LINEAR) for frame in small]).astype(
        np.uint8
    )


def write_video(path: Path, frames: np.ndarray, times: Sequence[float] | None = None) -> Path:
    """Frames at ``times`` in seconds, by default 25 per second."""
    encode(path, iter(zip(times if times is not None else np.arange(len(frames)) / 25, frames, strict=True)))
    return path


def pixels_of(patches: torch.Tensor, encoder: Encoder) -> torch.Tensor:
    """Patch indices (B, M) -> mask (B, 1, T, H, W) of their pixels."""
    _, h, w = encoder.grid
    mask = torch.zeros(len(patches), encoder.grid[0] * h * w).scatter(1, patches, 1.0).unflatten(1, encoder.grid)
    for dim, size in enumerate(encoder.patch, start=1):
        mask = mask.repeat_interleave(size, dim=dim)
    return mask.unsqueeze(1)


def expression_network(seed: int = 0) -> bytes:
    """A small network in the layout of ``fer-opencv``: ``data`` (1, 3, 112, 112) -> ``label`` (1, 7), without softmax."""
    rng = np.random.default_rng(seed)
    weights = {
        "kernels": 0.1 * rng.normal(size=(8, 3, 7, 7)).astype(np.float32),
        "classes": rng.normal(size=(7, 8)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["data", "kernels"], ["a"], strides=[4, 4]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "classes"], ["label"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "toy",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("label", TensorProto.FLOAT, [1, 7])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8).SerializeToString()


def recognition_network() -> bytes:
    """A small network in the layout of SFace: ``data`` (1, 3, 112, 112), 0 to 255 -> (1, 128). Its vectors compare thumbnails."""
    draw = np.random.default_rng(0)
    weights = {
        "middle": np.array([120.0], np.float32),
        "mixing": draw.normal(size=(128, 192)).astype(np.float32),
    }
    nodes = [
        helper.make_node("AveragePool", ["data"], ["a"], kernel_shape=[14, 14], strides=[14, 14]),
        helper.make_node("Sub", ["a", "middle"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "mixing"], ["fc1"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "toy",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 128])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8).SerializeToString()
