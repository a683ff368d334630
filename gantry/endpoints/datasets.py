"""Requests about data sets: upload, validation, list, delete."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from gantry.arguments import as_list, path_of
from gantry.connection import MAX_PAGE_ITEMS, Connection, Json

_POLL_SECONDS: Final = 0.3


class DatasetEndpoints(Connection):
    """Requests about data sets."""

    def add_dataset(
        self, file: BinaryIO, file_name: str, *, name: str | None = None, size: int | None = None
    ) -> Json:
        """Upload the zip `file` as a data set and return it, with the status `validating`.

        The file is read once, while it is sent. `size` is the height and width of the images in pixels.
        """
        fields = {"name": name, "size": None if size is None else str(size)}
        data = {key: value for key, value in fields.items() if value is not None}
        files = {"file": (file_name, file, "application/zip")}
        return self._json("POST", "/v1/datasets", data=data, files=files)

    def upload(
        self, path: str | Path, *, name: str | None = None, size: int | None = None, seconds: float | None = None
    ) -> Json:
        """Upload the zip or the folder of images at `path` as a data set, wait for its validation, and return it.

        Its status is then `ready`, or `failed` with a list of problems. Raises `OSError` if the file, or a part of
        the folder, cannot be read, and `TimeoutError` if the validation takes longer than `seconds`.
        """
        from gantry.archive import as_archive, upload_name  # noqa: PLC0415

        with as_archive(Path(path)) as archive, archive.open("rb") as file:
            dataset = self.add_dataset(file, upload_name(Path(path)), name=name, size=size)
        return deque(self.watch_dataset(dataset["id"], seconds), maxlen=1)[0]

    def watch_dataset(self, dataset_id: str, seconds: float | None = None) -> Iterator[Json]:
        """Yield the data set several times a second, until its validation has ended. Raises `TimeoutError`."""
        began = time.monotonic()
        while True:
            dataset = self.dataset(dataset_id)
            yield dataset
            if dataset["status"] != "validating":
                return
            if seconds is not None and time.monotonic() - began > seconds:
                raise TimeoutError(f"{dataset['name']} is not validated after {seconds:g} s; validation continues.")
            time.sleep(_POLL_SECONDS)

    def datasets(self, **query: str | int) -> Json:
        """Return a page of data sets."""
        return self._json("GET", "/v1/datasets", params={"limit": MAX_PAGE_ITEMS, **query})

    def dataset(self, name_or_id: str) -> Json:
        """Return a data set."""
        return self._json("GET", path_of("datasets", name_or_id))

    def delete_dataset(self, name_or_id: str) -> None:
        """Delete a data set and its files. The service refuses while a job needs it."""
        self._send("DELETE", path_of("datasets", name_or_id))

    def contact_sheet(self, name_or_id: str, *, labels: str | int | Sequence[str | int] = (), n: int = 8) -> bytes:
        """Return real images of a data set as one PNG file, with a row of `n` images for each class."""
        path = path_of("datasets", name_or_id, "contact-sheet")
        return self._send("GET", path, params={"label": as_list(labels), "n": n}).content
