"""Submit, list, read, cancel, pause, resume, retry, delete."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from api import openapi, views
from api.admission import require_a_device_for
from api.auth import REMEMBERED_SECONDS
from api.context import JobsRead, JobsWrite, TenantContext
from api.http.bodies import JsonObject, NoBody, PerhapsObject
from api.http.errors import BadParametersError
from api.http.headers import etag_of, matches, not_modified, wait_seconds
from api.http.parameters import PageOf, split
from api.idempotency import Idempotent, IdempotentRequest, StoredResponse
from api.schemas import DryRun, Estimate, JobView, Listed
from gan.spec import (
    PRESETS,
    UNSEEN,
    DatasetInfo,
    SpecError,
    SpecProblem,
    TrainSpec,
    UnknownPresetError,
    check_against,
    pointer_to,
    resolve,
)
from jobs import ids
from jobs.db import Session
from jobs.errors import DatasetNotFoundError, InvalidKeyError, UnavailableError, UnknownDatasetError
from jobs.models import Dataset, Job
from jobs.runtime import failpoints
from jobs.status import Status
from jobs.store import datasets, jobs, queue, retries

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

# A place in the queue and a heartbeat change without an event.
_LOOK_AGAIN_SECONDS: Final = 3.0
_MOST_LABELS: Final = 16
_LABEL: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.\-]{0,62}):(.{0,200})")
_LABEL_FORM: Final[dict[str, Any]] = {"pattern": f"^[A-Za-z0-9][A-Za-z0-9_.\\-]{{0,62}}:[^{UNSEEN}]{{0,200}}$"}
_STATUS_FORM: Final[dict[str, Any]] = {"pattern": "^({0})(,({0}))*$".format("|".join(Status))}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/TrainSpec"}}},
    }
}
_LAST: Final = "last"
_SCRATCH: Final = "scratch"
_FROM: Final[dict[str, Any]] = {
    "description": "The newest checkpoint that can be read, with all that led up to it; or the first step.",
    "enum": [_LAST, _SCRATCH],
    "default": _LAST,
}
_RETRY: Final[dict[str, Any]] = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"from": _FROM}, "additionalProperties": False}
            }
        }
    }
}


@router.post(
    "",
    status_code=201,
    response_model=JobView,
    openapi_extra=_BODY,
    responses={200: {"model": DryRun}, **openapi.problems(409)},
)
async def submit(
    context: JobsWrite,
    body: JsonObject,
    once: Idempotent,
    dry_run: Annotated[bool, Query(description="Store nothing: the resolved spec and what it would take.")] = False,
) -> Response:
    """Store a job and the hint that wakes a worker, in one transaction; `preset` fills what is left out."""
    spec = resolve(body)
    if dry_run:
        spec, info = await run_in_threadpool(_with_dataset, context, spec)
        estimate = Estimate(**await context.sampler.estimate(spec, info))
        return _json(DryRun(spec=spec, estimate=estimate).model_dump_json().encode())
    await require_a_device_for(context, spec)
    answer = await run_in_threadpool(_create, context, spec, once, body)
    return answer.response()


@router.get("")
def list_jobs(
    context: JobsRead,
    page: PageOf,
    status: Annotated[
        str | None, Query(description="Of these statuses, separated by commas.", json_schema_extra=_STATUS_FORM)
    ] = None,
    dataset: Annotated[str | None, Query(max_length=200, description="On this data set, by name or id.")] = None,
    preset: Annotated[str | None, Query(max_length=200, description="From this preset.")] = None,
    label: Annotated[
        list[Annotated[str, Field(json_schema_extra=_LABEL_FORM)]] | None,
        Query(max_length=_MOST_LABELS, description="With this label, as key:value; all of them."),
    ] = None,
) -> Listed[JobView]:
    """The jobs that pass every filter, newest first."""
    statuses, labels = [_status(word) for word in split(status, "status")], [_label(text) for text in label or ()]
    if preset is not None and preset not in PRESETS:
        raise UnknownPresetError(preset)
    with context.read() as s:
        name = None if dataset is None else _known(s, dataset, datasets.get).name
        rows = jobs.page(
            s,
            limit=page.limit,
            cursor=page.cursor,
            statuses=statuses,
            dataset=name,
            preset=preset,
            labels=labels,
        )
        data = views.job_views(s, rows.data, context.settings.lease_seconds)
    return Listed(data=data, has_more=rows.next_cursor is not None, next_cursor=rows.next_cursor)


@router.get("/{job_id}", response_model=JobView)
async def get_job(
    request: Request,
    context: JobsRead,
    job_id: str,
    if_none_match: Annotated[str | None, Header(description="The ETag you hold: 304 while nothing changed.")] = None,
    prefer: Annotated[
        str | None, Header(description="wait=N: with If-None-Match, hold the answer up to N (60 at most) seconds.")
    ] = None,
) -> Response:
    """One job."""
    seconds = wait_seconds(prefer) if if_none_match is not None else None
    applied = {} if seconds is None else {"Preference-Applied": f"wait={seconds}"}
    began = time.monotonic()
    until = began + (seconds or 0)
    while True:
        job = await context.job(job_id)
        # An answer that was waited for may outlast the key that asked.
        if time.monotonic() - began >= REMEMBERED_SECONDS and not await context.is_still_open():
            raise InvalidKeyError
        if not matches(if_none_match, job.etag):
            return _json(job.content, {"ETag": job.etag, **applied})
        left = until - time.monotonic()
        if job.ended or left <= 0 or context.event_hub.closed or await request.is_disconnected():
            return not_modified(job.etag, **applied)
        await context.event_hub.changed(job_id, job.seq, min(left, _LOOK_AGAIN_SECONDS))


@router.post("/{job_id}/cancel", response_model=JobView, dependencies=[NoBody])
def cancel(context: JobsWrite, job_id: str) -> Response:
    """Queued: cancelled at once. Running: saves a checkpoint and stops within seconds. Asked again: the same."""
    with context.write() as s:
        content = _content(context, s, jobs.request_cancel(s, job_id))
    return _json(content, {"ETag": etag_of(content)})


@router.post("/{job_id}/pause", response_model=JobView, dependencies=[NoBody])
def pause(context: JobsWrite, job_id: str) -> Response:
    """Queued: paused at once. Running: saves a checkpoint and gives its device back. Asked again: the same."""
    with context.write() as s:
        content = _content(context, s, jobs.request_pause(s, job_id))
    return _json(content, {"ETag": etag_of(content)})


@router.post("/{job_id}/resume", response_model=JobView, dependencies=[NoBody])
def resume(context: JobsWrite, job_id: str) -> Response:
    """Paused: queued, to go on from its checkpoint. To be paused: it goes on. Asked again: the same."""
    with context.write() as s:
        content = _content(context, s, jobs.resume(s, job_id))
    return _json(content, {"ETag": etag_of(content)})


@router.post("/{job_id}/retry", status_code=201, response_model=JobView, openapi_extra=_RETRY)
def retry(context: JobsWrite, job_id: str, body: PerhapsObject, once: Idempotent) -> Response:
    """Failed or cancelled: a new job of the same spec goes on from its last good checkpoint, or from scratch."""
    return _retry(context, job_id, once, body, scratch=_from_scratch(body)).response()


@router.delete("/{job_id}", status_code=204, dependencies=[NoBody])
def delete(context: JobsWrite, job_id: str) -> Response:
    """Remove an ended job's record and files."""
    with context.write() as s:
        jobs.delete(s, job_id)
    # After the commit: files without a record are swept up, a record without files is a lie.
    context.artifacts.delete_prefix(job_id)
    context.answers.drop(job_id)
    return Response(status_code=204)


def _json(content: bytes, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    return Response(content, status_code=status, media_type="application/json", headers=dict(headers or {}))


def _content(context: TenantContext, s: Session, row: Job) -> bytes:
    return views.job_view(s, row, context.settings.lease_seconds).model_dump_json().encode()


def _create(
    context: TenantContext, spec: TrainSpec, once: IdempotentRequest, body: Mapping[str, Any]
) -> StoredResponse:
    return _accept(context, once, body, lambda s: jobs.create(s, *_settle(s, spec)))


def _retry(
    context: TenantContext, job_id: str, once: IdempotentRequest, body: Mapping[str, Any], *, scratch: bool
) -> StoredResponse:
    """The files that the new job takes over become its own before its record is written."""
    with context.read() as s:
        if (before := once.answered(s, body)) is not None:
            return before
        left = retries.RetrySource() if scratch else retries.find_source(s, job_id)
    new_id = ids.new_id("job")
    try:
        inherited = retries.copy_files(context.artifacts, left, new_id)
        answer = _accept(context, once, body, lambda s: retries.create(s, job_id, new_id, inherited))
    except UnavailableError:
        # It may have been stored all the same: if it was not, the sweeper drops the files.
        raise
    except Exception:
        context.artifacts.delete_prefix(new_id)
        raise
    if answer.replayed:
        context.artifacts.delete_prefix(new_id)
    return answer


def _accept(
    context: TenantContext, once: IdempotentRequest, body: Mapping[str, Any], create: Callable[[Session], Job]
) -> StoredResponse:
    """Store a new job, and what the request for it was answered with."""

    def created() -> StoredResponse:
        queue.require_room(s, context.settings.queue_limit)
        job = create(s)
        content = _content(context, s, job)
        return StoredResponse(201, content, {"ETag": etag_of(content), "Location": f"/v1/jobs/{job.id}"})

    with context.write() as s:
        answer = once.carry_out(s, body, created)
        failpoints.passed("accept.before_commit")
    failpoints.passed("accept.committed")
    return answer


def _from_scratch(body: Mapping[str, Any]) -> bool:
    """Raises `SpecError`."""
    detail = "A retry takes one field, from: 'last' or 'scratch'."
    problems = [
        SpecProblem(pointer=pointer_to([key]), code="unknown-field", detail=detail) for key in body if key != "from"
    ]
    if body.get("from", _LAST) not in (_LAST, _SCRATCH):
        problems.append(SpecProblem(pointer="/from", code="not-one-of", detail=detail))
    if problems:
        raise SpecError(problems)
    return body.get("from") == _SCRATCH


def _with_dataset(context: TenantContext, spec: TrainSpec) -> tuple[TrainSpec, DatasetInfo]:
    with context.read() as s:
        spec, info = _settle(s, spec)
    check_against(spec, info)
    return spec, info


def _settle(s: Session, spec: TrainSpec) -> tuple[TrainSpec, DatasetInfo]:
    """The spec with its data set by name, and what that is; it stays while the job is being stored."""
    row = _known(s, spec.dataset, datasets.lock_ready)
    return spec.model_copy(update={"dataset": row.name}), datasets.info(row)


def _known(s: Session, name_or_id: str, find: Callable[[Session, str], Dataset]) -> Dataset:
    """Raises `UnknownDatasetError`, and what else `find` raises."""
    try:
        return find(s, name_or_id)
    except DatasetNotFoundError:
        raise UnknownDatasetError(name_or_id, datasets.names(s)) from None


def _status(word: str) -> Status:
    if word not in list(Status):
        detail = f"There is no status {word[:200]!r}; take some of: {', '.join(Status)}."
        raise BadParametersError([SpecProblem(pointer="/status", code="not-one-of", detail=detail)])
    return Status(word)


def _label(text: str) -> tuple[str, str]:
    found = _LABEL.fullmatch(text)
    if found is None:
        detail = f"label takes key:value, such as team:vision; {text[:200]!r} is not that."
        raise BadParametersError([SpecProblem(pointer="/label", code="bad-format", detail=detail)])
    return found[1], found[2]
