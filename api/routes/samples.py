"""Images from the trained generator, by class label."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from api.headers import VARY, matches, negotiate, not_modified
from api.openapi import headers, problems
from api.samples import FORMATS, LAST_SEED, MOST_A_LABEL, Plan, make_plan
from api.schemas import ClassView, Manifest
from api.services import Hall, Services
from gan.spec import DatasetClass, from_record
from jobs.db import Session
from jobs.models import Checkpoint, Job
from jobs.store import checkpoints, datasets, jobs

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["samples"])

_FROM: Final = headers("Content-Location", "X-Checkpoint-Id")
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {media: {} for media in FORMATS}, "headers": _FROM},
    **problems(409, 500),
}
_CHECKPOINT: Final = re.compile(r"best|last|ckpt_.{1,60}")


def _checkpoint_name(text: str) -> str:
    if not _CHECKPOINT.fullmatch(text):
        raise PydanticCustomError("string_pattern_mismatch", "take best, last or the id of a checkpoint")
    return text


@router.get("/classes")
def list_classes(hall: Hall, job_id: str) -> list[ClassView]:
    """The classes that the job's generator draws; none when it is unconditional."""
    with hall.db.read() as s:
        return [ClassView(id=c.id, label=c.label) for c in _classes(s, jobs.get(s, job_id))]


@router.get("/samples", response_model=Manifest, responses=_ANSWERS)
async def draw(
    request: Request,
    hall: Hall,
    job_id: str,
    label: Annotated[
        list[str] | None, Query(description="A class, by name or id; may be repeated. None: every class.")
    ] = None,
    n: Annotated[int, Query(ge=1, le=MOST_A_LABEL, description="Images of each label; 1024 in all.")] = 8,
    seed: Annotated[int, Query(ge=0, le=LAST_SEED, description="Image i of a label is drawn from seed + i.")] = 0,
    checkpoint: Annotated[
        Annotated[str, AfterValidator(_checkpoint_name)] | None,
        Query(description="best, last or an id; none: the best, else the last."),
    ] = None,
    truncation: Annotated[
        float, Query(gt=0, le=1, allow_inf_nan=False, description="z is scaled by it: less is more alike.")
    ] = 1.0,
    accept: Annotated[str | None, Header(description=f"One of {', '.join(FORMATS)}.")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """A grid, a row a label (image/png); or a zip of images, or an array, or the manifest alone."""
    media = negotiate(accept, list(FORMATS))
    row, classes = await run_in_threadpool(_look_up, hall, job_id, checkpoint)
    plan = make_plan(label or (), classes, n=n, seed=seed, truncation=truncation)
    etag, sent = plan.etag(row.id, FORMATS[media]), _headers(request, row, named=checkpoint == row.id)
    if matches(if_none_match, etag):
        return not_modified(etag, **sent)
    content, later = await _content(hall, plan, row, FORMATS[media], etag)
    return Response(content, media_type=media, headers={"ETag": etag, **sent}, background=later)


def _look_up(hall: Services, job_id: str, which: str | None) -> tuple[Checkpoint, tuple[DatasetClass, ...]]:
    with hall.db.read() as s:
        job = jobs.get(s, job_id)
        return checkpoints.choose(s, job_id, which), _classes(s, job)


def _classes(s: Session, job: Job) -> tuple[DatasetClass, ...]:
    if not from_record(job.spec).conditional:
        return ()
    return datasets.info(datasets.get(s, job.dataset)).classes


async def _content(
    hall: Services, plan: Plan, row: Checkpoint, format: str, etag: str
) -> tuple[bytes, BackgroundTask | None]:
    """The body, and what is to be done once it is sent."""
    if format != "json" and (kept := await run_in_threadpool(hall.answers.get, row.job_id, etag)) is not None:
        return kept, None
    manifest = plan.manifest(row.job_id, row.id, row.step)
    if format == "json":
        return manifest.model_dump_json().encode(), None
    drawn = await hall.sampler.draw(plan.order(row.id, format, manifest))
    return drawn, BackgroundTask(hall.answers.put, row.job_id, etag, drawn)


def _headers(request: Request, row: Checkpoint, *, named: bool) -> dict[str, str]:
    """Only an answer whose address names the checkpoint stays true for ever."""
    here = request.url.include_query_params(checkpoint=row.id)
    return {
        "Cache-Control": "private, max-age=31536000, immutable" if named else "private, no-cache",
        "Content-Location": f"{here.path}?{here.query}",
        "X-Checkpoint-Id": row.id,
        **VARY,
    }
