"""A back end without a shared disk: it keeps its objects in memory, and has only a scratch folder on this machine.

It shows that the interface asks nothing of a back end that an object store over a network could not do.
"""

from __future__ import annotations

import io
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from jobs.errors import ArtifactLostError
from jobs.storage import Storage, StoredFile, keys

_UNFINISHED = ".part"


@dataclass(frozen=True)
class _Object:
    content: bytes
    written_at: float


class RemoteStorage(Storage):
    """Objects in memory. Files are written and downloaded below the local folder `scratch`."""

    def __init__(self, scratch: Path, objects: dict[str, _Object] | None = None, root: str = "") -> None:
        self._scratch, self._objects, self._root = scratch, {} if objects is None else objects, root

    def within(self, prefix: str) -> RemoteStorage:
        return RemoteStorage(self._scratch, self._objects, self._full(prefix))

    def put_file(self, key: str, path: Path, digest: str | None = None) -> StoredFile:
        content = path.read_bytes()
        self._objects[self._full(key)] = _Object(content, time.time())
        path.unlink()
        return StoredFile(key, len(content), digest or sha256(content).hexdigest())

    def put_folder(self, prefix: str, folder: Path) -> None:
        for key in self.list_keys(prefix):
            self.delete(key)
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            self.put_file(f"{prefix}/{path.relative_to(folder).as_posix()}", path)
        shutil.rmtree(folder)

    def copy(self, key: str, to_key: str) -> None:
        self._objects[self._full(to_key)] = _Object(self.read_bytes(key), time.time())

    def exists(self, key: str) -> bool:
        return self._full(key) in self._objects

    def describe(self, key: str) -> StoredFile:
        content = self.read_bytes(key)
        return StoredFile(key, len(content), sha256(content).hexdigest())

    def open(self, key: str) -> BinaryIO:
        if not self.exists(key):
            raise ArtifactLostError(f"The file {key} is gone from the store.")
        return io.BytesIO(self._objects[self._full(key)].content)

    def read_range(self, key: str, start: int, stop: int | None = None) -> bytes:
        return self.read_bytes(key)[start:stop]

    @contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        content = self.read_bytes(key)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PurePosixPath(key).name
            path.write_bytes(content)
            yield path

    @contextmanager
    def local_folder(self, prefix: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            for key in self.list_keys(prefix):
                path = Path(folder) / PurePosixPath(key).relative_to(prefix)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.read_bytes(key))
            yield Path(folder)

    def list_keys(self, prefix: str = "", *, unfinished: bool = False) -> list[str]:
        full = self._full(prefix)
        found = [key for key in self._objects if PurePosixPath(key).is_relative_to(full)]
        if unfinished:
            parts = [path for path in self._local(prefix).rglob("*") if path.is_file()]
            found += [path.relative_to(self._scratch).as_posix() for path in parts]
        return sorted(PurePosixPath(key).relative_to(self._root).as_posix() for key in found)

    def folders(self, prefix: str = "") -> list[str]:
        below = [PurePosixPath(key).relative_to(prefix).parts for key in self.list_keys(prefix)]
        return sorted({parts[0] for parts in below if len(parts) > 1})

    def modified_at(self, prefix: str) -> float:
        times = [self._objects[self._full(key)].written_at for key in self.list_keys(prefix)]
        return max(times, default=time.time())

    def delete(self, key: str) -> None:
        self._objects.pop(self._full(key), None)
        with suppress(FileNotFoundError, IsADirectoryError):
            self._local(key).unlink()

    def delete_prefix(self, prefix: str) -> None:
        for key in self.list_keys(prefix, unfinished=True):
            self.delete(key)

    def sweep_unfinished(self, prefix: str) -> None:
        shutil.rmtree(self._local(prefix), ignore_errors=True)

    @contextmanager
    def scratch_file(self, key: str) -> Iterator[Path]:
        path = self._unfinished(key)
        path.touch()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def scratch_folder(self, prefix: str) -> Iterator[Path]:
        path = self._unfinished(prefix)
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def live_file(self, key: str) -> Iterator[Path]:
        with self.scratch_file(key) as path:
            try:
                yield path
            finally:
                self.put_file(key, path)

    def writable_folder(self, prefix: str) -> Path:
        folder = self._local(prefix)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._scratch).free

    def check(self) -> tuple[bool, str]:
        return True, "in memory"

    def _full(self, key: str) -> str:
        return (PurePosixPath(self._root) / keys.checked(key)).as_posix().removeprefix(".")

    def _local(self, key: str) -> Path:
        return self._scratch / self._full(key)

    def _unfinished(self, key: str) -> Path:
        path = self._local(f"{key}.{secrets.token_hex(6)}{_UNFINISHED}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
