"""``mien <command> [recipe ...] [--section.key value ...]``: commands in groups, each imported when chosen."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

GROUPS = {
    "try it": {
        "demo": "from nothing to a report: draw faces, pre-train, fine-tune, evaluate, compare",
        "recipes": "list the recipes that ship with mien, and what each reproduces",
        "cost": "what training of a recipe needs: parameters, products, memory and time of a step",
    },
    "get data": {
        "synth": "draw a corpus of facial videos with labels",
        "prepare": "check a corpus, decode every clip, write its manifest with labels and folds",
        "preview": "one video, no model: see which faces are found, as contact sheet and overlay video",
        "extract-faces": "many videos, no model: find, follow and crop every face into clips for training",
    },
    "learn": {
        "pretrain": "learn from unlabelled face video (masked autoencoding, joint embedding)",
        "finetune": "adapt an encoder to labels: expressions, valence and arousal, personality",
        "probe": "read labels off a frozen encoder: attentive or linear probes, and baselines",
    },
    "evaluate": {
        "evaluate": "metrics of a model, with intervals, on labelled clips that it has not seen",
        "cross-validate": "train and evaluate on every fold of one corpus, and pool the predictions",
        "cross-corpus": "evaluate a classifier on another corpus, whose classes may differ",
        "calibrate": "make a model's outputs mean what they say: probabilities, sets, limits",
        "compare": "set evaluated runs beside published results and one another",
    },
    "read video": {
        "predict": "one video, a few lines printed: the mean scores of each face; writes no files",
        "analyze": "one video, or a camera live: tables with every frame and face, pictures, a page",
        "study": "many videos: each as by analyze, then means per participant and condition",
        "explain": "one video: when and where the model looks, as maps over the face, with checks of them",
        "serve": "a page in the browser: drop a video or use the camera, see overlay and timeline",
    },
    "models": {
        "models": "list public models, or fetch, verify and convert some, to be named by --model or --init",
        "convert": "import official SVFAP, VideoMAE or V-JEPA weights",
        "export": "a model as one ONNX file that needs no PyTorch, or as a folder for a model hub",
        "extract-features": "a frozen encoder's numbers per window of video, not scores, for other tools (Parquet, npy)",
    },
}
"""What each command does, in groups by purpose."""
COMMANDS = {name: what for group in GROUPS.values() for name, what in group.items()}
FORMER = {
    "faces": "extract-faces", "look": "preview", "cross": "cross-corpus", "crossval": "cross-validate",
    "features": "extract-features",
}  # fmt: skip
"""Commands by the name they had once, with the name they have now."""

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

    lines = [
        line
        for title, group in GROUPS.items()
        for line in ("", f"{title}:", *map("  {0[0]:<17}{0[1]}".format, group.items()))
    ]
    return "\n".join(
        [
            f"mien {__version__} learns what faces do from unlabelled video and reads affect in any video.",
            "",
            "usage: mien COMMAND [recipe ...] [--section.key value ...]",
            *lines,
            "",
            "mien COMMAND --help explains the options most used, --help-all each one. Recipes (mien recipes) merge left to right,",
            'options win over recipes. In Python they are keywords: mien.finetune("svfap_finetune", data={...}); docs/python.md.',
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
    if name in FORMER:
        print(
            f"note: mien {name} is now called mien {FORMER[name]}; the old name works until the next version",
            file=sys.stderr,
        )
        name = FORMER[name]
    if name not in COMMANDS:
        print(f"mien: no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return run(name, rest)


def run(name: str, arguments: Sequence[str]) -> int:
    """Import, configure and run a command."""
    from pydantic import ValidationError

    from mien.api import perform
    from mien.config import explain, parse
    from mien.engine.stopping import Stopped, sigterm_as_interrupt

    command, schema = import_module(f"mien.commands.{name.replace('-', '_')}"), None
    try:
        schema, prog, rest = choose(command, f"mien {name}", arguments)
        often = getattr(command, "OFTEN", ())
        config = parse(schema, rest, prog=prog, description=command.__doc__, often=often)
        with sigterm_as_interrupt():
            perform(command, config)
    except KeyboardInterrupt as stop:
        print(f"\nmien {name}: {stop if str(stop) else GOES_ON}", file=sys.stderr)
        return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)
    except BrokenPipeError:
        raise  # nobody reads on; __main__ ends in silence
    except Exception as error:
        from mien.engine import memory

        short = memory.is_out_of_memory(error)
        if not short and not isinstance(error, ValueError | OSError | ArithmeticError):
            raise
        if os.environ.get("MIEN_DEBUG"):
            raise
        message = explain(error) if isinstance(error, ValidationError) else error
        message = of_the_system(error) if isinstance(error, OSError) else message
        message = memory.memory_advice(schema, error) if short else message
        print(f"mien {name}: {message}", file=sys.stderr)
        return 1
    return 0


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
