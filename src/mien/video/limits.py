"""The option by which every command that reads videos limits how large their frames may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.video.container import EIGHT_K


@dataclass(frozen=True, config=STRICT, kw_only=True)
class FrameLimit:
    """What the options of every command that reads videos have in common."""

    max_pixels: Annotated[int, Field(ge=1, lt=2**31)] = EIGHT_K
    """Pixels of the largest frame that is read, width times height; a video with larger ones is refused before memory is
    spent on it. The default is 8192 x 4320."""
