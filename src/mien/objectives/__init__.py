"""Ways of learning without labels: one file each. Adding one is a file and a name in ``ObjectiveConfig``.

Read ``masked_autoencoding.py`` first. It imports ``modules``; encoders come in through ``build``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mien.objectives.joint_embedding import JointEmbeddingConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig

ObjectiveConfig = Annotated[MaskedAutoencodingConfig | JointEmbeddingConfig, Field(discriminator="name")]
