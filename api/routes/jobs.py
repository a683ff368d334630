"""Jobs: submit, list, read, cancel, pause, resume, retry, delete."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from api import openapi
from api.admission import require_a_device_for
from api.auth import REMEMBERED_SECONDS
from api.context import JobsRead, JobsWrite, TenantContext
from api.http.bodies import JsonObject, NoBody, OptionalJsonObject
from api.http.errors import BadParametersError
from api.http.headers import etag_of, matches, not_modified, wait_seconds
from api.http.parameters import Fields, PageOf, fields_of, split
from api.idempotency import Idempotent, IdempotentRequest, StoredResponse
from api.schemas.base import Listed
from api.schemas.jobs import DryRun, Estimate, JobView
from api.views.base import list_of
from api.views.jobs import job_view, job_views
from gan.spec import (
    PRESETS,
    UNSEEN,
    DatasetInfo,
    SpecError,
    SpecProblem,
    TrainSpec,
    UnknownPresetError,
    check_against,
    nfc,
    pointer_to,
    resolve,
)
from jobs import ids
from jobs.db import Session
from jobs.errors import DatasetNotFoundError, InvalidKeyError, UnavailableError, UnknownDatasetError
from jobs.models import Dataset, Job
from jobs.runtime import failpoints
from jobs.status import Status
from jobs.store import datasets, jobs, rates, retries

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

# A job's place in the queue and its heartbeat change without an event, so a waiting request reads the job again.
_REREAD_SECONDS: Final = 3.0
_MOST_LABELS: Final = 16
_LABEL: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.\-]{0,62}):(.{0,200})")
_LABEL_PATTERN: Final[dict[str, Any]] = {"pattern": f"^[A-Za-z0-9][A-Za-z0-9_.\\-]{{0,62}}:[^{UNSEEN}]{{0,200}}$"}
_STATUS_PATTERN: Final[dict[str, Any]] = {"pattern": "^({0})(,({0}))*$".format("|".join(Status))}
_LAST: Final = "last"
_SCRATCH: Final = "scratch"
_FROM: Final[dict[str, Any]] = {
    "type": "string",
    "description": "last: continue from the newest readable checkpoint, with its curves. scratch: start at step 0. "
    "Default: last.",
    "enum": [_LAST, _SCRATCH],
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
    openapi_extra=openapi.body_of(TrainSpec),
    responses={200: {"model": DryRun}, **openapi.problems(409)},
)
async def submit_job(
    context: JobsWrite,
    body: JsonObject,
    idempotent: Idempotent,
    dry_run: Annotated[
        bool, Query(description="Create no job; return the complete spec and an estimate of memory, disk and time.")
    ] = False,
) -> Response:
    """Submit a job. Fields that you omit have the values of `preset`."""
    spec = resolve(body)
    if dry_run:
        spec, info = await run_in_threadpool(_with_dataset, context, spec)
        estimate = Estimate(
            **await context.sampler.estimate(spec, info), **await run_in_threadpool(_duration, context, spec)
        )
        return _json(DryRun(spec=spec, estimate=estimate).model_dump_json().encode())
    await require_a_device_for(context, spec)
    stored = await run_in_threadpool(_create, context, spec, idempotent, body)
    return stored.response()


@router.get("", response_model=Listed[JobView])
def list_jobs(
    context: JobsRead,
    page: PageOf,
    fields: Annotated[Fields, fields_of(JobView)],
    status: Annotated[
        str | None,
        Query(
            description="Only jobs with one of these statuses, separated by commas.",
            json_schema_extra=_STATUS_PATTERN,
        ),
    ] = None,
    dataset: Annotated[
        str | None, Query(max_length=200, description="Only jobs on this data set, by name or id.")
    ] = None,
    preset: Annotated[str | None, Query(max_length=200, description="Only jobs with this preset.")] = None,
    label: Annotated[
        list[Annotated[str, Field(json_schema_extra=_LABEL_PATTERN)]] | None,
        Query(
            max_length=_MOST_LABELS, description="Only jobs with this label, as key:value; repeat it for more labels."
        ),
    ] = None,
) -> Response:
    """List the jobs that match all filters, newest first."""
    statuses, labels = [_status(word) for word in split(status, "status")], [_label(text) for text in label or ()]
    if preset is not None and preset not in PRESETS:
        raise UnknownPresetError(preset)
    with context.read() as s:
        name = None if dataset is None else _find_dataset(s, dataset, datasets.get).name
        rows = jobs.page(
            s,
            limit=page.limit,
            cursor=page.cursor,
            statuses=statuses,
            dataset=name,
            preset=preset,
            labels=labels,
        )
        data = job_views(s, rows.data, context.settings.lease_seconds)
    return list_of(data, rows.next_cursor, fields)


@router.get("/{job_id}", response_model=JobView)
async def get_job(
    request: Request,
    context: JobsRead,
    job_id: str,
    if_none_match: Annotated[
        str | None, Header(description="The ETag of your copy: the response is 304 while the job is unchanged.")
    ] = None,
    prefer: Annotated[
        str | None,
        Header(description="wait=N, with If-None-Match: wait up to N seconds (60 at most) for a change of the job."),
    ] = None,
) -> Response:
    """Return one job."""
    seconds = wait_seconds(prefer) if if_none_match is not None else None
    applied = {} if seconds is None else {"Preference-Applied": f"wait={seconds}"}
    started = time.monotonic()
    deadline = started + (seconds or 0)
    while True:
        job = await context.job(job_id)
        # The key may have been revoked during the wait.
        if time.monotonic() - started >= REMEMBERED_SECONDS and not await context.is_still_open():
            raise InvalidKeyError
        if not matches(if_none_match, job.etag):
            return _json(job.content, {"ETag": job.etag, **applied})
        remaining = deadline - time.monotonic()
        if job.ended or remaining <= 0 or context.event_hub.closed or await request.is_disconnected():
            return not_modified(job.etag, **applied)
        await context.event_hub.wait_for_change(job_id, job.seq, min(remaining, _REREAD_SECONDS))


@router.post("/{job_id}/cancel", response_model=JobView, dependencies=[NoBody])
def cancel_job(context: JobsWrite, job_id: str) -> Response:
    """Cancel a job. A running job saves a checkpoint and stops within seconds. A repeated request changes nothing."""
    with context.write() as s:
        content = _content(context, s, jobs.request_cancel(s, job_id))
    return _json(content, {"ETag": etag_of(content)})


@router.post("/{job_id}/pause", response_model=JobView, dependencies=[NoBody])
def pause_job(context: JobsWrite, job_id: str) -> Response:
    """Pause a job. A running job saves a checkpoint and releases its device. A repeated request changes nothing."""
    with context.write() as s:
        content = _content(context, s, jobs.request_pause(s, job_id))
    return _json(content, {"ETag": etag_of(content)})


@router.post("/{job_id}/resume", response_model=JobView, dependencies=[NoBody])
def resume_job(context: JobsWrite, job_id: str) -> Response:
    """Resume a paused job: it is queued, and continues from its checkpoint. A job that is pausing keeps running.

    A repeated request changes nothing.
    """
    with context.write() as s:
        content = _content(context, s, jobs.resume(s, job_id))
    return _json(content, {"ETag": etag_of(content)})


@router.post("/{job_id}/retry", status_code=201, response_model=JobView, openapi_extra=_RETRY)
def retry_job(context: JobsWrite, job_id: str, body: OptionalJsonObject, idempotent: Idempotent) -> Response:
    """Retry a failed or cancelled job as a new one, which starts from its last good checkpoint or from scratch."""
    return _retry(context, job_id, idempotent, body, scratch=_is_from_scratch(body)).response()


@router.delete("/{job_id}", status_code=204, dependencies=[NoBody])
def delete_job(context: JobsWrite, job_id: str) -> Response:
    """Delete an ended job and its files."""
    with context.write() as s:
        jobs.delete(s, job_id)
    # After the commit. The sweeper removes files without a row in the database; a row without files would be wrong.
    context.artifacts.delete_prefix(job_id)
    context.sample_cache.drop(job_id)
    return Response(status_code=204)


def _json(content: bytes, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    return Response(content, status_code=status, media_type="application/json", headers=dict(headers or {}))


def _content(context: TenantContext, s: Session, row: Job) -> bytes:
    return job_view(s, row, context.settings.lease_seconds).model_dump_json().encode()


def _create(
    context: TenantContext, spec: TrainSpec, idempotent: IdempotentRequest, body: Mapping[str, Any]
) -> StoredResponse:
    return _store(context, idempotent, body, lambda s: jobs.create(s, *_lock_dataset(s, spec)))


def _retry(
    context: TenantContext, job_id: str, idempotent: IdempotentRequest, body: Mapping[str, Any], *, scratch: bool
) -> StoredResponse:
    """Copy the files that the new job inherits, then store the new job."""
    with context.read() as s:
        if (earlier := idempotent.stored(s, body)) is not None:
            return earlier
        source = retries.RetrySource() if scratch else retries.find_source(s, job_id)
    new_id = ids.new_id("job")
    try:
        inherited = retries.copy_files(context.artifacts, source, new_id)
        stored = _store(context, idempotent, body, lambda s: retries.create(s, job_id, new_id, inherited))
    except UnavailableError:
        # The commit may have succeeded, so keep the files. If it did not, the sweeper removes them.
        raise
    except Exception:
        context.artifacts.delete_prefix(new_id)
        raise
    if stored.replayed:
        context.artifacts.delete_prefix(new_id)
    return stored


def _store(
    context: TenantContext, idempotent: IdempotentRequest, body: Mapping[str, Any], create: Callable[[Session], Job]
) -> StoredResponse:
    """Store a new job, the message that wakes a worker, and the response to the request, in one transaction."""

    def create_job() -> StoredResponse:
        context.queue_limit.admit(s)
        job = create(s)
        content = _content(context, s, job)
        return StoredResponse(201, content, {"ETag": etag_of(content), "Location": f"/v1/jobs/{job.id}"})

    with context.write() as s:
        stored = idempotent.carry_out(s, body, create_job)
        failpoints.passed("accept.before_commit")
    failpoints.passed("accept.committed")
    return stored


def _is_from_scratch(body: Mapping[str, Any]) -> bool:
    """Return whether the body of a retry asks to start from scratch. Raises `SpecError`."""
    detail = "A retry has one optional field: from, with the value 'last' or 'scratch'."
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
        spec, info = _lock_dataset(s, spec)
    check_against(spec, info)
    return spec, info


def _duration(context: TenantContext, spec: TrainSpec) -> dict[str, Any]:
    """Return the duration that the rates of all workers promise, as fields of an estimate; none without a rate."""
    with context.services.db.read() as s:
        rate = rates.newest_like(s, spec, context.caller.tenant)
    if rate is None:
        return {}
    seconds = spec.total_steps * spec.images_per_step / rate.images_per_second
    return {"seconds": round(seconds), "images_per_second": round(rate.images_per_second, 1), "device": rate.device}


def _lock_dataset(s: Session, spec: TrainSpec) -> tuple[TrainSpec, DatasetInfo]:
    """Return the spec with the name of its data set, and the data set, which is not deleted before the commit."""
    row = _find_dataset(s, spec.dataset, datasets.lock_ready)
    return spec.model_copy(update={"dataset": row.name}), datasets.info(row)


def _find_dataset(s: Session, name_or_id: str, find: Callable[[Session, str], Dataset]) -> Dataset:
    """Return the data set that `find` finds. Raises `UnknownDatasetError`, and what else `find` raises."""
    try:
        return find(s, name_or_id)
    except DatasetNotFoundError:
        raise UnknownDatasetError(name_or_id, datasets.names(s)) from None


def _status(word: str) -> Status:
    if word not in list(Status):
        detail = f"There is no status {word[:200]!r}; the statuses are: {', '.join(Status)}."
        raise BadParametersError([SpecProblem(pointer="/status", code="not-one-of", detail=detail)])
    return Status(word)


def _label(text: str) -> tuple[str, str]:
    found = _LABEL.fullmatch(text)
    if found is None:
        detail = f"label must have the form key:value, such as team:vision, not {text[:200]!r}."
        raise BadParametersError([SpecProblem(pointer="/label", code="bad-format", detail=detail)])
    return found[1], nfc(found[2])
