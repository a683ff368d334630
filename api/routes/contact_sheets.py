"""Contact sheets: real images of a data set in one picture, to look at before training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from api.context import JobsRead, TenantContext
from api.http.errors import BadParametersError
from api.http.headers import etag_of, matches, not_modified
from api.openapi import files, problems
from api.samples.request import MOST_IMAGES, MOST_PER_LABEL, find_class, square_rows
from gan.spec import DatasetClass, SpecProblem
from jobs.errors import DatasetNotReadyError, UnlabelledError
from jobs.models import Dataset
from jobs.store import datasets

router = APIRouter(prefix="/v1/datasets/{name_or_id}", tags=["datasets"])

_VERSION: Final = "2"
# A new data set may get the same name later: clients must ask each time, and get 304.
_REVALIDATE: Final = {"Cache-Control": "private, no-cache"}


@router.get(
    "/contact-sheet",
    response_class=Response,
    responses={200: {"content": files("image/png")}, **problems(409)},
)
async def get_contact_sheet(
    context: JobsRead,
    name_or_id: str,
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
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Draw real images, one row per class. With one class or none, the grid is as square as possible."""
    found = await run_in_threadpool(_look_up, context, name_or_id, label or (), n)
    if matches(if_none_match, found.etag):
        return not_modified(found.etag, **_REVALIDATE)
    content = await run_in_threadpool(context.sample_cache.get, found.dataset_id, found.etag)
    background = None
    if content is None:
        content = await context.sampler.contact_sheet(found.sampler_request)
        background = BackgroundTask(context.sample_cache.put, found.dataset_id, found.etag, content)
    headers = {"ETag": found.etag, **_REVALIDATE}
    return Response(content, media_type="image/png", headers=headers, background=background)


@dataclass(frozen=True)
class _ContactSheetSource:
    """The images that a request for a contact sheet asks for."""

    dataset_id: str
    sha256: str | None
    classes: tuple[DatasetClass | None, ...]
    n: int

    @property
    def sampler_request(self) -> dict[str, Any]:
        """The body of the request to the sampler."""
        one = len(self.classes) == 1
        return {
            "dataset_id": self.dataset_id,
            "class_ids": [found.id if found else None for found in self.classes],
            "n": self.n,
            "rows": square_rows(self.n) if one else len(self.classes),
            "row_labels": [] if one else [found.label for found in self.classes if found],
        }

    @property
    def etag(self) -> str:
        """The strong ETag of the picture."""
        return etag_of(json.dumps([_VERSION, self.sha256, self.sampler_request]))


def _look_up(context: TenantContext, name_or_id: str, labels: Sequence[str], n: int) -> _ContactSheetSource:
    """Return the images that the request asks for.

    Raises `DatasetNotFoundError`, `DatasetNotReadyError`, `UnlabelledError`, `UnknownLabelError` and
    `BadParametersError`.
    """
    with context.read() as s:
        row = datasets.get(s, name_or_id)
    if row.status != datasets.READY:
        raise DatasetNotReadyError(row.name, row.status)
    classes = _classes(row, labels)
    if len(classes) * n > MOST_IMAGES:
        detail = (
            f"{len(classes)} classes with {n} images each are more than {MOST_IMAGES} images; ask for fewer images, "
            "or for some of the labels."
        )
        raise BadParametersError([SpecProblem(pointer="/n", code="out-of-range", detail=detail)])
    return _ContactSheetSource(row.id, row.sha256, classes, n)


def _classes(row: Dataset, labels: Sequence[str]) -> tuple[DatasetClass | None, ...]:
    known = datasets.info(row).classes
    if labels and not known:
        raise UnlabelledError
    # A class may be asked for by its name, by its id and in two normal forms; it is shown once.
    asked = {found.id: found for found in (find_class(label, known) for label in labels)}
    return tuple(asked.values()) or known or (None,)
