"""Saved states of a job: listed, asked for, downloaded whole or in ranges."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Header, Query, Response
from starlette.concurrency import run_in_threadpool

from api import views
from api.context import JobsRead, JobsWrite, TenantContext
from api.http.bodies import NoBody
from api.http.errors import BadParametersError
from api.http.files import StoredFileResponse
from api.http.headers import matches, not_modified
from api.http.parameters import PageOf
from api.openapi import problems
from api.schemas import CheckpointView, JobView, Listed
from gan.spec import SpecProblem
from jobs.models import Checkpoint
from jobs.storage import keys
from jobs.store import checkpoints, jobs

router = APIRouter(prefix="/v1", tags=["checkpoints"])

_FORMATS: Final = {"generator": ("safetensors", "onnx"), "full": ("pt",)}
"""What each part comes in; the first is the default. A generator is G_ema's weights with their spec."""

# A checkpoint's bytes never change under its id.
_FOR_EVER: Final = "private, max-age=31536000, immutable"


@router.get("/jobs/{job_id}/checkpoints")
def list_checkpoints(context: JobsRead, job_id: str, page: PageOf) -> Listed[CheckpointView]:
    """Those that can be had, newest first."""
    with context.read() as s:
        jobs.get(s, job_id)
        newest = checkpoints.newest_ready(s, job_id)
        rows = checkpoints.page(s, job_id, limit=page.limit, cursor=page.cursor)
    last_id = newest.id if newest else None
    return views.listed(rows, lambda row: views.checkpoint(row, last_id))


@router.post("/jobs/{job_id}/checkpoints", status_code=202, dependencies=[NoBody])
def save_checkpoint(context: JobsWrite, job_id: str, response: Response) -> JobView:
    """Ask the running trainer to save one now; it is in the list within seconds."""
    with context.write() as s:
        view = views.job_view(s, jobs.request_checkpoint(s, job_id), context.settings.lease_seconds)
    response.headers["Location"] = view.links.checkpoints
    return view


@router.get(
    "/checkpoints/{checkpoint_id}/content",
    response_class=StoredFileResponse,
    responses={200: {"content": {"application/octet-stream": {}}}, **problems(500, 501)},
)
async def download(
    context: JobsRead,
    checkpoint_id: str,
    part: Annotated[
        Literal["generator", "full"], Query(description="generator: to draw from. full: all that is needed to go on.")
    ] = "generator",
    format: Annotated[
        Literal["safetensors", "onnx", "pt"] | None,
        Query(description="generator: safetensors (default) or onnx. full: pt, for torch.load(weights_only=True)."),
    ] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The file. ETag is its sha256; Range is honoured."""
    form = _form(part, format)
    row = await run_in_threadpool(_row, context, checkpoint_id)
    key, sha256 = await (_onnx(context, row) if form == "onnx" else run_in_threadpool(_stored, context, row, part))
    headers = {"ETag": f'"{sha256}"', "Cache-Control": _FOR_EVER}
    if matches(if_none_match, headers["ETag"]):
        return not_modified(**{"etag": headers["ETag"], "Cache-Control": _FOR_EVER})
    name = f"{row.job_id}-step-{row.step}-{part}.{form}"
    return StoredFileResponse(
        context.artifacts, key, media_type="application/octet-stream", filename=name, headers=headers
    )


def _form(part: str, format: str | None) -> str:
    known = _FORMATS[part]
    if format is not None and format not in known:
        detail = f"part={part} comes as {' or '.join(known)}, not as {format}."
        raise BadParametersError([SpecProblem(pointer="/format", code="not-one-of", detail=detail)])
    return format or known[0]


def _row(context: TenantContext, checkpoint_id: str) -> Checkpoint:
    with context.read() as s:
        return checkpoints.get(s, checkpoint_id)


def _stored(context: TenantContext, row: Checkpoint, part: str) -> tuple[str, str]:
    file = (row.key, row.bytes, row.sha256)
    if part == "generator":
        file = (row.weights_key, row.weights_bytes, row.weights_sha256)
    context.artifacts.verify(*file)
    return file[0], file[2]


async def _onnx(context: TenantContext, row: Checkpoint) -> tuple[str, str]:
    """Return the key and sha256 of the export; the sampler stores it beside the weights, once."""
    key = keys.onnx(row.weights_key)
    if not await run_in_threadpool(context.artifacts.exists, key):
        await context.sampler.export(row.id, "onnx")
    return key, (await run_in_threadpool(context.artifacts.describe, key)).sha256
