"""Read pictures of one face with an ONNX file of `mien export`; needs NumPy and onnxruntime, neither mien nor PyTorch.

python examples/read_onnx.py model.onnx frames.npy

frames.npy: the face on every frame, cut and scaled as `preprocessing` in the file says: uint8 (N, size, size, 3), RGB.
"""

import json
import sys

import numpy as np
import onnxruntime


def main(model: str, frames: str) -> None:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    notes = session.get_modelmeta().custom_metadata_map
    names, clip = json.loads(notes["names"]), json.loads(notes["preprocessing"])
    if json.loads(notes["sources"]):
        print("began from:", *json.loads(notes["sources"]), file=sys.stderr)

    pictures = np.load(frames)
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (clip["size"], clip["size"], 3):
        raise SystemExit(
            f"{frames}: {pictures.dtype} {pictures.shape}, not uint8 (N, {clip['size']}, {clip['size']}, 3)"
        )

    # A clip takes every `stride`-th frame; clips begin a quarter of what they cover after one another.
    span = (clip["frames"] - 1) * clip["stride"] + 1
    starts = range(0, max(len(pictures) - span, 0) + 1, max(1, round(span / 4)))
    rows = [np.minimum(start + clip["stride"] * np.arange(clip["frames"]), len(pictures) - 1) for start in starts]
    clips = np.stack([pictures[row] for row in rows]).transpose(0, 4, 1, 2, 3)  # batch, RGB, time, rows, columns

    best = "calibrated" if "calibration" in notes else "scores"
    scores = np.asarray(session.run([best], {"video": np.ascontiguousarray(clips)})[0])
    print("frame", *names, sep="\t")
    for start, row in zip(starts, scores, strict=True):
        print(start, *(f"{value:.6f}" for value in row), sep="\t")


if __name__ == "__main__":
    main(*sys.argv[1:])
