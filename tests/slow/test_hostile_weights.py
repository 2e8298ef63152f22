"""Cards and weights that somebody made up: each is loaded or refused in one sentence, runs nothing and ends soon."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import mien
from conftest import DATA
from mien import cli
from slow.conftest import Tallying
from slow.tally import Tally
from toy_models import write_model

SECONDS = 60
"""Longer than this is a hang: the largest of these files has two megabytes."""
NONSENSE: list[Any] = [
    None, "x", "", -1, 0, 10**9, 10**30, 1e308, math.nan, math.inf, True, [], {}, [[]], ["x", 1], {"name": "x"}, "a" * 10**6,
]  # fmt: skip
FLAGS = ["--heads=4", "--clip.size=64", "--depths", "2", "3", "2"]


class Program:
    """What a pickle calls when it is read by Python."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@contextlib.contextmanager
def ending(attack: Tally, what: str) -> Iterator[None]:
    """One try: an end after ``SECONDS``, and any error that is no sentence, are counted."""

    def end(*_: Any) -> None:
        raise TimeoutError(what)

    attack.tried += 1
    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    began = time.monotonic()
    try:
        yield
    except ValueError as error:
        if len(str(error)) > 20_000:
            attack.lose(f"{what}: a message of {len(str(error))} letters")
    except TimeoutError:
        attack.hang(what)
    except Exception as error:
        attack.tracebacks.append(f"{what}: {type(error).__name__}: {error}")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        if time.monotonic() - began > SECONDS:
            attack.hang(what)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a card, inner ones too."""
    if path:
        yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def cards(card: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The card with every place removed, and with nonsense in every place, in turn over the kinds of nonsense."""
    for number, place in enumerate(places(card)):
        for value in (Ellipsis, *(NONSENSE[(number + i) % len(NONSENSE)] for i in range(5))):
            changed = deepcopy(card)
            parent = changed
            for key in place[:-1]:
                parent = parent[key]
            if value is Ellipsis:
                del parent[place[-1]]
            else:
                parent[place[-1]] = value
            shown = "removed" if value is Ellipsis else repr(value)[:30]
            yield f"{'.'.join(map(str, place))} {shown}", changed


@pytest.mark.slow
def test_hostile_cards(tally: Tallying, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    card = json.loads((folder / "model.json").read_text())
    video = torch.zeros(1, 3, 8, 32, 32, dtype=torch.uint8)
    with tally("hostile cards") as attack:
        loaded = 0
        for what, changed in cards(card):
            (folder / "model.json").write_text(json.dumps(changed))
            with ending(attack, what):
                analyzer = mien.load(folder, device="cpu")
                loaded += 1
                if analyzer.clip.frames == 8 and analyzer.clip.size == 32:
                    with torch.inference_mode():
                        outputs = analyzer.task.predict({"video": video})
                    if not bool(outputs.isfinite().all()):
                        attack.lose(f"{what}: loaded, and answers {outputs.flatten()[0].item()}")
        for text in ("", "null", "[]", "[" * 10**6, '{"a":' * 10**5, "9" * 10**5, "\x00" * 100, '{"clip": {}}'):
            (folder / "model.json").write_text(text)
            with ending(attack, text[:20]):
                mien.load(folder, device="cpu")
                attack.lose(f"{text[:20]}: loaded")
        attack.note = f"{loaded} of them harmless and loaded"


def official() -> dict[str, dict[str, Any]]:
    """Small files as published, by layout."""
    svfap = {name: load_file(DATA / f"svfap_{name}.safetensors") for name in ("pretrain", "finetune")}
    plain = {name: {k: v for k, v in file.items() if k[:2] != "__"} for name, file in svfap.items()}
    jepa: dict[str, Any] = {}
    for key, value in load_file(DATA / "vjepa.safetensors").items():
        part, _, name = key.partition("/")
        if name and part != "classifier":
            jepa.setdefault(part, {})[name] = value
    return {"pretrain": {"model": plain["pretrain"]}, "finetune": {"module": plain["finetune"]}, "vjepa": jepa}


def tensors() -> dict[str, Any]:
    """What may stand where a weight should."""
    values: dict[str, Any] = {
        "nothing": torch.empty(0), "one number": torch.tensor(1.0), "NaN": torch.full((48, 48), math.nan),
        "whole numbers": torch.ones(48, 48, dtype=torch.int64), "complex": torch.ones(48, 48, dtype=torch.complex64),
        "seven axes": torch.zeros(1, 1, 1, 1, 1, 1, 1), "sparse": torch.eye(48).to_sparse(), "text": "weights",
        "meta": torch.empty(48, 48, device="meta"), "a billion of one": torch.zeros(1).expand(10**5, 10**4),
        "half": torch.ones(48, 48, dtype=torch.float16), "none": None, "namespace": argparse.Namespace(a=1),
    }  # fmt: skip
    return values


def trees(name: str, tree: dict[str, Any], proof: Path) -> Iterator[tuple[str, Any]]:
    """A file's contents with one thing changed."""
    part = next(key for key in tree if isinstance(tree[key], dict))
    keys = list(tree[part])
    for number, (kind, value) in enumerate(tensors().items()):
        for key in (keys[number % len(keys)], keys[(7 * number + 3) % len(keys)]):
            yield f"{name}: {key} is {kind}", {**tree, part: {**tree[part], key: value}}
    for key in keys[:: max(1, len(keys) // 12)]:
        yield f"{name}: without {key}", {**tree, part: {k: v for k, v in tree[part].items() if k != key}}
    for kind, value in (("a list", []), ("a tensor", torch.zeros(2)), ("text", "x"), ("empty", {}), ("a number", 5)):
        yield f"{name}: {part} is {kind}", {**tree, part: value}
    yield f"{name}: numbers for names", {**tree, part: dict(enumerate(tree[part].values()))}
    yield (
        f"{name}: 10,000 blocks",
        {**tree, part: tree[part] | {f"blocks.{i}.x": torch.zeros(1) for i in range(10_000)}},
    )
    for call in programs(proof):
        yield f"{name}: calls {call[0].__module__}.{call[0].__qualname__}", {**tree, "args": Program(*call)}
        yield f"{name}: a weight calls {call[0].__qualname__}", {**tree, part: {**tree[part], keys[0]: Program(*call)}}


def programs(proof: Path) -> list[tuple[Any, ...]]:
    """Functions with arguments, of which each would leave ``proof`` behind or take all memory."""
    return [
        (os.system, f"touch {proof}"), (subprocess.check_output, ["touch", str(proof)]), (eval, f"open({str(proof)!r}, 'w')"),
        (exec, f"open({str(proof)!r}, 'w')"), (open, str(proof), "w"), (Path.touch, proof), (bytearray, 10**15),
        (getattr, torch.zeros(1), "numpy"), (torch.load, str(proof)), (torch.hub.load, "x", "y"), (np.zeros, 10**12),
    ]  # fmt: skip


def damaged(file: bytes) -> Iterator[tuple[str, bytes]]:
    """A file cut off, and with bytes changed."""
    draw = np.random.default_rng(0)
    for share in (0.0, 0.01, 0.3, 0.9, 0.999):
        yield f"cut at {share:.1%}", file[: int(share * len(file))]
    for _ in range(20):
        broken = bytearray(file)
        for place in draw.integers(0, min(len(file), 4000), 4):
            broken[place] = int(draw.integers(0, 256))
        yield "bytes changed at its beginning", bytes(broken)


@pytest.mark.slow
def test_hostile_weights(tally: Tallying, tmp_path: Path) -> None:
    proof, out = tmp_path / "ran", tmp_path / "out"
    names, decoder = ["--names", *"abcdefg"], ["--decoder-heads=4"]

    def convert(attack: Tally, what: str, file: Path) -> None:
        said = io.StringIO()
        with ending(attack, what), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = cli.main(["convert", str(file), str(out), *FLAGS, *(names if "finetune" in what else decoder)])
            if code == 0:
                weights = load_file(out / "weights.safetensors")
                if not all(bool(value.isfinite().all()) for value in weights.values()):
                    attack.lose(f"{what}: imported with NaN")
            elif file.name not in said.getvalue():
                attack.lose(f"{what}: the message does not name the file: {said.getvalue()[:300]}")
        attack.scan(said.getvalue(), what)
        if proof.exists():
            proof.unlink()
            attack.lose(f"{what}: the program ran")

    with tally("hostile weights") as attack:
        for name, tree in official().items():
            for what, changed in trees(name, tree, proof):
                for modern in (True, False):
                    try:
                        torch.save(changed, tmp_path / "x.pth", _use_new_zipfile_serialization=modern)
                    except (RuntimeError, NotImplementedError):
                        continue  # this format has no way to hold such a thing
                    convert(attack, f"{what} ({'zip' if modern else 'legacy'})", tmp_path / "x.pth")
            torch.save(tree, tmp_path / "whole.pth")
            for what, content in damaged((tmp_path / "whole.pth").read_bytes()):
                (tmp_path / "x.pth").write_bytes(content)
                convert(attack, f"{name}: {what}", tmp_path / "x.pth")
        save_file(official()["pretrain"]["model"], tmp_path / "whole.safetensors")
        for what, content in damaged((tmp_path / "whole.safetensors").read_bytes()):
            (tmp_path / "x.safetensors").write_bytes(content)
            convert(attack, f"safetensors: {what}", tmp_path / "x.safetensors")
        with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
            bomb.writestr("x/data.pkl", bytes(10**9))
        convert(attack, "a gigabyte of zeros, compressed", tmp_path / "x.pth")
