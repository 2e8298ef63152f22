"""What `mien convert` makes of weights of others against their owners' networks: parameters, what is left out, differences.

    python benchmarks/layouts.py

Networks with random weights at published sizes (`tests/owners.py`), written as their owners publish them, and numbers
recorded in `tests/data`. Prints the table of `docs/models.md`. Needs about 6 GB of memory.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from mien.models.card import EncoderOnly  # noqa: E402
from mien.models.layouts import import_weights  # noqa: E402
from mien.models.layouts.import_options import ImportOptions  # noqa: E402
from mien.models.layouts.source import Imported  # noqa: E402
from mien.video.clips import ClipConfig  # noqa: E402
from owners import LAYOUTS, Layout  # noqa: E402

HEAD = "| layout | size | parameters | left out | outputs compared | largest difference |\n|---|---|---|---|---|---|"
GROUPS = {
    "transformers": "Checked against transformers",
    "plain torch": "Checked only against ourselves: the network in plain PyTorch, written from the published description",
    "recorded": "Checked against numbers recorded in tests/data",
}


def outputs(imported: Imported, video: Tensor, read: str) -> Tensor:
    """What the imported model makes of a clip."""
    model = imported.model.eval()
    if read == "probabilities":
        return model.predict({"video": video})  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    if read == "tokens":
        return model.encoder(video)
    features = model.encoder.features(video)
    if read == "features":
        return features
    assert isinstance(model, EncoderOnly)
    return model.encoder_norm(features.mean(dim=1))


def line(name: str, size: str, imported: Imported, read: str, ours: Tensor, theirs: Tensor) -> str:
    """A row of the table."""
    count = sum(p.numel() for p in imported.model.parameters()) / 1e6
    left = "; ".join(note.partition("left out: ")[2] or note for note in imported.notes) or "nothing"
    difference = float((ours - theirs).abs().max())
    return f"| {name} | {size} | {count:.2f} M | {left} | {read}, up to {float(theirs.abs().max()):.2g} | {difference:.1e} |"


def measured(name: str, layout: Layout) -> str:
    """One layout at a published size."""
    with tempfile.TemporaryDirectory() as folder:
        published, size = layout.write(Path(folder), layout.published), layout.published
        names = published.flags[1:] if published.flags[:1] == ("--names",) else ()
        options = ImportOptions(
            clip=ClipConfig(frames=size.frames, size=size.side), names=names,
            levels="all" if "--levels" in published.flags else "last",
        )  # fmt: skip
        imported, _ = import_weights(published.path, options)
        return line(
            name, layout.name, imported, published.read, outputs(imported, published.video, published.read),
            published.outputs,
        )  # fmt: skip


def recorded(name: str, file: str, options: ImportOptions, read: str, theirs: str, tree: Callable) -> str:
    """One of the files of numbers."""
    numbers = load_file(TESTS / "data" / file)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(tree(numbers), path)
        imported, _ = import_weights(path, options)
        known = numbers[f"__{theirs}"]
        known = known.softmax(1) if read == "probabilities" else known
        return line(name, "small", imported, read, outputs(imported, numbers["__video"], read), known)


def networks(numbers: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The networks in the recorded file of V-JEPA 1."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in numbers.items():
        part, _, rest = name.partition("/")
        if rest and part != "classifier":
            parts.setdefault(part, {})[rest] = value
    return parts | {"target_encoder": parts["encoder"]}


def model_of(numbers: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The model in a recorded file."""
    return {"model": {name: value for name, value in numbers.items() if name[:2] != "__"}}


def main() -> None:
    """Print the tables."""
    clip = ClipConfig(frames=16, size=64)
    svfap = ImportOptions(heads=4, depths=(2, 3, 2), clip=clip, names=tuple("abcdefg"))
    vjepa = ImportOptions(heads=4, clip=ClipConfig(frames=8, size=64))
    rows = {layout.checked_against: [] for layout in LAYOUTS.values()}
    for name, layout in LAYOUTS.items():
        rows[layout.checked_against].append(measured(name, layout))
    rows["recorded"] = [
        recorded("SVFAP, fine-tuned", "svfap_finetune.safetensors", svfap, "probabilities", "logits", model_of),
        recorded("V-JEPA 1, .pth.tar", "vjepa.safetensors", vjepa, "tokens", "tokens", networks),
    ]
    for group, title in GROUPS.items():
        print(f"\n{title}\n\n{HEAD}\n" + "\n".join(rows[group]))


if __name__ == "__main__":
    with torch.no_grad():
        main()
