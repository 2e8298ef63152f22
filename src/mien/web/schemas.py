"""What the server says, as its OpenAPI description shows it."""

from __future__ import annotations

from time import monotonic
from typing import Literal, get_args

from pydantic import BaseModel, Field

from mien.inference.analyzer import Analyzer
from mien.inference.timeline import Timeline
from mien.reports.curves import palette
from mien.web.queue import OVER, Queue, State, WebJob

FileName = Literal[
    "frames.csv",
    "windows.csv",
    "frames.parquet",
    "windows.parquet",
    "overlay.mp4",
    "report.html",
    "timeline.png",
    "mosaic.png",
    "analysis.json",
]
"""What can be taken away."""


class ModelAbout(BaseModel):
    """A model that may be asked."""

    id: str
    kind: str = Field(description="the model's task: classification, regression, ...")
    bounds: tuple[float, float] | None = Field(
        description="between what every output lies: 0 and 1 for probabilities; null for values"
    )
    names: list[str] = Field(description="columns of the model's outputs")
    colours: dict[str, str] = Field(description="a colour for each name, the same in all pictures")
    calibrated: bool = Field(description="whether it says which answers are reliable")
    window_frames: int = Field(description="frames that one window covers")


class ServerAbout(BaseModel):
    """What the server takes and keeps."""

    models: list[ModelAbout]
    max_megabytes: float
    max_minutes: float
    keep_minutes: float = Field(description="results are removed so long after the end of a job")
    local: bool = Field(description="whether only this machine reaches the server")
    version: str


class Result(BaseModel):
    """What was found, in short; the tables hold the rest."""

    reliability: str = Field(description="how many rows with a face are not reliable, and why; empty without a face")
    meaning: str = Field(description="what those reasons mean; empty where there are none")
    warns: bool = Field(
        description="whether some rows are not reliable, or nobody can tell: the model is not calibrated"
    )
    sentence: str
    stopped: str | None = Field(description="why the video ended early")
    start: float = Field(description="timestamp of the first frame in seconds; the overlay's second 0")
    frames: int
    frames_with_face: int
    unreliable: float | None = Field(description="share of the rows with a face that are not reliable; null: not known")
    reasons: dict[str, float] = Field(description="why, with the share of the rows; the most frequent first")
    faces: list[dict[str, object]] = Field(description="a row per face: seconds, mean and deviation of each output")
    files: list[str] = Field(description="what GET /api/jobs/{id}/files/{file} gives")


class JobStatus(BaseModel):
    """How far a job is."""

    id: str
    name: str
    model: str
    state: State
    position: int | None = Field(description="place among the waiting jobs, 1 is next")
    fraction: float = Field(description="done of the present step, 0 to 1")
    eta: float | None = Field(description="seconds until the present step (reading, drawing) ends")
    duration: float | None = Field(description="seconds of video")
    message: str = Field(description="why it failed")
    expires_in: float | None = Field(description="seconds until the result is removed")
    result: Result | None = None


def about_model(name: str, analyzer: Analyzer) -> ModelAbout:
    """A model as the page lists it."""
    clip = analyzer.clip
    return ModelAbout(
        id=name,
        kind=analyzer.outputs.kind,
        bounds=analyzer.outputs.bounds,
        names=list(analyzer.names),
        colours=palette(analyzer.names),
        calibrated=analyzer.calibration is not None,
        window_frames=(clip.frames - 1) * clip.stride + 1,
    )


def status(queue: Queue, job: WebJob) -> JobStatus:
    """A job as its owner sees it."""
    left = max(queue.limits.keep - (monotonic() - job.ended), 0.0) if job.state in OVER else None
    return JobStatus(
        id=job.id,
        name=job.name,
        model=job.model,
        state=job.state,
        position=queue.position(job),
        fraction=round(job.fraction, 4),
        eta=None if job.eta is None else round(job.eta, 1),
        duration=job.facts.seconds if job.facts else None,
        message=job.message,
        expires_in=left,
        result=result(job, Timeline.load(job.folder)) if job.state == "done" else None,
    )


def result(job: WebJob, timeline: Timeline) -> Result:
    """A timeline in short."""
    frames, stopped = timeline.frames, timeline.about["stopped"]
    seen = frames[frames["success"] == 1]
    judged = timeline.reliability()
    faces = timeline.summary().astype(object)
    return Result(
        reliability=judged.sentence(),
        meaning=judged.meaning(),
        warns=judged.warns,
        sentence=timeline.sentence(),
        stopped=stopped and job.without_folders(stopped),
        start=float(frames["timestamp"].iloc[0]),
        frames=int(frames["frame"].nunique()),
        frames_with_face=int(seen["frame"].nunique()),
        unreliable=judged.share,
        reasons={name: round(count / max(judged.rows, 1), 4) for name, count in judged.reasons.items()},
        faces=faces.where(faces.notna(), None).to_dict("records"),  # pyright: ignore[reportArgumentType]
        files=list(get_args(FileName)),
    )
