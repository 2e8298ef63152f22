"""``mien <command> [recipe ...] [--section.key value ...]``: a dict of commands, each imported when chosen."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

COMMANDS = {
    "demo": "from nothing to a report: draw faces, pre-train, fine-tune, evaluate, compare",
    "synth": "draw a corpus of facial videos with labels",
    "faces": "find, follow and crop every face of videos into a store that training reads",
    "look": "show what was found in one video: contact sheet and overlay video",
    "models": "list model files of others, or download and check one",
    "prepare": "check a corpus, decode every clip, write its manifest with labels and folds",
    "recipes": "list the recipes that ship with mien, and what each reproduces",
    "cost": "what training of a recipe needs: parameters, products, memory and time of a step",
    "pretrain": "learn from unlabelled face video (masked autoencoding, joint embedding)",
    "probe": "read labels off a frozen encoder: attentive or linear probes, and baselines",
    "finetune": "adapt an encoder to labels: expressions, valence and arousal, personality",
    "calibrate": "make a model's answers mean what they say: probabilities, sets, limits",
    "evaluate": "mark a fine-tuned model on labelled clips",
    "cross": "mark a classifier on another corpus, whose classes may differ",
    "crossval": "train and mark on every fold of a corpus, and pool the predictions",
    "compare": "set marked runs beside published results and one another",
    "predict": "read the scores of one video",
    "analyze": "read a video: every face, every frame; tables, pictures, a page; or a camera, live",
    "serve": "a page in the browser: drop a video or use the camera, see overlay and timeline",
    "study": "analyze many videos and sum them up per participant and condition",
    "explain": "when and where a model looks: maps over the face, and whether they are true",
    "features": "write a frozen encoder's features for other tools (Parquet, npy)",
    "convert": "import official SVFAP, VideoMAE or V-JEPA weights",
}


GOES_ON = "stopped; the same command goes on from what is done"

REFUSALS = {
    errno.ENOENT: "there is no such file or folder",
    errno.EEXIST: "a file is in the way of a folder of that name; choose another place, or move the file",
    errno.ENOTDIR: "one of its parts is a file and not a folder; choose another place",
    errno.EISDIR: "this is a folder, where a file is needed",
    errno.EACCES: "not allowed; look at the permissions of the file and its folder, or choose another place",
    errno.EPERM: "not allowed; look at the permissions of the file and its folder, or choose another place",
    errno.EROFS: "it is on a disk that can only be read; choose another place",
    errno.ENOSPC: "the disk is full; make room, or choose another place",
    errno.ENAMETOOLONG: "the name is too long",
}
"""What the system refuses, and the way out."""


def overview() -> str:
    """What ``mien --help`` says."""
    from mien import __version__

    lines = [f"  {name:<10} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            f"mien {__version__} learns what faces do from unlabelled video and reads affect in any video.",
            "",
            "usage: mien COMMAND [recipe ...] [--section.key value ...]",
            "",
            *lines,
            "",
            "mien COMMAND --help explains the options most used, --help-all each one. Recipes (mien recipes) merge left to right, options win over recipes.",
            "First steps: mien demo",
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code. A user's mistake is one message, never a traceback."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    name, *rest = arguments
    if name == "--version":
        from mien import __version__

        print(__version__)
        return 0
    if name not in COMMANDS:
        print(f"mien: no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return run(name, rest)


def run(name: str, arguments: Sequence[str]) -> int:
    """Import, configure and run a command."""
    from pydantic import ValidationError

    from mien.config import explain, parse
    from mien.engine.stopping import Stopped, ending_politely

    command, schema = import_module(f"mien.commands.{name}"), None
    try:
        schema, prog, rest = choose(command, f"mien {name}", arguments)
        often = getattr(command, "OFTEN", ())
        config = parse(schema, rest, prog=prog, description=command.__doc__, often=often)
        with ending_politely(), held(command, config), limits(config):
            command.run(config)
    except KeyboardInterrupt as stop:
        print(f"\nmien {name}: {stop if str(stop) else GOES_ON}", file=sys.stderr)
        return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)
    except BrokenPipeError:
        raise  # nobody reads on; __main__ ends in silence
    except Exception as error:
        from mien.engine import memory

        short = memory.ran_out(error)
        if not short and not isinstance(error, ValueError | OSError | ArithmeticError):
            raise
        if os.environ.get("MIEN_DEBUG"):
            raise
        message = explain(error) if isinstance(error, ValidationError) else error
        message = of_the_system(error) if isinstance(error, OSError) else message
        message = memory.advice(schema, error) if short else message
        print(f"mien {name}: {message}", file=sys.stderr)
        return 1
    return 0


def held(command: Any, config: Any) -> AbstractContextManager[object]:
    """Hold the folder that a command writes: what its ``writes(config)`` names, or ``config.output``. Of several ranks, one
    does."""
    from mien.files import LOCK, locked

    output = getattr(config, "output", None)
    lock = command.writes(config) if hasattr(command, "writes") else output and output / LOCK
    return locked(lock) if lock and os.environ.get("RANK", "0") == "0" else nullcontext()


def limits(config: Any) -> AbstractContextManager[object]:
    """Read no larger frames than a command's --max-pixels allows."""
    if not hasattr(config, "max_pixels"):
        return nullcontext()
    from mien.video.container import limited

    return limited(config.max_pixels)


def of_the_system(error: OSError) -> object:
    """An error of the operating system as a sentence with a way out; others, which are sentences already, as they are."""
    reason = REFUSALS.get(error.errno or 0)
    if reason is None or not error.filename:
        return error
    return f"{os.fsdecode(error.filename)}: {reason}"


def choose(command: Any, prog: str, arguments: Sequence[str]) -> tuple[Any, str, Sequence[str]]:
    """A command's Config; where it has several (``CONFIGS``), the first argument names one."""
    kinds = getattr(command, "CONFIGS", None)
    if kinds is None:
        return command.Config, prog, arguments
    if arguments and arguments[0] in kinds:
        return kinds[arguments[0]], f"{prog} {arguments[0]}", arguments[1:]
    if hasattr(command, "guess") and arguments and arguments[0] not in ("-h", "--help"):
        kind = command.guess(arguments)
        return kinds[kind], f"{prog} {kind}", arguments
    usage = f"usage: {prog} {{{','.join(kinds)}}} [recipe ...] [--section.key value ...]"
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"{usage}\n\n{command.__doc__}")
        raise SystemExit(0)
    raise ValueError(f"{usage}\nname one of {', '.join(kinds)} first")
