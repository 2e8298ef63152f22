"""What lies where in a model: the weights of its folder, and the notes that an ONNX file carries beside its network.

A model is a folder of a run (weights.safetensors, model.json), a folder for the hub (model.safetensors, config.json) or one
ONNX file, whose notes (``metadata_props``) hold what the other two keep in files.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

ONNX = ".onnx"
WEIGHTS = ("weights.safetensors", "model.safetensors", "pytorch_model.bin")
"""Names of a folder's weights: of a run, of a folder for the hub, of older folders of transformers."""
NOTES = 14
"""Number of the field of an ONNX file (``ModelProto.metadata_props``) that holds its notes."""
LONGEST = 2**26
"""Bytes beyond which a note is none of ours."""


def weights_file(place: Path) -> Path:
    """The file with a model's weights, which need not be there; a file stands for itself."""
    if not place.is_dir():
        return place if place.is_file() else place / WEIGHTS[0]
    return next((place / name for name in WEIGHTS if (place / name).is_file()), place / WEIGHTS[0])


def report_folder(place: Path) -> Path:
    """Where what is found out about a model goes: into its folder, or beside NAME.onnx into NAME-onnx."""
    return place.with_name(f"{place.stem}-onnx") if place.suffix == ONNX else place


def read_notes(file: Path) -> dict[str, str]:
    """The notes of an ONNX file by name; the network itself is skipped. ``ValueError`` for what is no such file."""
    notes, size = {}, file.stat().st_size
    try:
        with file.open("rb") as stream:
            while (key := number(stream)) is not None:
                length = {0: 0, 1: 8, 2: number(stream) if key & 7 == 2 else 0, 5: 4}[key & 7] or 0
                if stream.tell() + length > size:
                    raise ValueError("it is cut off")
                if key & 7 == 0:
                    number(stream)
                elif key >> 3 == NOTES and length < LONGEST:
                    name, text = entry(stream.read(length))
                    notes[name] = text
                else:
                    stream.seek(length, 1)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{file}: not an ONNX file, or a damaged one") from error
    return notes


def append_notes(file: Path, notes: Mapping[str, str]) -> None:
    """Add notes to an ONNX file: entries of a repeated field may stand anywhere, also at the end."""
    with file.open("ab") as stream:
        for name, text in notes.items():
            parts = b"".join(
                tag + length_of(value) + value for tag, value in ((b"\x0a", name.encode()), (b"\x12", text.encode()))
            )
            stream.write(bytes([NOTES << 3 | 2]) + length_of(parts) + parts)


def entry(content: bytes) -> tuple[str, str]:
    """One entry (``StringStringEntryProto``): field 1 is the name, field 2 the text."""
    found, stream = {1: "", 2: ""}, BytesIO(content)
    while (key := number(stream)) is not None:
        found[key >> 3] = stream.read(number(stream) or 0).decode()
    return found[1], found[2]


def number(stream: BinaryIO) -> int | None:
    """The next number, seven bits a byte, the low ones first (a varint); None at the end of the file."""
    value, shift = 0, 0
    while byte := stream.read(1):
        value, shift = value | (byte[0] & 127) << shift, shift + 7
        if byte[0] < 128:
            return value
        if shift > 63:
            raise ValueError("no number")
    return None


def length_of(content: bytes) -> bytes:
    """The length of content as a varint."""
    length, encoded = len(content), bytearray()
    while length > 127:
        encoded.append(length & 127 | 128)
        length >>= 7
    return bytes([*encoded, length])
