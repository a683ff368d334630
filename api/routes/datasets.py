"""Data sets: upload, list, read, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from api.context import DatasetsWrite, JobsRead, TenantContext
from api.http import multipart
from api.http.bodies import NoBody
from api.http.multipart import ReceivedUpload, Upload
from api.http.parameters import Fields, PageOf, fields_of
from api.idempotency import Idempotent, IdempotentRequest, StoredResponse
from api.openapi import problems
from api.schemas.base import Listed
from api.schemas.datasets import DatasetView
from api.views.base import list_view
from api.views.datasets import dataset_view
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
async def add_dataset(context: DatasetsWrite, idempotent: Idempotent, upload: ReceivedUpload) -> Response:
    """Upload a zip of images as a new data set. A zip whose directory shows problems gets 422 with all of them.

    The service then checks the images one by one: the data set is `validating`, `progress` shows how far it is, and
    it becomes `ready`, or `failed` with its `problems`.
    """
    return (await run_in_threadpool(_add, context, idempotent, upload)).response()


@router.get("", response_model=Listed[DatasetView])
def list_datasets(context: JobsRead, page: PageOf, fields: Annotated[Fields, fields_of(DatasetView)]) -> Response:
    """List the data sets in order of registration."""
    with context.read() as s:
        return list_view(datasets.page(s, limit=page.limit, cursor=page.cursor), dataset_view, fields)


@router.get("/{name_or_id}")
def get_dataset(context: JobsRead, name_or_id: str) -> DatasetView:
    """Return one data set, by name or id."""
    with context.read() as s:
        return dataset_view(datasets.get(s, name_or_id))


@router.delete("/{name_or_id}", status_code=204, dependencies=[NoBody])
def delete_dataset(context: DatasetsWrite, name_or_id: str) -> None:
    """Delete an uploaded data set and its files. Delete the jobs that use it first; otherwise the response is 409."""
    with context.write() as s:
        dataset_id = datasets.delete(s, name_or_id)
    context.dataset_files.delete_prefix(dataset_id)
    context.sample_cache.drop(dataset_id)


def _add(context: TenantContext, idempotent: IdempotentRequest, upload: Upload) -> StoredResponse:
    """Inspect the archive, then store the data set.

    Raises `BadUploadError`, `DatasetExistsError`, and then removes the file.
    """
    _inspect(context, upload)

    def create() -> StoredResponse:
        row = datasets.create_upload(s, upload.dataset_id, upload.name, upload.side, upload.bytes)
        content = dataset_view(row).model_dump_json().encode()
        return StoredResponse(201, content, {"Location": f"/v1/datasets/{row.id}"})

    try:
        with context.write() as s:
            stored = idempotent.carry_out(s, upload.content(), create)
    except UnavailableError:
        # The commit may have succeeded, so keep the files. If it did not, the sweeper removes them.
        raise
    except Exception:
        context.dataset_files.delete_prefix(upload.dataset_id)
        raise
    if stored.replayed:
        context.dataset_files.delete_prefix(upload.dataset_id)
    return stored


def _inspect(context: TenantContext, upload: Upload) -> None:
    """Raise `BadUploadError` if the archive has problems, and remove the file."""
    try:
        with context.dataset_files.local_path(keys.upload(upload.dataset_id)) as path:
            found = uploads.inspect(path)
        if found:
            raise multipart.refusal(found)
    except Exception:
        context.dataset_files.delete_prefix(upload.dataset_id)
        raise
