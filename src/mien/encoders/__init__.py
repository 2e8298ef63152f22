"""Encoders: one file per family. Adding one is a file and a name in ``EncoderConfig``.

Read ``vit.py`` first, the plainest. What every encoder declares stands in ``mien.interfaces.Encoder``. It imports
``modules``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mien.encoders.tpsbt import TPSBTConfig
from mien.encoders.vit import ViTConfig
from mien.encoders.vjepa import VJEPAConfig

EncoderConfig = Annotated[TPSBTConfig | ViTConfig | VJEPAConfig, Field(discriminator="name")]
