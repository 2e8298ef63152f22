"""Frame models: networks of others that read one picture of a face, from an ONNX file, as an encoder of one-frame clips.

Their scores are the tokens, so that nothing is learnt on top, and timelines, tables, calibration and evaluation are those
of any other model. The file travels inside ``weights.safetensors``, as bytes, and is run by onnxruntime where that is
installed, else by OpenCV. Gradients do not pass through it, so it can be calibrated and evaluated, not trained.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mien.config import STRICT
from mien.interfaces import Encoder

Floats = NDArray[np.float32]
Run = Callable[[Floats], Floats]
"""Pictures (B, colours, size, size) -> scores (B, all)."""

GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a grey picture (ITU-R BT.601)."""
COARSE = 4
"""Rows and columns of the coarse picture by which calibration knows what a clip looks like."""


@dataclass(frozen=True, config=STRICT)
class FrameConfig:
    """A network from an ONNX file that reads one picture."""

    outputs: PositiveInt
    """Scores that are taken."""
    bytes: PositiveInt
    """Length of the ONNX file."""
    first: Annotated[int, Field(ge=0)] = 0
    """Place of the first score that is taken among those that the network gives."""
    colour: Literal["rgb", "bgr", "grey"] = "rgb"
    """Colours of its pictures, in order."""
    name: Literal["frame"] = "frame"

    def build(self, frames: int, size: int) -> FrameModel:
        """The network for pictures of ``size`` x ``size`` pixels; ``frames`` must be 1. Its file comes with the weights."""
        if frames != 1:
            raise ValueError(f"clip.frames is {frames}: a frame model reads one picture at a time")
        return FrameModel(self, size)


class CoarsePicture(nn.Module):
    """Normalised video (B, 3, T, H, W) -> mean colours of a few rows and columns (B, N, dim), in turn over the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, video: Tensor) -> Tensor:
        small = nn.functional.adaptive_avg_pool3d(video, (video.shape[2], COARSE, COARSE)).flatten(2)  # B 3 N
        return small[:, torch.arange(self.dim) % small.shape[1]].transpose(1, 2)


class FrameModel(Encoder):
    """One picture per clip -> one token, the network's scores."""

    any_visible = False
    normed = True
    file: Tensor

    def __init__(self, config: FrameConfig, size: int) -> None:
        super().__init__()
        self.config, self.size = config, size
        self.dim, self.heads, self.layers = config.outputs, 1, 1
        self.grid, self.patch, self.blocks = (1, 1, 1), (1, size, size), ()
        self.patch_embed = CoarsePicture(self.dim)
        self.register_buffer("file", torch.zeros(config.bytes, dtype=torch.uint8))

    @cached_property
    def run(self) -> Run:
        """The network, opened when it is first needed."""
        return open_network(self.file.cpu().numpy().tobytes())

    def forward(self, video: Tensor, visible: Tensor | None = None) -> Tensor:
        if visible is not None:
            raise ValueError("a frame model sees its whole picture; it cannot be shown a part of the patches")
        self.patch_embed(video)  # calibration listens to it; the network sees the whole picture
        c, pictures = self.config, video[:, :, 0].detach().float().cpu()
        if c.colour == "grey":
            pictures = (pictures * torch.tensor(GREY).view(3, 1, 1)).sum(1, keepdim=True)
        elif c.colour == "bgr":
            pictures = pictures.flip(1)
        scores = self.run(np.ascontiguousarray(pictures.numpy()))
        if scores.shape[1] < c.first + c.outputs:
            raise ValueError(
                f"the network gives {scores.shape[1]} scores, its card takes {c.outputs} from number {c.first} on"
            )
        return torch.from_numpy(scores[:, None, c.first : c.first + c.outputs].copy()).to(video.device)

    def features(self, video: Tensor) -> Tensor:
        return self(video)

    def layer_of(self, parameter: str) -> int:
        """It has no parameters."""
        return 0


def open_session(network: bytes | str, name: str) -> Any:
    """An ``onnxruntime.InferenceSession`` of a file's content, or of its path, with as many threads as PyTorch has.

    Raises ``ImportError`` where there is no onnxruntime, and ``ValueError`` with the file's ``name`` where it cannot be run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own, which no base class joins
        raise ValueError(f"{name}: not an ONNX network that can be run: {str(error)[:300]}") from error


def open_network(content: bytes) -> Run:
    """An ONNX file as a function; ``ValueError`` where it is none, or has not one input and one output that fits."""
    try:
        session = open_session(content, "the file")
    except ImportError:
        return open_with_opencv(content)
    entry = session.get_inputs()[0]
    alone = isinstance(entry.shape[0], int) and entry.shape[0] == 1

    def run(pictures: Floats) -> Floats:
        parts = np.split(pictures, len(pictures)) if alone else [pictures]
        try:
            given = [np.asarray(session.run(None, {entry.name: part})[0], np.float32) for part in parts]
        except Exception as error:
            raise ValueError(
                f"the network does not take pictures of {pictures.shape[1:]}: {str(error)[:300]}"
            ) from error
        return np.concatenate([scores.reshape(len(scores), -1) for scores in given])

    return run


def open_with_opencv(content: bytes) -> Run:
    """The same through OpenCV, one picture at a time: its networks keep the batch that they were exported with."""
    try:
        network = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
    except cv2.error as error:
        raise ValueError(f"not an ONNX network that OpenCV can run: {' '.join(str(error).split())[:300]}") from error

    def run(pictures: Floats) -> Floats:
        given = []
        for picture in pictures:
            try:
                network.setInput(picture[None])
                given.append(np.asarray(network.forward(), np.float32).reshape(-1))
            except cv2.error as error:
                said = " ".join(str(error).split())[:300]
                raise ValueError(f"the network does not take pictures of {picture.shape}: {said}") from error
        return np.stack(given)

    return run
