"""Kills at random moments of every command that writes; what the same command makes afterwards is compared, bit for bit,
with what an undisturbed one made.

The commands start in processes forked from one that has imported everything, so that a start costs milliseconds and a
kill may fall anywhere. Most kills are SIGKILL to the whole group; some are SIGTERM or SIGINT, after which the exit code must
be 128 + n.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from conftest import ONE_PROCESS, TINY_DECODER, TINY_TPSBT
from slow.tally import Tally

LIMIT = 300.0
"""Seconds after which a start that was left alone counts as hung."""
RUNS = "runs"
"""Name of the folder that holds the runs, of those left alone and of the killed ones: it stands in reports."""
CPU = ["--workers=0", "--device=cpu"]
CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Target:
    """A command at toy size: its arguments without the folder, and which of its files must be equal."""

    name: str
    arguments: Sequence[str]
    files: Sequence[str]
    output: str = "--output={}"
    whole: Sequence[str] = ()
    """Files by which a folder is whole: where they are, a command that refuses such a folder is given ``again`` too."""
    again: Sequence[str] = ("--overwrite",)

    def command(self, folder: Path) -> list[str]:
        """The arguments for a folder."""
        return [*self.arguments, self.output.format(folder)]


def targets(base: Path) -> list[Target]:
    """The commands under attack; ``base`` holds a corpus and, once they were made, the models."""
    data = f"--data.manifest={base / 'corpus' / 'manifest.csv'}"
    train = ["--train.batch=4", "--train.save-every=2", "--train.log-every=1", *ONE_PROCESS, "--train.workers=1"]
    weights = ["weights.safetensors", "model.json", "seen.csv"]
    best = [f"best-on-validation/{name}" for name in weights]
    found = ["predictions.csv", "metrics.json"]
    video = next((base / "corpus" / "videos").rglob("*.mp4"), base)
    return [
        Target("pretrain", ["pretrain", data, "--train.steps=8", *train, *TINY_TPSBT, *TINY_DECODER], weights),
        Target(
            "finetune",
            [
                "finetune",
                data,
                "--train.steps=6",
                "--split.validation=fold=2",
                "--split.test=fold=3",
                "--split.every=2",
                *train,
                *TINY_TPSBT,
            ],
            [*weights, *best, "results.json", *[f"evaluation/{name}" for name in found]],
        ),
        Target(
            "probe",
            [
                "probe",
                f"--model={base / RUNS / 'pretrain'}",
                data,
                "--leaks-allowed",
                "--train=fold=1",
                "--validation=fold=2",
                "--test=fold=3",
                "--segments=1",
                "--probe.epochs=2",
                f"--features.folder={base / 'features'}",
                *CPU,
            ],
            ["pretrain/weights.safetensors", "pretrain/evaluation/predictions.csv", "pretrain/evaluation/metrics.json"],
        ),
        Target("evaluate", ["evaluate", f"--model={base / RUNS / 'finetune'}", data, *CPU], found),
        Target(
            "features",
            [
                "extract-features",
                f"--model={base / RUNS / 'pretrain'}",
                data,
                "--format=npy",
                *CPU,
                f"--features.folder={base / 'kept'}",
            ],
            ["features.npy", "windows.csv"],
        ),
        Target(
            "prepare",
            ["prepare", "csv", str(base / "corpus"), f"--labels={base / 'corpus' / 'manifest.csv'}", "--workers=1"],
            ["manifest.csv", "problems.csv"],
        ),
        Target(
            "faces",
            ["extract-faces", str(base / "corpus" / "videos"), "--detector.name=haar", "--workers=1"],
            ["manifest.csv", "files.csv", "frames/*/*", "frames/*", "clips/*/*"],
        ),
        Target(
            "analyze",
            [
                "analyze",
                str(video),
                f"--model={base / RUNS / 'finetune'}",
                "--faces=whole",
                "--device=cpu",
                "--no-pictures",
            ],
            ["frames.csv", "windows.csv"],
        ),
        Target(
            "synth",
            ["synth", *DRAW],
            ["manifest.csv", "curves.csv", "videos/*/*", "videos/*"],
            output="{}",
            whole=["manifest.csv"],
        ),
    ]


DRAW = ["--clips=28", "--subjects=6", "--folds=3", "--size=32", "--frames=16", "--workers=1"]
IMPORTS = [
    f"mien.commands.{name}"
    for name in ("synth", "finetune", "probe", "evaluate", "extract_features", "prepare", "extract_faces", "analyze")
]


def child(arguments: Sequence[str], log: str, ready: Event) -> None:
    """A command in a session of its own, whose output goes to a file; ``ready`` once it begins."""
    os.setsid()
    place = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(place, 1)
    os.dup2(place, 2)
    from mien import cli

    ready.set()
    code = cli.main(list(arguments))
    sys.stdout.flush()
    sys.exit(code)


def begin(arguments: Sequence[str], log: Path) -> BaseProcess:
    """Start a command."""
    ready = CONTEXT.Event()
    process = CONTEXT.Process(target=child, args=(arguments, str(log), ready))
    process.start()
    ready.wait(LIMIT)
    return process


def finish(process: BaseProcess, tally: Tally, what: str) -> int | None:
    """Wait for a command that is left alone; its exit code, or None if it hung."""
    process.join(LIMIT)
    if process.exitcode is None:
        send(process, signal.SIGKILL)
        tally.hang(f"{what}: still running after {LIMIT:g} s")
    return process.exitcode


def send(process: BaseProcess, number: int) -> None:
    """A signal to a command and all it started."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, number)


def digests(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """What a run made, by name."""
    files = [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def litter(folder: Path) -> list[str]:
    """Temporary files and locks that a finished command has left."""
    return [str(path) for path in folder.rglob(".*") if re.search(r"^\.lock|^\..+\.\d+$", path.name)]


def attack(tally: Tally, until: float, kills: int | None = None, seed: int = 0) -> None:
    """Kill every command in turn until ``until`` (of ``time.monotonic``) or until there were so many kills."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        base = Path(name)
        CONTEXT.set_forkserver_preload([*IMPORTS, "slow.kills"])
        log = base / "log"
        if finish(begin(["synth", str(base / "corpus"), *DRAW], log), tally, "synth") != 0:
            raise RuntimeError(f"the corpus cannot be drawn: {log.read_text()}")
        undisturbed = [measure(target, base, tally) for target in targets(base)]
        chance, count = random.Random(seed), Counter[str]()
        while time.monotonic() < until and (kills is None or sum(count.values()) < kills):
            for target, expected, seconds in undisturbed:
                if time.monotonic() < until:
                    count[target.name] += disturb(target, expected, seconds, base, chance, tally)
        told = ", ".join(f"{name} {number}" for name, number in count.items())
        tally.note = f"{sum(count.values())} kills: {told}; seed {seed}"


def measure(target: Target, base: Path, tally: Tally) -> tuple[Target, dict[str, str], float]:
    """What an undisturbed run makes, and how long it takes."""
    target = next(t for t in targets(base) if t.name == target.name)
    folder, log, began = base / RUNS / target.name, base / f"{target.name}.log", time.monotonic()
    if finish(begin(target.command(folder), log), tally, target.name) != 0:
        raise RuntimeError(f"mien {target.name} fails without any kill: {log.read_text()[-3000:]}")
    made = digests(folder, target.files)
    if not made:
        raise RuntimeError(f"mien {target.name} made none of {target.files}")
    return target, made, time.monotonic() - began


def disturb(
    target: Target,
    expected: dict[str, str],
    seconds: float,
    base: Path,
    chance: random.Random,
    tally: Tally,
    most: int = 4,
) -> int:
    """Kill a command up to ``most`` times at random moments, let it end, and compare; returns the number of kills."""
    folder, log = base / "killed" / RUNS / target.name, base / f"{target.name}.killed.log"
    shutil.rmtree(folder, ignore_errors=True)
    log.write_text("")  # a kill may come before the command opens it
    for kept in ("features", "kept"):
        shutil.rmtree(base / kept, ignore_errors=True)
    moments: list[str] = []
    for _ in range(most):
        process, wait = begin(target.command(folder), log), chance.uniform(0.0, 1.05 * seconds)
        number = chance.choice([signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGINT])
        process.join(wait)
        if process.exitcode is not None:
            break
        send(process, number)
        tally.tried += 1
        moments.append(f"{number.name} after {wait:.2f} s")
        code = finish(process, tally, f"{target.name}, {moments[-1]}")
        if number != signal.SIGKILL and code not in (128 + number, -number, 0, None):
            tally.lose(f"{target.name}: exit code {code} {moments[-1]}: {log.read_text()[-500:]}")
        for card in folder.rglob("model.json"):
            check_card(card, tally, moments[-1])
    what = f"{target.name} ({'; '.join(moments) or 'not killed'})"
    again = target.again if target.whole and all((folder / name).is_file() for name in target.whole) else []
    code = finish(begin([*target.command(folder), *again], log), tally, what)
    text = log.read_text()
    tally.scan(text, what)
    made = digests(folder, target.files)
    if code != 0:
        tally.lose(f"{what}: exit code {code} at the end: {text[-800:]}")
    elif made != expected:
        differing = sorted(name for name in made.keys() | expected.keys() if made.get(name) != expected.get(name))
        tally.lose(f"{what}: not what an undisturbed run makes: {', '.join(differing[:5])}")
    if left := litter(folder):
        tally.lose(f"{what}: left behind {', '.join(left[:5])}")
    return len(moments)


def check_card(card: Path, tally: Tally, when: str) -> None:
    """Where there is a card, the weights beside it are whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        json.loads(card.read_text())
        load_file(card.parent / "weights.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        tally.lose(f"{card}: {when}: a card without whole weights: {error}")
