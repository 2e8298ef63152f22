"""``mien synth OUT``: draw a corpus of faces with known expressions, affect and traits."""

from __future__ import annotations

import time

import cv2

from mien.datasets.synthetic import SynthConfig, contact_sheet, draw_clips, prepare_folder, write_tables
from mien.progress import progress_bar

__all__ = ["Config", "run"]

Config = SynthConfig


def run(config: SynthConfig) -> None:
    """Draw the corpus into ``config.output``; a ValueError where that folder holds anything else."""
    prepare_folder(config)
    began = time.perf_counter()
    clips = list(progress_bar(draw_clips(config), "drawing", total=config.clips))
    seconds = time.perf_counter() - began
    if not cv2.imwrite(str(config.output / "contact_sheet.png"), contact_sheet(config)[..., ::-1]):
        raise OSError(f"cannot write {config.output / 'contact_sheet.png'}")
    write_tables(config, clips)
    frames = config.clips * config.frames
    print(
        f"{config.clips} {config.style} clips of {config.subjects} persons in {config.output}: "
        f"{frames} frames of {config.size} px in {seconds:.1f} s ({frames / seconds:.0f} frames/s)"
    )
