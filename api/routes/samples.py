"""Images from the trained generator, by class label."""

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
from api.openapi import headers, problems
from api.samples.request import FORMATS, LAST_SEED, MOST_A_LABEL, SamplePlan, make_plan
from api.schemas import ClassView, Manifest
from gan.spec import DatasetClass
from jobs.models import Checkpoint
from jobs.store import checkpoints, jobs

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
def list_classes(context: JobsRead, job_id: str) -> list[ClassView]:
    """The classes that the job's generator draws; none when it is unconditional."""
    with context.read() as s:
        jobs.require_exists(s, job_id)
    return [ClassView(id=c.id, label=c.label) for c in context.classes(job_id)]


@router.get("/samples", response_model=Manifest, responses=_ANSWERS)
async def draw(
    request: Request,
    context: JobsRead,
    job_id: str,
    label: Annotated[
        list[str] | None, Query(description="A class, by name or id; may be repeated. None: every class.")
    ] = None,
    n: Annotated[int, Query(ge=1, le=MOST_A_LABEL, description="Images of each label; 1024 in all.")] = 8,
    seed: Annotated[int, Query(ge=0, le=LAST_SEED, description="Image i of a label is drawn from seed + i.")] = 0,
    checkpoint: Annotated[
        Annotated[str, AfterValidator(_checkpoint_name)] | None,
        Query(
            description="best, last or an id; none: the best, else the last.",
            json_schema_extra={"pattern": r"^(best|last|ckpt_[0-9A-Za-z]{1,60})$"},
        ),
    ] = None,
    truncation: Annotated[
        float, Query(gt=0, le=1, allow_inf_nan=False, description="z is scaled by it: less is more alike.")
    ] = 1.0,
    accept: Annotated[str | None, Header(description=f"One of {', '.join(FORMATS)}.")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """A grid, a row a label (image/png); or a zip of images, or an array, or the manifest alone."""
    media = negotiate(accept, list(FORMATS))
    wish = partial(make_plan, label or (), n=n, seed=seed, truncation=truncation)
    found = await run_in_threadpool(_look_up, context, job_id, checkpoint, wish, FORMATS[media], if_none_match)
    sent = _headers(request, found.row, named=checkpoint == found.row.id)
    if found.held:
        return not_modified(found.etag, **sent)
    later = None
    if (content := found.content) is None:
        content = await context.sampler.draw(found.order)
        later = BackgroundTask(context.answers.put, job_id, found.etag, content)
    return Response(content, media_type=media, headers={"ETag": found.etag, **sent}, background=later)


@dataclass(frozen=True)
class _SampleSource:
    """What a request for samples comes to, before anything is drawn."""

    row: Checkpoint
    plan: SamplePlan
    format: str
    etag: str
    held: bool
    """By the caller, who need not be sent it."""
    content: bytes | None = None
    """None: it must be drawn."""

    @property
    def order(self) -> dict[str, Any]:
        return self.plan.order(self.row.id, self.format, self.manifest if self.format == "zip" else None)

    @property
    def manifest(self) -> Manifest:
        return self.plan.manifest(self.row.job_id, self.row.id, self.row.step)


def _look_up(
    context: TenantContext,
    job_id: str,
    which: str | None,
    wish: Callable[[Sequence[DatasetClass]], SamplePlan],
    format: str,
    if_none_match: str | None,
) -> _SampleSource:
    """In one go, as it is all in a thread of its own: the record, the plan, and the answer where there is one."""
    with context.read() as s:
        jobs.require_exists(s, job_id)
        row = checkpoints.choose(s, job_id, which)
    plan = wish(context.classes(job_id))
    etag = plan.etag(row.id, format)
    found = _SampleSource(row, plan, format, etag, held=matches(if_none_match, etag))
    if found.held:
        return found
    if format == "json":
        return replace(found, content=found.manifest.model_dump_json().encode())
    return replace(found, content=context.answers.get(job_id, etag))


def _headers(request: Request, row: Checkpoint, *, named: bool) -> dict[str, str]:
    """Only an answer whose address names the checkpoint stays true for ever."""
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "checkpoint"]
    return {
        "Cache-Control": "private, max-age=31536000, immutable" if named else "private, no-cache",
        "Content-Location": f"{request.scope['path']}?{urlencode([*query, ('checkpoint', row.id)])}",
        "X-Checkpoint-Id": row.id,
        **VARY,
    }
