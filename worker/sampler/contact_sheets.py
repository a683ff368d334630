"""Contact sheets: real images of a data set in one picture, to look at before training."""

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
    """A request of the API: `n` images of each class (None: of all classes together), in `rows` rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset_id: str
    class_ids: tuple[int | None, ...] = Field(min_length=1, max_length=1024)
    n: int = Field(ge=1, le=64)
    rows: int = Field(ge=1)
    row_labels: tuple[str, ...] = ()


class ContactSheets:
    """Draws contact sheets. Safe to use from any thread."""

    def __init__(self, db: Database, storage: Storage) -> None:
        self._db, self._storage = db, storage

    def draw(self, request: ContactSheetRequest) -> bytes:
        """Return the sheet as a PNG.

        Raises `DatasetNotFoundError`, `DatasetAwayError`, and `ValueError` if the images do not fill the rows.
        """
        with self._db.read() as s:
            row = registered.get(s, request.dataset_id)
        try:
            images = self._images(row, request)
        except DatasetUnavailableError as error:
            raise DatasetAwayError(str(error)) from error
        return encode.png(images, request.rows, request.row_labels)

    def _images(self, row: Dataset, request: ContactSheetRequest) -> Bytes:
        if row.uploaded:
            with self._storage.datasets(row.tenant).local_folder(keys.images(row.id, row.attempt)) as folder:
                images, labels = uploaded.mapped(folder, registered.info(row))
                return class_examples(images, labels, request.class_ids, request.n)
        data = datasets.load(row.name)
        labels = None if data.labels is None else data.labels.numpy()
        return class_examples(data.images.numpy(), labels, request.class_ids, request.n)
