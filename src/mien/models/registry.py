"""Public weights by name: what there is, what is here, and getting one as a folder that every command takes.

``registry.yaml`` holds the facts. ``get`` fetches and verifies the files (``mien.downloads``) and makes of them what they
become: a file in the cache, the folder of a frame model, or that of an encoder (``mien.models.layouts``).
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from mien import downloads
from mien.config import STRICT
from mien.downloads import RemoteFile
from mien.engine import checkpoint
from mien.files import write_whole
from mien.models.layouts import import_weights
from mien.models.layouts.import_options import ImportOptions
from mien.models.layouts.onnx_file import FrameCard, save_frame_model
from mien.yaml_files import read_yaml

FILE = Path(__file__).with_suffix(".yaml")
ACCEPTED = "accepted_licences.json"
"""File of the cache that keeps which models' licences were accepted."""


@dataclass(frozen=True, config=STRICT)
class PublicFile:
    """One file of a model, as ``RemoteFile``; without addresses it lies in the model's repository on the hub."""

    file: str
    urls: tuple[str, ...] = ()
    sha256: str = ""
    git_blob: str = ""
    size: int = 0


@dataclass(frozen=True, config=STRICT)
class PublicModel:
    """One line of the registry."""

    kind: str
    becomes: Literal["file", "frame", "encoder"]
    licence: str
    commercial: bool
    """Whether the licence allows commercial use."""
    files: tuple[PublicFile, ...]
    source: str
    """Where the facts were read."""
    hub: str = ""
    """Repository on the hub that files without addresses are in."""
    revision: str = "main"
    """Its revision."""
    by_hand: str = ""
    """Where a person gets files that have no fixed address."""
    card: FrameCard | None = None
    convert: ImportOptions | None = None

    def remote(self, name: str) -> list[RemoteFile]:
        """Its files with their addresses; those of a folder under a name of their own in the cache."""
        hub = (
            f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co').rstrip('/')}/{self.hub}/resolve/{self.revision}"
        )
        files = []
        for one in self.files:
            urls = one.urls or ((f"{hub}/{one.file}",) if self.hub else ())
            kept = one.file if self.becomes == "file" else f"{name}.download/{Path(one.file).name}"
            files.append(RemoteFile(kept, urls, one.sha256, one.git_blob, one.size))
        return files


@cache
def models() -> dict[str, PublicModel]:
    """All models by name."""
    return TypeAdapter(dict[str, PublicModel]).validate_python(read_yaml(FILE))


def known(name: str) -> PublicModel:
    """A model by name; raises ``ValueError`` that lists the names there are."""
    if name not in models():
        raise ValueError(f"no model {name!r}; there are {', '.join(models())}")
    return models()[name]


def find(name: str) -> Path | None:
    """The file or folder of a model on this machine, or None."""
    model = known(name)
    return downloads.find(model.files[0].file if model.becomes == "file" else f"{name}/{checkpoint.CARD}")


def get(
    name: str, url: str = "", source: Path | None = None, folder: Path | None = None, accept: bool = False
) -> tuple[Path, list[str]]:
    """Fetch, verify and convert a model; its file or folder, and sentences on how it was verified.

    ``url`` and ``source`` stand for its addresses where it is a single file. A licence that forbids commercial use must be
    accepted once (``accept``). Raises ``OSError`` and ``ValueError`` as ``downloads.fetch`` and ``mien convert`` do.
    """
    model = known(name)
    require_licence(name, model, accept)
    remote = model.remote(name)
    if (url or source) and len(remote) > 1:
        raise ValueError(
            f"{name} is {len(remote)} files ({', '.join(Path(one.file).name for one in remote)}): --url and --from stand for one; "
            "put them into a folder and give that to mien convert"
        )
    if not source and not url and (lost := [one.file for one in remote if not one.urls]):
        raise ValueError(
            f"{Path(lost[0]).name} has no fixed address: get it from {model.by_hand}, then mien models get {name} --from FILE"
        )
    place = folder or downloads.cache()
    fetched = [downloads.fetch(one, place, url, source) for one in remote]
    notes = [f"{path.name}: {how}" for path, how in fetched]
    if model.becomes == "file":
        return fetched[0][0], notes
    made = place / name
    provenance = f"{name} ({model.licence}{'' if model.commercial else ', no commercial use'})"
    if model.becomes == "frame":
        assert model.card is not None
        save_frame_model(made, fetched[0][0].read_bytes(), model.card, (provenance,))
    else:
        path = fetched[0][0] if len(fetched) == 1 else fetched[0][0].parent
        imported, _ = import_weights(path, model.convert or ImportOptions())
        replace(imported.card, sources=(provenance,)).save(made, imported.model)
        notes += imported.notes
    for (path, _), one in zip(fetched, remote, strict=True):
        downloads.keep_hash(path, one)
        path.unlink()
    fetched[0][0].parent.rmdir()
    return made, notes


def accepted(name: str) -> bool:
    """Whether a model may be used commercially, or its licence was accepted."""
    model = known(name)
    return model.commercial or accepted_licences().get(name) == model.licence


def accepted_licences() -> dict[str, str]:
    """Licences that were accepted, by model."""
    file = downloads.cache() / ACCEPTED
    return json.loads(file.read_text()) if file.is_file() else {}


def require_licence(name: str, model: PublicModel, accept: bool) -> None:
    """Raise ``ValueError`` unless a model's licence allows commercial use, or is or was accepted, which is kept."""
    if accepted(name):
        return
    if not accept:
        raise ValueError(
            f"{name} comes under {model.licence}, which forbids commercial use: say --accept-licence to take it under that "
            "licence"
        )
    text = json.dumps(accepted_licences() | {name: model.licence}, indent=2) + "\n"
    write_whole(downloads.cache() / ACCEPTED, lambda path: path.write_text(text))
