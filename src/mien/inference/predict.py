"""One video through one model: the options, the stream, the tables.

The same options serve Python and the command line: ``analyzer.predict(video, hop=8)`` and ``mien analyze video --hop 8``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from mien.calibration.calibration import require_calibration
from mien.config import STRICT, changed, to_tree
from mien.faces.crop import CropConfig
from mien.faces.detectors import DetectConfig
from mien.faces.follow import FollowConfig
from mien.faces.identity import SAME_PERSON, Gallery, Recogniser
from mien.files import LOCK, locked
from mien.inference.face_crops import CropPreset, DetectedFaces, FaceCropper, WholeFrame, compatible_crop
from mien.inference.job import IDENTITY, Job
from mien.inference.overlap import OverlapAverage
from mien.inference.pipeline import PredictionEvent, WindowPrediction, frame_events, prediction_events
from mien.inference.profiling import Profile, prefetch
from mien.inference.sources import Source
from mien.inference.tables import PERSON
from mien.inference.timeline import Timeline
from mien.inference.windows import Windower
from mien.progress import progress_bar
from mien.video.clips import ClipConfig
from mien.video.decode import VideoError
from mien.video.inspection import digest
from mien.video.rates import rate_warnings

if TYPE_CHECKING:
    from mien.inference.analyzer import Analyzer

AHEAD = 16
"""Frames that decoding and faces may be ahead of the model."""

BAR = "{desc}: {percentage:3.0f}% |{bar}| {n:.0f} of {total:.0f} s, {elapsed} gone, {remaining} to go"
"""The bar counts seconds of video."""

Listener = Callable[[PredictionEvent], object]


@dataclass(frozen=True, config=STRICT)
class ReadConfig:
    """How a video is read."""

    faces: Literal["find", "whole"] = "find"
    """find: detect and follow every face; whole: the clip is cropped to one face already, take each frame as it is."""
    crop: CropPreset = "model"
    """How found faces are cropped: as the model's training clips were, or, where those are unknown, as named."""
    detector: DetectConfig = DetectConfig()
    follow: FollowConfig = FollowConfig()
    identity: Literal["none", "sface"] = "none"
    """sface: join the faces of one person into the column person, by vectors of SFace (mien models get sface)."""
    same_person: Annotated[float, Field(gt=-1, le=1)] | None = None
    """Cosine of two faces' vectors from which they are one person; left out: 0.363, its owner's for photographs. On video
    nobody has measured it."""
    hop: NonNegativeInt = 0
    """Frames (steps of 1 / clip.fps seconds, where the model samples by time) from the start of a window to the next; 0
    takes a quarter of what a window covers."""
    batch: PositiveInt = 8
    """Windows that the model reads at a time; it does not change the result."""
    offset: float = 0.0
    """Seconds to add to the video's clock for that of the stimulus; with it there are columns stimulus_*."""
    sync_mark: float | None = None
    """Second of the video at which the stimulus' clock shows 0, as an event seen in it (a clap, a flash)."""

    coverage: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the truth that prediction sets and intervals hold; left out: what the model was calibrated for."""

    def __post_init__(self) -> None:
        unread = [*changed(self.detector, "detector"), *changed(self.follow, "follow")]
        unread += ["--crop"] if self.crop != "model" else []
        unread += ["--identity"] if self.identity != "none" else []
        if self.faces == "whole" and unread:
            raise ValueError(f"--faces whole looks for no faces: leave {', '.join(unread)} out")
        if self.same_person is not None and self.identity == "none":
            raise ValueError("--same-person is for --identity sface: add that, or leave it out")

    @property
    def clock(self) -> float | None:
        """Seconds from the video's clock to the stimulus'; None where they are not aligned."""
        if self.sync_mark is None and not self.offset:
            return None
        return self.offset - (self.sync_mark or 0.0)

    def reading(self) -> ReadConfig:
        """These options alone, of a command that has more."""
        return ReadConfig(**{name: getattr(self, name) for name in ReadConfig.__dataclass_fields__})

    def windower(self, analyzer: Analyzer) -> Windower:
        """The windower for a model."""
        return self.windower_for(analyzer.clip, analyzer.task.segments)

    def windower_for(self, clip: ClipConfig, segments: int) -> Windower:
        """The windower for windows of ``segments`` clips by a clip rule."""
        windower = Windower(clip, segments, 1)
        windower.hop = self.hop or max(1, round(windower.span / 4))
        return windower

    def cropper(self, analyzer: Analyzer) -> FaceCropper:
        """The detector and cropper of faces for a model."""
        return self.cropper_for(analyzer.clip, analyzer.card.face_crop)

    def cropper_for(self, clip: ClipConfig, face_crop: CropConfig | None) -> FaceCropper:
        """The detector and cropper of faces by a clip rule and the crop of the training clips, None where that is not known."""
        if self.faces == "whole":
            return WholeFrame(clip)
        return DetectedFaces(clip, compatible_crop(clip, face_crop, self.crop), self.detector, self.follow)

    def resolved(self) -> ReadConfig:
        """The same with the detector named that this machine has. Raises ``ValueError`` for a file that is missing."""
        if self.identity == "sface":
            Recogniser.find()
        return replace(self, detector=self.detector.resolved()) if self.faces == "find" else self

    def refuse_identity(self, what: str) -> None:
        """Refuse to join faces where no persons come out."""
        if self.identity != "none":
            raise ValueError(
                f"--identity {self.identity}: {what} tells no persons; mien analyze and study do, leave it out"
            )

    def gallery(self) -> Gallery | None:
        """What gathers the vectors of faces, where they are joined."""
        return None if self.identity == "none" else Gallery(Recogniser(Recogniser.find()))

    def tree(self) -> dict[str, Any]:
        """Plain values of what decides the tables; without persons none that has to do with them."""
        tree = {name: value for name, value in to_tree(self).items() if name not in (IDENTITY, "same_person")}
        if self.identity == "none":
            return tree
        file = digest(Recogniser.find())
        return tree | {IDENTITY: {"name": self.identity, "same_person": self.threshold, "file": file}}

    @property
    def threshold(self) -> float:
        """Cosine from which faces are one person."""
        return SAME_PERSON if self.same_person is None else self.same_person


def stream(
    analyzer: Analyzer,
    source: Source,
    config: ReadConfig,
    known: Iterator[WindowPrediction] | None = None,
    profile: Profile | None = None,
    gallery: Gallery | None = None,
) -> Generator[PredictionEvent]:
    """The predictions for a video, as they become final; constant memory. Close it to stop early.

    ``gallery`` gathers what the faces look like.
    """
    profile, windower = profile or Profile(), config.windower(analyzer)
    step = partial(analyzer.read_windows, coverage=config.coverage)
    look = gallery.add if gallery else None
    events = prefetch(frame_events(source.frames(), config.cropper(analyzer), windower, profile, look), AHEAD)
    averager = OverlapAverage(len(analyzer.names))
    with closing(events):
        yield from prediction_events(events, step, averager, config.batch, known, profile)


def predict_into(
    folder: Path,
    analyzer: Analyzer,
    source: Source,
    config: ReadConfig,
    format: Literal["csv", "parquet"] = "csv",
    overwrite: bool = False,
    progress: bool = True,
    profile: Profile | None = None,
    listen: Listener | None = None,
) -> Timeline:
    """Read a video into the tables of a folder, as a job that survives a kill; ``listen`` is called with what becomes final.

    A finished job is returned as it is, an unfinished one gone on with. A video that breaks off is read up to there, which
    ``timeline.about["stopped"]`` says.
    """
    with locked(folder / LOCK):
        config = config.resolved()
        config.cropper(analyzer)  # a crop that does not suit the model is refused before anything is written
        require_calibration(analyzer.calibration, config.coverage)
        identity = analyzer.identity() | {"input": source.name, "file": source.fingerprint()} | config.tree()
        if config.identity != "none" and PERSON in analyzer.names:
            raise ValueError(
                f"--identity {config.identity}: the model calls an output {PERSON}, as the column would be called"
            )
        job = Job(folder, analyzer.layout(config.clock), identity, format)
        if job.open(overwrite):
            return Timeline.load(folder)
        profile, gallery = profile or Profile(), config.gallery()
        for line in input_warnings(analyzer, source, config) if progress else ():
            print(f"warning: {source.name}: {line}", file=sys.stderr)
        bar = progress_bar(total=source.duration, what=source.name, unit="s", bar_format=BAR, disable=not progress)
        stopped = None
        with (
            job,
            bar,
            closing(stream(analyzer, source, config, job.known_predictions(config.batch), profile, gallery)) as events,
        ):
            try:
                for event in events:
                    with profile.stage("tables"):
                        job.append_event(source.name, event)
                    bar.update(max(round(event.time - bar.n, 2), 0))
                    if listen:
                        listen(event)
            except VideoError as error:
                if not job.decoded:
                    raise
                stopped = str(error) if source.path is None else str(error).replace(str(source.path), source.name)
            job.finish(stopped, gallery and gallery.finish(), config.threshold)
        return Timeline.load(folder)


def input_warnings(analyzer: Analyzer, source: Source, config: ReadConfig) -> list[str]:
    """Warnings about a whole video: its frame rate, and faces that are not cropped as in training."""
    lines = rate_warnings(source.rates(), analyzer.clip.fps, analyzer.clip.stride, analyzer.card.rates)
    known = analyzer.card.face_crop is not None or analyzer.clip.crop == "voxceleb2"
    if config.faces == "find" and not known and config.crop == "model":
        lines.append(
            "how the faces that the model was trained on were cropped is not known, so loose squares are cut around those "
            "found; name another --crop, or take --faces whole for a clip that is cropped to one face"
        )
    folders = source.path.resolve().parents if config.faces == "find" and source.path is not None else ()
    if any((folder / "store.yaml").is_file() for folder in folders):
        lines.append("this clip is of a store of mien extract-faces, cropped to one face already: --faces whole")
    return lines
