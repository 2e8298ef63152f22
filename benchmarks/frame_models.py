"""Which library runs a frame model's network: onnxruntime or OpenCV, side by side in one process.

python benchmarks/frame_models.py

The network is made here: a stack of separable convolutions of the size of ``fer-opencv`` (1.2 M parameters, pictures of 112
pixels), with weights drawn by chance, once with a fixed batch of 1, as that file has it, and once with a free batch.
"""

from __future__ import annotations

import platform
from datetime import date
from statistics import median
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from mien.models.frame import Run, open_network, open_with_opencv

SIDE, REPEATS, PICTURES = 112, 15, 8
WIDTHS = ((64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1), (512, 2), (512, 1))
"""Channels and stride of each separable convolution."""


def network(batch: int | str) -> bytes:
    """The made network as an ONNX file."""
    draw, nodes, weights, before, channels = np.random.default_rng(0), [], [], "data", 3

    def layer(kind: str, inputs: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"x{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def weight(*shape: int) -> str:
        values = draw.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{len(weights)}"))
        return weights[-1].name

    for width, stride in WIDTHS:
        depth = weight(channels, 1, 3, 3)
        before = layer("Conv", [before, depth], group=channels, pads=[1, 1, 1, 1], strides=[stride, stride])
        before = layer("Relu", [layer("Conv", [before, weight(width, channels, 1, 1)])])
        channels = width
    before = layer("Conv", [before, weight(1024, channels, 1, 1)])
    before = layer("Flatten", [layer("GlobalAveragePool", [before])])
    before = layer("Gemm", [before, weight(7, 1024)], transB=1)
    entry = helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])
    leave = helper.make_tensor_value_info(before, TensorProto.FLOAT, [batch, 7])
    graph = helper.make_graph(nodes, "made", [entry], [leave], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    return model.SerializeToString()


def milliseconds(run: Run, pictures: np.ndarray) -> float:
    """Median time per picture."""
    run(pictures)
    times = []
    for _ in range(REPEATS):
        start = perf_counter()
        run(pictures)
        times.append(perf_counter() - start)
    return 1000 * median(times) / len(pictures)


def main() -> None:
    """Print the table."""
    pictures = np.random.default_rng(1).normal(size=(PICTURES, 3, SIDE, SIDE)).astype(np.float32)
    cv2.setNumThreads(torch.get_num_threads())
    print("| batch of the file | library | ms per picture | largest difference |")
    print("|---|---|---|---|")
    for batch in (1, "n"):
        content = network(batch)
        runs = {"onnxruntime": open_network(content), "OpenCV": open_with_opencv(content)}
        scores = {name: run(pictures) for name, run in runs.items()}
        for name, run in runs.items():
            difference = np.abs(scores[name] - scores["onnxruntime"]).max() / np.abs(scores["onnxruntime"]).max()
            print(f"| {batch} | {name} | {milliseconds(run, pictures):.2f} | {difference:.1e} |")
    versions = f"onnxruntime {onnxruntime.__version__}, OpenCV {cv2.__version__}, onnx {onnx.__version__}"
    print(
        f"\n`python benchmarks/frame_models.py`, {date.today()}, {torch.get_num_threads()} threads, {platform.machine()}, {versions}"
    )


if __name__ == "__main__":
    main()
