"""The data sets that a job may name; bring your own, list, read, delete."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from api import views
from api.context import DatasetsWrite, JobsRead, TenantContext
from api.http import multipart
from api.http.bodies import NoBody
from api.http.multipart import ReceivedUpload, Upload
from api.http.parameters import PageOf
from api.idempotency import Idempotent, IdempotentRequest, StoredResponse
from api.openapi import problems
from api.schemas import DatasetView, Listed
from jobs import uploads
from jobs.errors import UnavailableError
from jobs.storage import keys
from jobs.store import datasets

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


@router.post(
    "",
    status_code=201,
    response_model=DatasetView,
    openapi_extra=multipart.BODY,
    responses=problems(400, 409, 413, 415),
)
async def add_dataset(context: DatasetsWrite, once: Idempotent, upload: ReceivedUpload) -> Response:
    """Bring your own images, as a zip. What its directory tells is judged at once: 422 names every reason.

    The images are looked at one by one after that: the data set is `validating`, its `progress` tells how far it is,
    and it becomes `ready`, or `failed` with its `problems`.
    """
    return (await run_in_threadpool(_add, context, once, upload)).response()


@router.get("")
def list_datasets(context: JobsRead, page: PageOf) -> Listed[DatasetView]:
    """In order of registration."""
    with context.read() as s:
        return views.listed(datasets.page(s, limit=page.limit, cursor=page.cursor), views.dataset)


@router.get("/{name_or_id}")
def get_dataset(context: JobsRead, name_or_id: str) -> DatasetView:
    """One data set, by name or id."""
    with context.read() as s:
        return views.dataset(datasets.get(s, name_or_id))


@router.delete("/{name_or_id}", status_code=204, dependencies=[NoBody])
def delete_dataset(context: DatasetsWrite, name_or_id: str) -> None:
    """Drop one that was brought, and its files; refused while a job on record names it."""
    with context.write() as s:
        dataset_id = datasets.delete(s, name_or_id)
    context.dataset_files.delete_prefix(dataset_id)
    context.answers.drop(dataset_id)


def _add(context: TenantContext, once: IdempotentRequest, upload: Upload) -> StoredResponse:
    """Judge the archive, then store the record of it. Raises `BadUploadError`, `DatasetExistsError`, and keeps no file then."""
    _judge(context, upload)

    def created() -> StoredResponse:
        row = datasets.create_upload(s, upload.dataset_id, upload.name, upload.side, upload.bytes)
        content = views.dataset(row).model_dump_json().encode()
        return StoredResponse(201, content, {"Location": f"/v1/datasets/{row.id}"})

    try:
        with context.write() as s:
            answer = once.carry_out(s, upload.content(), created)
    except UnavailableError:
        # It may have been stored all the same: if it was not, the sweeper drops the files.
        raise
    except Exception:
        context.dataset_files.delete_prefix(upload.dataset_id)
        raise
    if answer.replayed:
        context.dataset_files.delete_prefix(upload.dataset_id)
    return answer


def _judge(context: TenantContext, upload: Upload) -> None:
    try:
        with context.dataset_files.local_path(keys.upload(upload.dataset_id)) as path:
            found = uploads.inspect(path)
        if found:
            raise multipart.refusal(found)
    except Exception:
        context.dataset_files.delete_prefix(upload.dataset_id)
        raise
