"""Real images of a data set on one sheet, for people to look at before they train on it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from gan import datasets
from gan.datasets import DatasetUnavailableError, uploaded
from gan.datasets.class_examples import Bytes, class_examples
from jobs.db import Database
from jobs.errors import DatasetAwayError
from jobs.models import Dataset
from jobs.storage import Storage, keys
from jobs.store import datasets as registered
from worker.sampler import encode


class ContactSheetRequest(BaseModel):
    """What the API asks for: `n` images of each class (None: of all), in so many rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset_id: str
    class_ids: tuple[int | None, ...] = Field(min_length=1, max_length=1024)
    n: int = Field(ge=1, le=64)
    rows: int = Field(ge=1)
    row_labels: tuple[str, ...] = ()


class ContactSheets:
    """Lays sheets out; may be used by any thread."""

    def __init__(self, db: Database, storage: Storage) -> None:
        self._db, self._storage = db, storage

    def lay_out(self, wish: ContactSheetRequest) -> bytes:
        """The sheet as a PNG. Raises `DatasetNotFoundError`, `DatasetAwayError`, and `ValueError` for rows that do not fit."""
        with self._db.read() as s:
            row = registered.get(s, wish.dataset_id)
        try:
            images = self._images(row, wish)
        except DatasetUnavailableError as error:
            raise DatasetAwayError(str(error)) from error
        return encode.png(images, wish.rows, wish.row_labels)

    def _images(self, row: Dataset, wish: ContactSheetRequest) -> Bytes:
        if row.uploaded:
            with self._storage.datasets(row.tenant).local_folder(keys.images(row.id, row.attempt)) as folder:
                images, labels = uploaded.mapped(folder, registered.info(row))
                return class_examples(images, labels, wish.class_ids, wish.n)
        data = datasets.load(row.name)
        labels = None if data.labels is None else data.labels.numpy()
        return class_examples(data.images.numpy(), labels, wish.class_ids, wish.n)
