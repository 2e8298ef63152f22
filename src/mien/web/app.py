"""The web application of `mien serve`: a page, and the same as a REST interface.

POST /api/jobs?name=clip.mp4 with the video as body -> a job; GET /api/jobs/ID until its state is done;
GET /api/jobs/ID/files/frames.csv. With ?wait=true the first request answers when all is done. /docs explains the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import plotly
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from mien import __version__
from mien.files import write_whole
from mien.inference.journal import csv_to_parquet
from mien.inference.timeline import Timeline
from mien.reports.timeline_page import figure
from mien.web import camera
from mien.web.guard import Guard
from mien.web.queue import OVER, Queue, WebJob
from mien.web.schemas import FileName, JobStatus, ServerAbout, about_model, status
from mien.web.uploads import receive, safe_name

STATIC = Path(__file__).parent / "static"
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"

Responses = dict[int | str, dict[str, Any]]
"""FastAPI's type of what else a route may answer, by status."""
REFUSED: Responses = {403: {"description": "Another page, or another host name, asks"}}
GONE: Responses = {404: {"description": "No such job, or no such file of it"}}
NOT_DONE: Responses = {409: {"description": "The job is not done"}}
UPLOAD: Responses = {
    200: {"description": "The job is over (wait=true): done, or failed with a message", "model": JobStatus},
    400: {"description": "The upload broke off"},
    413: {"description": "Too large"},
    503: {"description": "Too many videos wait"},
    507: {"description": "No room for it on the disk"},
}
router = APIRouter(prefix="/api", tags=["mien"], responses=REFUSED)


def queue_of(request: Request) -> Queue:
    """The queue of the application."""
    return request.app.state.queue


def job_of(id: str, queue: Annotated[Queue, Depends(queue_of)]) -> WebJob:
    """A job by its id."""
    if (job := queue.jobs.get(id)) is None:
        minutes = queue.limits.keep / 60
        raise HTTPException(404, f"no such job; results are removed {minutes:g} minutes after they are made")
    return job


Here = Annotated[Queue, Depends(queue_of)]
Job = Annotated[WebJob, Depends(job_of)]


def done(job: Job) -> WebJob:
    """A job whose results are there."""
    if job.state != "done":
        raise HTTPException(409, f"no results: the job is {job.state}" + (f" ({job.message})" if job.message else ""))
    return job


Done = Annotated[WebJob, Depends(done)]


@router.get("/about")
def about(queue: Here, request: Request) -> ServerAbout:
    """Models, limits, version."""
    limits = queue.limits
    return ServerAbout(
        models=[about_model(name, analyzer) for name, analyzer in queue.analyzers.items()],
        max_megabytes=limits.bytes / 1e6,
        max_minutes=limits.seconds / 60,
        keep_minutes=limits.keep / 60,
        local=request.app.state.local,
        version=__version__,
    )


BODY = {
    "requestBody": {"required": True, "content": {"video/*": {"schema": {"type": "string", "format": "binary"}}}},
}


@router.post("/jobs", status_code=202, openapi_extra=BODY, responses=UPLOAD)
async def create(
    request: Request,
    response: Response,
    queue: Here,
    name: Annotated[str, Query(description="file name, which the tables repeat in the column input")] = "video",
    model: Annotated[str | None, Query(description="a model's id from /api/about; left out: the first")] = None,
    wait: Annotated[bool, Query(description="answer when the job is over")] = False,
) -> JobStatus:
    """Analyze a video: the body is the file itself (curl --data-binary @clip.mp4). 413, 422, 503 say what is wrong; 202: wait."""
    chosen = model or next(iter(queue.analyzers))
    if chosen not in queue.analyzers:
        raise HTTPException(422, f"no model {chosen!r} here; there are {', '.join(queue.analyzers)}")
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise HTTPException(422, "send the file itself as body, not a form: curl --data-binary @clip.mp4 URL")
    with queue.reserve() as free:
        if not free:
            raise HTTPException(503, f"{queue.limits.waiting} videos wait already; try again later")
        given = request.headers.get("content-length", "")
        announced = int(given) if given.isascii() and given.isdigit() else 0
        job = WebJob(chosen, safe_name(name), queue.root)
        await receive(job, request.stream(), queue.limits, announced)
        queue.add(job)
    while wait and job.state not in OVER:
        await asyncio.sleep(0.05)
    response.status_code = 200 if job.state in OVER else 202
    return await run_in_threadpool(status, queue, job)


@router.get("/jobs/{id}", responses=GONE)
def read(queue: Here, job: Job) -> JobStatus:
    """How far a job is; with the result in short when it is done."""
    return status(queue, job)


@router.delete("/jobs/{id}", status_code=204, responses=GONE)
def delete(queue: Here, job: Job) -> None:
    """Cancel a job, or remove its results now."""
    queue.remove(job)


@router.get("/jobs/{id}/timeline", responses=GONE | NOT_DONE)
def timeline(job: Done) -> Response:
    """The interactive timeline as a plotly figure."""
    return Response(figure(Timeline.load(job.folder)).to_json(), media_type="application/json")


@router.get("/jobs/{id}/files/{file}", response_class=FileResponse, responses=GONE | NOT_DONE)
def files(job: Done, file: FileName) -> FileResponse:
    """A table, picture, the overlay video, or the report that opens anywhere."""
    path = job.folder / file
    if path.suffix == ".parquet" and not path.is_file():  # the same table as the CSV
        source, layout = path.with_suffix(".csv"), Timeline.load(job.folder).layout
        write_whole(path, lambda beside: csv_to_parquet(source, beside, getattr(layout, path.stem), layout))
    if not path.is_file():
        raise HTTPException(404, f"{file} was not made for this video")
    inline = "inline" if path.suffix in (".mp4", ".png") else "attachment"
    return FileResponse(path, filename=f"{Path(job.name).stem}_{file}", content_disposition_type=inline)


def application(queue: Queue, local: bool = True) -> FastAPI:
    """The application over a queue, which it starts and closes; ``local``: only this machine may ask."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        queue.start()
        sweeper = asyncio.create_task(expire_results(queue))
        try:
            yield
        finally:
            sweeper.cancel()
            await run_in_threadpool(queue.close)

    app = FastAPI(title="mien", version=__version__, description=__doc__ or "", docs_url=None, redoc_url=None, lifespan=lifespan)  # fmt: skip
    app.state.queue, app.state.local, app.state.live = queue, local, None
    app.include_router(router)
    app.include_router(camera.router)
    page(app, "/docs", STATIC / "api.html")
    page(app, "/plotly.js", PLOTLY)
    app.mount("/", StaticFiles(directory=STATIC, html=True))
    app.add_middleware(Guard, local=local)
    return app


def page(app: FastAPI, route: str, file: Path) -> None:
    """A file at a place of its own."""

    @app.get(route, include_in_schema=False)
    def serve() -> FileResponse:
        return FileResponse(file)


async def expire_results(queue: Queue) -> None:
    """Remove old results, for as long as the server runs."""
    while True:
        await asyncio.sleep(min(queue.limits.keep / 4, 30.0))
        await run_in_threadpool(queue.expire)
