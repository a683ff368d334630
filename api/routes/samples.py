"""Samples: images from the trained generator, by class label."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from api.context import JobsRead, TenantContext
from api.http.headers import VARY, matches, negotiate, not_modified
from api.openapi import files, headers, problems
from api.samples.request import FORMATS, LAST_SEED, MOST_PER_LABEL, SamplePlan, make_plan
from api.schemas.datasets import ClassView
from api.schemas.samples import Manifest
from gan.spec import DatasetClass
from jobs.models import Checkpoint
from jobs.store import checkpoints, jobs

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["samples"])

_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {**files(*FORMATS), "application/json": {}},
        "headers": headers("Content-Location", "X-Checkpoint-Id"),
    },
    **problems(409, 500),
}
_CHECKPOINT: Final = re.compile(r"best|last|ckpt_.{1,60}")


def _checkpoint_name(text: str) -> str:
    if not _CHECKPOINT.fullmatch(text):
        raise PydanticCustomError("string_pattern_mismatch", "the value must be best, last or the id of a checkpoint")
    return text


@router.get("/classes")
def list_classes(context: JobsRead, job_id: str) -> list[ClassView]:
    """List the classes that the job's generator draws; the list is empty for an unconditional generator."""
    with context.read() as s:
        jobs.require_exists(s, job_id)
    return [ClassView(id=c.id, label=c.label) for c in context.classes(job_id)]


@router.get("/samples", response_model=Manifest, responses=_RESPONSES)
async def draw_samples(
    request: Request,
    context: JobsRead,
    job_id: str,
    label: Annotated[
        list[str] | None,
        Query(
            description="The name of a class, or the id of a class if no class has this name; repeat it for several "
            "classes. Default: all classes."
        ),
    ] = None,
    n: Annotated[
        int, Query(ge=1, le=MOST_PER_LABEL, description="The number of images of each class; 1024 in total at most.")
    ] = 8,
    seed: Annotated[int, Query(ge=0, le=LAST_SEED, description="Image i of each class is drawn from seed + i.")] = 0,
    checkpoint: Annotated[
        Annotated[str, AfterValidator(_checkpoint_name)] | None,
        Query(
            description="best, last or the id of a checkpoint. Default: the best one, or else the last one.",
            json_schema_extra={"pattern": r"^(best|last|ckpt_[0-9A-Za-z]{1,60})$"},
        ),
    ] = None,
    truncation: Annotated[
        float,
        Query(gt=0, le=1, allow_inf_nan=False, description="A factor for z: smaller values give less varied images."),
    ] = 1.0,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Draw images, as a grid with one row per class (image/png), as a zip, as an array, or only their manifest.

    `Accept` chooses. application/octet-stream is the grid, too, for clients that know no other type of binary data.
    """
    media = negotiate(accept, list(FORMATS))
    plan_for = partial(make_plan, label or (), n=n, seed=seed, truncation=truncation)
    found = await run_in_threadpool(_look_up, context, job_id, checkpoint, plan_for, FORMATS[media], if_none_match)
    headers = _headers(request, found.row, named=checkpoint == found.row.id)
    if found.not_modified:
        return not_modified(found.etag, **headers)
    background = None
    if (content := found.content) is None:
        content = await context.sampler.draw(found.sampler_request)
        background = BackgroundTask(context.sample_cache.put, job_id, found.etag, content)
    return Response(content, media_type=media, headers={"ETag": found.etag, **headers}, background=background)


@dataclass(frozen=True)
class _SampleSource:
    """The checkpoint and the plan of a request for samples, and the response if it needs no drawing."""

    row: Checkpoint
    plan: SamplePlan
    format: str
    etag: str
    not_modified: bool
    """True if the caller has the current response already."""
    content: bytes | None = None
    """None if the sampler must draw it."""

    @property
    def sampler_request(self) -> dict[str, Any]:
        """The body of the request to the sampler."""
        return self.plan.sampler_request(self.row.id, self.format, self.manifest if self.format == "zip" else None)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the images."""
        return self.plan.manifest(self.row.job_id, self.row.id, self.row.step)


def _look_up(
    context: TenantContext,
    job_id: str,
    checkpoint: str | None,
    plan_for: Callable[[Sequence[DatasetClass]], SamplePlan],
    format: str,
    if_none_match: str | None,
) -> _SampleSource:
    """Read the checkpoint, make the plan, and look in the cache; all in one call, because it runs in a thread."""
    with context.read() as s:
        jobs.require_exists(s, job_id)
        row = checkpoints.choose(s, job_id, checkpoint)
    plan = plan_for(context.classes(job_id))
    etag = plan.etag(row.id, format)
    found = _SampleSource(row, plan, format, etag, not_modified=matches(if_none_match, etag))
    if found.not_modified:
        return found
    if format == "json":
        return replace(found, content=found.manifest.model_dump_json().encode())
    return replace(found, content=context.sample_cache.get(job_id, etag))


def _headers(request: Request, row: Checkpoint, *, named: bool) -> dict[str, str]:
    """Return the headers; the response is immutable only if the request names the checkpoint by its id."""
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "checkpoint"]
    return {
        "Cache-Control": "private, max-age=31536000, immutable" if named else "private, no-cache",
        "Content-Location": f"{request.scope['path']}?{urlencode([*query, ('checkpoint', row.id)])}",
        "X-Checkpoint-Id": row.id,
        **VARY,
    }
