"""Decode -> faces -> windows -> model, in one pass and constant memory: what ``Analyzer.predict`` and `mien analyze` run.

A thread decodes, finds faces and cuts windows while the model works on the batch before. Windows of all faces fill one
batch after another in the order in which they become complete, so that the same video gives the same batches, whether
or not a job was killed in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from mien.faces.face import FrameFaces
from mien.inference.face_crops import FaceCropper
from mien.inference.overlap import FrameEstimate, OverlapAverage
from mien.inference.profiling import Profile
from mien.inference.window_prediction import WindowPrediction
from mien.inference.windows import FrameEvent, Window, Windower
from mien.video.decode import VideoError
from mien.video.stream import Frame

Step = Callable[[list[Window]], list[WindowPrediction]]
"""A batch of windows -> a prediction for each."""


@dataclass(frozen=True)
class PredictionEvent:
    """What has become final since the last one."""

    time: float
    """Seconds of the video read so far."""
    windows: list[tuple[Window, WindowPrediction]] = field(default_factory=list)
    """In the order of batches."""
    frames: list[tuple[FrameEvent, list[FrameEstimate]]] = field(default_factory=list)
    """In the order of the video; every decoded frame comes once."""


def frame_events(
    frames: Iterator[Frame],
    cropper: FaceCropper,
    windower: Windower,
    profile: Profile,
    look: Callable[[FrameFaces], object] | None = None,
) -> Iterator[FrameEvent]:
    """Frames -> one event each, and at the end one with the windows of the faces that are still there.

    ``look`` is called with the faces of each frame while its pixels are there.
    A ``VideoError`` is raised after the end, so that all that was decoded before the break counts.
    """
    broken = None
    found = cropper.frames_with_faces(profile.each("decode", frames))
    try:
        for frame_faces in profile.each("faces", found):
            if look:
                with profile.stage("identity"):
                    look(frame_faces)
            with profile.stage("crop"):
                pictures = [cropper.picture(frame_faces, face) for face in frame_faces.faces]
                event = windower.add_frame(frame_faces, pictures)
            yield event
    except VideoError as error:
        if not windower.frames:
            raise
        broken = error
    yield windower.finish()
    if broken:
        raise broken


def prediction_events(
    events: Iterator[FrameEvent],
    step: Step,
    average: OverlapAverage,
    batch: int,
    known: Iterator[WindowPrediction] | None = None,
    profile: Profile | None = None,
) -> Iterator[PredictionEvent]:
    """Frames with their windows -> scored windows and averaged frames as they become final.

    ``known`` are the predictions of a killed job in order, whole batches only; their windows are not shown to the model.
    """
    profile, known = profile or Profile(), known or iter(())
    waiting: list[Window] = []
    time = 0.0
    for event in events:
        average.add_frame(event)
        waiting.extend(event.windows)
        time = event.time if event.frame >= 0 else time
        scored: list[tuple[Window, WindowPrediction]] = []
        while len(waiting) >= batch or (event.frame < 0 and waiting):
            now, waiting = waiting[:batch], waiting[batch:]
            scored += zip(now, batch_predictions(now, step, known, profile), strict=True)
        with profile.stage("tables"):
            for window, answer in scored:
                average.add_window(window, answer.values.astype(np.float64), answer.reasons)
            settled = list(average.final_frames())
        yield PredictionEvent(time, scored, settled)


def batch_predictions(
    windows: list[Window], step: Step, known: Iterator[WindowPrediction], profile: Profile
) -> list[WindowPrediction]:
    """The predictions for a batch, from a killed job if it got so far."""
    before = list(islice(known, len(windows)))
    if len(before) == len(windows):
        return before
    with profile.stage("model"):
        return step(windows)
