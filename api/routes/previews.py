"""Previews: images that are drawn from fixed latents during training, as one picture per step or as an animation."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, Response
from starlette.convertors import IntegerConvertor, register_url_convertor

from api.context import JobsRead
from api.http.errors import NoPreviewError
from api.http.files import StoredFileResponse
from api.http.headers import etag_of, matches, not_modified
from api.openapi import files, problems
from api.samples import plots
from api.schemas.progress import PreviewView
from api.views.progress import preview_view
from jobs.status import TERMINAL, Status
from jobs.store import jobs, previews

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["progress"])

# A later attempt may draw a step again: clients must ask each time, and get 304.
_REVALIDATE: Final = "private, no-cache"
_ANIMATION_VERSION: Final = "1"


class _StepConvertor(IntegerConvertor):
    """A step in a path, with at most 16 digits: int() refuses numbers of thousands of digits."""

    regex = "[0-9]{1,16}"


register_url_convertor("step", _StepConvertor())


@router.get("/previews")
def list_previews(context: JobsRead, job_id: str) -> list[PreviewView]:
    """List all previews in order of step; the first is drawn before the first step."""
    with context.read() as s:
        jobs.get(s, job_id)
        return [preview_view(row) for row in previews.listing(s, job_id)]


@router.get(
    "/previews/{step:step}.png",
    response_class=StoredFileResponse,
    responses={200: {"content": files("image/png")}, **problems(500)},
)
def get_preview(
    context: JobsRead, job_id: str, step: int, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Return the preview of one step."""
    with context.read() as s:
        jobs.get(s, job_id)
        row = previews.get(s, job_id, step)
    etag = f'"{row.sha256}"'
    if matches(if_none_match, etag):
        return not_modified(etag, **{"Cache-Control": _REVALIDATE})
    context.artifacts.verify(row.key, row.bytes, row.sha256)
    return StoredFileResponse(
        context.artifacts, row.key, media_type="image/png", headers={"ETag": etag, "Cache-Control": _REVALIDATE}
    )


@router.get(
    "/previews.gif",
    response_class=Response,
    responses={200: {"content": files("image/gif")}, **problems(409, 500)},
)
def get_preview_animation(
    context: JobsRead, job_id: str, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Return the previews as an endless animation; of more than 120 previews it shows 120, evenly spread."""
    with context.read() as s:
        job = jobs.get(s, job_id)
        rows = plots.evenly(previews.listing(s, job_id))
    if not rows:
        raise NoPreviewError(_no_preview(Status(job.status)))
    etag, headers = etag_of(_ANIMATION_VERSION, *(row.sha256 for row in rows)), {"Cache-Control": _REVALIDATE}
    if matches(if_none_match, etag):
        return not_modified(etag, **headers)
    animation = plots.animate((context.artifacts.read_bytes(row.key) for row in rows), len(rows))
    return Response(animation, media_type="image/gif", headers={"ETag": etag, **headers})


def _no_preview(status: Status) -> str:
    if status in TERMINAL:
        return f"The job is {status} and has no preview, because it ended before the first one was drawn."
    return f"The job is {status} and has no preview yet. The first one is drawn before the first step."
