"""Tasks with labels: one file each. Adding one is a file and a name in ``TaskConfig``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mien.tasks.classification import ClassificationConfig
from mien.tasks.regression import RegressionConfig

TaskConfig = Annotated[ClassificationConfig | RegressionConfig, Field(discriminator="name")]
