"""Tasks with labels: one file each. Adding one is a file and a name in ``TaskConfig``.

Read ``classification.py`` first: an ``Outputs`` says as data what depends on the kind of label. It imports
``modules`` and ``statistics``.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, get_args

from pydantic import Field

from mien.interfaces import Outputs
from mien.tasks.classification import ClassificationConfig
from mien.tasks.multilabel import MultilabelConfig
from mien.tasks.regression import RegressionConfig

TaskConfig = Annotated[ClassificationConfig | RegressionConfig | MultilabelConfig, Field(discriminator="name")]


@cache
def outputs_of(kind: str) -> Outputs:
    """What the outputs of a task are, by the name of the task as files have it; ``ValueError`` for one not known here."""
    known = {config.outputs.kind: config.outputs for config in get_args(get_args(TaskConfig)[0])}
    if kind not in known:
        raise ValueError(f"a task {kind!r} is not known here; there are {', '.join(known)}")
    return known[kind]
