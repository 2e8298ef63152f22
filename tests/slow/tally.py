"""What an attack tried and what went wrong: counted, told, and written as one row of ``docs/reliability.md``.

    with tally("kills of pretrain") as attack:
        done = attack.mien("pretrain", "--train.output", str(folder), timeout=60)
        if done.code != 0:
            attack.lose(f"{folder}: exit code {done.code}")
        attack.note = "seed 0"

``mien`` counts one try, a hang (and ends the process group) and a bare traceback by itself; attacks that run many tries
in one process count with ``tried``, ``lose``, ``hang`` and ``scan``. Leaving the block writes the row, also when the
attack broke off, and fails unless nothing was lost, hung or showed a traceback.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import IO

ROOT = Path(__file__).parent.parent.parent
TRACEBACK = "Traceback (most recent call last)"
HEAD = ("attack", "tried", "lost", "hung", "tracebacks", "seconds", "note")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int | None
    """Exit code, negative for a signal; None if it hung and was ended."""
    out: str
    err: str


class Tally:
    """The counts of one attack; a context manager that writes its row into ``rows``, a file of JSON lines."""

    def __init__(self, attack: str, rows: Path) -> None:
        self.attack, self.rows = attack, rows
        self.tried = 0
        self.note = ""
        self.lost: list[str] = []
        self.hung: list[str] = []
        self.tracebacks: list[str] = []
        self.began = time.monotonic()

    def mien(
        self,
        *arguments: str | bytes,
        timeout: float = 120,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        """Run ``python -m mien`` to its end or for ``timeout`` seconds: one try."""
        self.tried += 1
        with start(*arguments, env=env, cwd=cwd) as process:
            try:
                out, err = process.communicate(timeout=timeout)
                code = process.returncode
            except subprocess.TimeoutExpired:
                end(process)
                out, err = process.communicate()
                code = None
                self.hang(f"{shown(arguments)}: still running after {timeout:g} s")
        done = Done(code, out.decode(errors="surrogateescape"), err.decode(errors="surrogateescape"))
        self.scan(done.out + done.err, shown(arguments))
        return done

    def lose(self, what: str) -> None:
        """Something is lost: a row, a file, a step, a wrong result taken for a right one."""
        self.lost.append(what)

    def hang(self, what: str) -> None:
        """Something did not end."""
        self.hung.append(what)

    def scan(self, text: str, what: str) -> None:
        """Count a bare traceback in the output of a command or server."""
        if TRACEBACK in text:
            self.tracebacks.append(f"{what}: {text[text.index(TRACEBACK) :][-1500:]}")

    def row(self) -> dict[str, object]:
        """The row of the table."""
        counts = {"lost": len(self.lost), "hung": len(self.hung), "tracebacks": len(self.tracebacks)}
        seconds = round(time.monotonic() - self.began, 1)
        return {"attack": self.attack, "tried": self.tried, **counts, "seconds": seconds, "note": self.note}

    def __enter__(self) -> Tally:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.note = f"broke off: {kind.__name__ if kind else ''}. {self.note}".strip()
        self.rows.parent.mkdir(parents=True, exist_ok=True)
        with self.rows.open("a") as file:
            file.write(json.dumps(self.row()) + "\n")
        wrong = [("lost", self.lost), ("hung", self.hung), ("traceback", self.tracebacks)]
        lines = [f"{name}: {what}" for name, entries in wrong for what in entries]
        if error is not None:
            print("\n".join(lines[:50]))
        else:
            assert not lines, f"{self.attack}: {len(lines)} of {self.tried} went wrong\n" + "\n".join(lines[:50])
            assert self.tried, f"{self.attack}: nothing was tried"


def start(
    *arguments: str | bytes,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """``python -m mien`` in a session of its own, on one thread; what it says goes to ``output`` or to two pipes."""
    surroundings = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        **(env or {}),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "mien", *arguments],
        env=surroundings,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output or subprocess.PIPE,
        stderr=output or subprocess.PIPE,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes], sign: int = signal.SIGKILL) -> None:
    """Send a signal to a process and to all it started, and wait if it kills."""
    try:
        os.killpg(process.pid, sign)
    except ProcessLookupError:
        return
    if sign == signal.SIGKILL:
        process.wait()


def shown(arguments: tuple[str | bytes, ...]) -> str:
    """A command as one line."""
    return " ".join(["mien", *(os.fsdecode(a) for a in arguments)])


@dataclass(frozen=True)
class Machine:
    """What a table was made on."""

    cores: int
    system: str
    python: str
    date: str


def machine() -> Machine:
    """This machine, today."""
    system = f"{platform.system()} {platform.machine()}"
    return Machine(len(os.sched_getaffinity(0)), system, platform.python_version(), date.today().isoformat())


def table(rows: list[dict[str, object]], command: str) -> str:
    """Rows as Markdown, with a sum, the command and the machine."""
    sums = {name: sum(float(str(row[name])) for row in rows) for name in HEAD[1:6]}
    total = {"attack": "**all**", "note": "", **{name: f"{value:g}" for name, value in sums.items()}}
    lines = ["| " + " | ".join(HEAD) + " |", "|---|" + "---:|" * 5 + "---|"]
    for row in [*rows, total]:
        lines.append("| " + " | ".join(str(row[name]).replace("|", "\\|").replace("\n", " ") for name in HEAD) + " |")
    here = asdict(machine())
    lines += ["", f"`{command}`, {here['date']}, {here['cores']} cores, {here['system']}, Python {here['python']}."]
    return "\n".join(lines)


def insert(page: Path, name: str, text: str) -> None:
    """Put a table between ``<!-- NAME -->`` and ``<!-- end of NAME -->`` of a page."""
    begin, finish = f"<!-- {name} -->", f"<!-- end of {name} -->"
    old = page.read_text()
    if begin not in old or finish not in old:
        raise ValueError(f"{page} has no place for a table: {begin} ... {finish}")
    before, rest = old.split(begin, 1)
    page.write_text(f"{before}{begin}\n{text}\n{finish}{rest.split(finish, 1)[1]}")
