"""The data sets that a job may name; bring your own, list, read, delete."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from api import uploads, views
from api.bodies import NoBody
from api.hall import DatasetsWrite, Hall, JobsRead
from api.idempotency import Answer, Once, OnceOnly
from api.openapi import problems
from api.parameters import PageOf
from api.schemas import DatasetView, Listed
from api.uploads import ReceivedUpload, Upload
from jobs import intake
from jobs.errors import Unavailable
from jobs.store import datasets

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


@router.post(
    "",
    status_code=201,
    response_model=DatasetView,
    openapi_extra=uploads.BODY,
    responses=problems(400, 409, 413, 415),
)
async def add_dataset(hall: DatasetsWrite, once: OnceOnly, upload: ReceivedUpload) -> Response:
    """Bring your own images, as a zip. What its directory tells is judged at once: 422 names every reason.

    The images are looked at one by one after that: the data set is `validating`, its `progress` tells how far it is,
    and it becomes `ready`, or `failed` with its `problems`.
    """
    return (await run_in_threadpool(_add, hall, once, upload)).response()


@router.get("")
def list_datasets(hall: JobsRead, page: PageOf) -> Listed[DatasetView]:
    """In order of registration."""
    with hall.read() as s:
        return views.listed(datasets.page(s, limit=page.limit, cursor=page.cursor), views.dataset)


@router.get("/{name_or_id}")
def get_dataset(hall: JobsRead, name_or_id: str) -> DatasetView:
    """One data set, by name or id."""
    with hall.read() as s:
        return views.dataset(datasets.get(s, name_or_id))


@router.delete("/{name_or_id}", status_code=204, dependencies=[NoBody])
def delete_dataset(hall: DatasetsWrite, name_or_id: str) -> None:
    """Drop one that was brought, and its files; refused while a job on record names it."""
    with hall.write() as s:
        dataset_id = datasets.delete(s, name_or_id)
    intake.drop(hall.settings, hall.caller.tenant, dataset_id)
    hall.answers.drop(dataset_id)


def _add(hall: Hall, once: Once, upload: Upload) -> Answer:
    """Judge the archive, then store the record of it. Raises `BadUpload`, `DatasetExists`, and keeps no file then."""
    _judge(hall, upload)

    def created() -> Answer:
        row = datasets.begin(s, upload.dataset_id, upload.name, upload.side, upload.path.stat().st_size)
        content = views.dataset(row).model_dump_json().encode()
        return Answer(201, content, {"Location": f"/v1/datasets/{row.id}"})

    try:
        with hall.write() as s:
            answer = once.carry_out(s, upload.content(), created)
    except Unavailable:
        # It may have been stored all the same: if it was not, the sweeper drops the files.
        raise
    except Exception:
        intake.drop(hall.settings, hall.caller.tenant, upload.dataset_id)
        raise
    if answer.replayed:
        intake.drop(hall.settings, hall.caller.tenant, upload.dataset_id)
    return answer


def _judge(hall: Hall, upload: Upload) -> None:
    try:
        if found := intake.inspect(upload.path):
            raise uploads.refusal(found)
    except Exception:
        intake.drop(hall.settings, hall.caller.tenant, upload.dataset_id)
        raise
