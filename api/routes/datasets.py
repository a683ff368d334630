"""The data sets that a job may name."""

from __future__ import annotations

from fastapi import APIRouter

from api import views
from api.parameters import PageOf
from api.schemas import DatasetView, Listed
from api.services import Hall
from jobs.store import datasets

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


@router.get("")
def list_datasets(hall: Hall, page: PageOf) -> Listed[DatasetView]:
    """In order of registration."""
    with hall.db.read() as s:
        return views.listed(datasets.page(s, limit=page.limit, cursor=page.cursor), views.dataset)


@router.get("/{name_or_id}")
def get_dataset(hall: Hall, name_or_id: str) -> DatasetView:
    """One data set, by name or id."""
    with hall.db.read() as s:
        return views.dataset(datasets.get(s, name_or_id))
