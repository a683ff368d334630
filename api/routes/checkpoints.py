"""Checkpoints: list them, save one, download them whole or in ranges."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Header, Query, Response
from starlette.concurrency import run_in_threadpool

from api.context import JobsRead, JobsWrite, TenantContext
from api.http.bodies import NoBody
from api.http.errors import BadParametersError
from api.http.files import StoredFileResponse
from api.http.headers import matches, not_modified
from api.http.parameters import Fields, PageOf, fields_of
from api.openapi import files, problems
from api.schemas.base import Listed
from api.schemas.jobs import JobView
from api.schemas.progress import CheckpointView
from api.views.base import list_view
from api.views.jobs import job_view
from api.views.progress import checkpoint_view
from gan.spec import SpecProblem
from jobs.models import Checkpoint
from jobs.storage import keys
from jobs.store import checkpoints, jobs

router = APIRouter(prefix="/v1", tags=["checkpoints"])

_FORMATS: Final = {"generator": ("safetensors", "onnx"), "full": ("pt",)}
"""The formats of each part; the first is the default. A generator is the weights of G_ema with their spec."""

# The bytes of a checkpoint never change.
_IMMUTABLE: Final = "private, max-age=31536000, immutable"


@router.get("/jobs/{job_id}/checkpoints", response_model=Listed[CheckpointView])
def list_checkpoints(
    context: JobsRead, job_id: str, page: PageOf, fields: Annotated[Fields, fields_of(CheckpointView)]
) -> Response:
    """List the checkpoints that can be downloaded, newest first."""
    with context.read() as s:
        jobs.get(s, job_id)
        newest = checkpoints.newest_ready(s, job_id)
        rows = checkpoints.page(s, job_id, limit=page.limit, cursor=page.cursor)
    last_id = newest.id if newest else None
    return list_view(rows, lambda row: checkpoint_view(row, last_id), fields)


@router.post("/jobs/{job_id}/checkpoints", status_code=202, dependencies=[NoBody])
def save_checkpoint(context: JobsWrite, job_id: str, response: Response) -> JobView:
    """Ask the running trainer to save a checkpoint now. It is in the list within seconds."""
    with context.write() as s:
        view = job_view(s, jobs.request_checkpoint(s, job_id), context.settings.lease_seconds)
    response.headers["Location"] = view.links.checkpoints
    return view


@router.get(
    "/checkpoints/{checkpoint_id}/content",
    response_class=StoredFileResponse,
    responses={200: {"content": files("application/octet-stream")}, **problems(500, 501)},
)
async def download_checkpoint(
    context: JobsRead,
    checkpoint_id: str,
    part: Annotated[
        Literal["generator", "full"],
        Query(description="generator: the weights of G_ema, to draw images. full: everything, to continue training."),
    ] = "generator",
    format: Annotated[
        Literal["safetensors", "onnx", "pt"] | None,
        Query(description="generator: safetensors (default) or onnx. full: pt, for torch.load(weights_only=True)."),
    ] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Download the file of a checkpoint, whole or in ranges. Its ETag is its sha256."""
    file_format = _format(part, format)
    row = await run_in_threadpool(_row, context, checkpoint_id)
    if file_format == "onnx":
        key, sha256 = await _onnx_file(context, row)
    else:
        key, sha256 = await run_in_threadpool(_stored_file, context, row, part)
    headers = {"ETag": f'"{sha256}"', "Cache-Control": _IMMUTABLE}
    if matches(if_none_match, headers["ETag"]):
        return not_modified(**{"etag": headers["ETag"], "Cache-Control": _IMMUTABLE})
    name = f"{row.job_id}-step-{row.step}-{part}.{file_format}"
    return StoredFileResponse(
        context.artifacts, key, media_type="application/octet-stream", filename=name, headers=headers
    )


def _format(part: str, format: str | None) -> str:
    known = _FORMATS[part]
    if format is not None and format not in known:
        detail = f"part={part} is available as {' or '.join(known)}, not as {format}."
        raise BadParametersError([SpecProblem(pointer="/format", code="not-one-of", detail=detail)])
    return format or known[0]


def _row(context: TenantContext, checkpoint_id: str) -> Checkpoint:
    with context.read() as s:
        return checkpoints.get(s, checkpoint_id)


def _stored_file(context: TenantContext, row: Checkpoint, part: str) -> tuple[str, str]:
    """Return the key and the sha256 of a part. Raises `ArtifactLostError`."""
    file = (row.key, row.bytes, row.sha256)
    if part == "generator":
        file = (row.weights_key, row.weights_bytes, row.weights_sha256)
    context.artifacts.verify(*file)
    return file[0], file[2]


async def _onnx_file(context: TenantContext, row: Checkpoint) -> tuple[str, str]:
    """Return the key and the sha256 of the ONNX file. If it is missing, the sampler stores it beside the weights."""
    key = keys.onnx(row.weights_key)
    if not await run_in_threadpool(context.artifacts.exists, key):
        await context.sampler.export(row.id, "onnx")
    return key, (await run_in_threadpool(context.artifacts.describe, key)).sha256
