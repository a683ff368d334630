"""The store on the disk: a key is a path below one folder, which all processes of the service share.

A file is written beside its final name, synced, and then renamed. A name with the suffix `.tmp` is unfinished.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Final

from jobs.errors import ArtifactLostError
from jobs.storage import keys
from jobs.storage.base import Storage, StoredFile

_UNFINISHED: Final = ".tmp"
_GONE: Final = "The file {} is gone from the store."
_GIB: Final = 2**30
_LITTLE_SPACE_BYTES: Final = _GIB
# All is its user's alone, whatever umask the process has.
_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


class DiskStorage(Storage):
    """The store in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def within(self, prefix: str) -> DiskStorage:
        """Return the store in the folder of `prefix`, which need not exist."""
        return DiskStorage(self._path(prefix))

    # Writing

    def put_file(self, key: str, path: Path, digest: str | None = None) -> StoredFile:
        """Sync the file and rename it to the path of `key`; from another file system, copy it first."""
        stored = StoredFile(key, path.stat().st_size, digest or _digest(path))
        self._move_in(path, self._path(key))
        return stored

    def put_folder(self, prefix: str, folder: Path) -> None:
        """Sync the folder and rename it to the path of `prefix`; remove what was there just before."""
        self._move_in(folder, self._path(prefix))

    def copy(self, key: str, to_key: str) -> None:
        """Link the file to the path of `to_key`, or copy it. Raises `ArtifactLostError`."""
        source, target = self._path(key), self._path(to_key)
        self._make_folder(target.parent)
        # A hard link, as files are never changed in place; a copy where the file system has no such links.
        try:
            with self._unfinished(target) as link:
                os.link(source, link)
                link.replace(target)
        except FileNotFoundError:
            raise ArtifactLostError(_GONE.format(key)) from None
        except OSError:
            with self.open(key) as file, self.writing(to_key) as out:
                shutil.copyfileobj(file, out)
        _sync(target.parent)

    # Reading

    def exists(self, key: str) -> bool:
        """Return whether the path of `key` is a file."""
        return self._path(key).is_file()

    def describe(self, key: str) -> StoredFile:
        """Return size and sha256 of the bytes on the disk: the whole file is read."""
        with self.open(key) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return StoredFile(key, file.tell(), digest)

    def open(self, key: str) -> BufferedReader:
        """Open the file for reading. Raises `ArtifactLostError` for a missing file or a folder."""
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise ArtifactLostError(_GONE.format(key)) from None

    def read_range(self, key: str, start: int, stop: int | None = None) -> bytes:
        """Return the bytes from `start` up to `stop`; only they are read. Raises `ArtifactLostError`."""
        with self.open(key) as file:
            size = file.seek(0, os.SEEK_END)
            first = file.seek(max(0, size + start) if start < 0 else start)
            return file.read(max(0, (size if stop is None else stop) - first))

    @contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        """Yield the path of the stored file itself. Raises `ArtifactLostError`."""
        if not self.exists(key):
            raise ArtifactLostError(_GONE.format(key))
        yield self._path(key)

    @contextmanager
    def local_folder(self, prefix: str) -> Iterator[Path]:
        """Yield the stored folder itself, which may be missing."""
        yield self._path(prefix)

    # Listing and deleting

    def list_keys(self, prefix: str = "", *, unfinished: bool = False) -> list[str]:
        """Return the keys of all files below `prefix`, sorted. Names in `.tmp` count only if `unfinished`."""
        found = []
        for folder, folders, files in os.walk(self._path(prefix)):
            if not unfinished:
                folders[:] = [name for name in folders if not name.endswith(_UNFINISHED)]
                files = [name for name in files if not name.endswith(_UNFINISHED)]
            found += [(Path(folder) / name).relative_to(self._root).as_posix() for name in files]
        return sorted(found)

    def folders(self, prefix: str = "") -> list[str]:
        """Return the names of the finished folders directly below `prefix`, sorted."""
        _, names, _ = next(os.walk(self._path(prefix)), ("", [], []))
        return sorted(name for name in names if not name.endswith(_UNFINISHED))

    def modified_at(self, prefix: str) -> float:
        """Return the newest time of modification below `prefix`, Unix s; now if it is missing."""
        folder = self._path(prefix)
        try:
            # A file that was copied by a link has the time of its first writing; its folder has that of the copy.
            return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        except FileNotFoundError:  # it is being deleted
            return time.time()

    def delete(self, key: str) -> None:
        """Remove the file, if it exists. Raises `OSError` where it cannot be removed."""
        self._path(key).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> None:
        """Remove the folder of `prefix`; leave what cannot be removed."""
        shutil.rmtree(self._path(prefix), ignore_errors=True)

    def sweep_unfinished(self, prefix: str) -> None:
        """Remove every file and folder below `prefix` whose name ends in `.tmp`."""
        for path in list(self._path(prefix).rglob("*" + _UNFINISHED)):
            _remove(path)

    # Local scratch space: beside the final names, so that a rename is all that `put_file` has to do.

    @contextmanager
    def scratch_file(self, key: str) -> Iterator[Path]:
        """Yield a new empty file beside the path of `key`, for its user alone (mode 0600)."""
        target = self._path(key)
        self._make_folder(target.parent)
        with self._unfinished(target) as path:
            path.touch(_FILE_MODE, exist_ok=False)
            yield path

    @contextmanager
    def scratch_folder(self, prefix: str) -> Iterator[Path]:
        """Yield a new empty folder beside the path of `prefix`, for its user alone (mode 0700)."""
        target = self._path(prefix)
        self._make_folder(target.parent)
        with self._unfinished(target) as path:
            path.mkdir(_FOLDER_MODE)
            yield path

    @contextmanager
    def live_file(self, key: str) -> Iterator[Path]:
        """Yield the path of `key` itself, so that others read what is appended at once."""
        path = self._path(key)
        self._make_folder(path.parent)
        yield path

    def writable_folder(self, prefix: str) -> Path:
        """Return the folder of `prefix`; create it unless the file system refuses."""
        folder = self._path(prefix)
        with suppress(OSError):
            self._make_folder(folder)
        return folder

    def free_bytes(self) -> int:
        """Return the free bytes of the root's disk. Creates the root if it is missing. Raises `OSError`."""
        self._make_folder(self._root)
        return shutil.disk_usage(self._root).free

    # Operation

    def check(self) -> tuple[bool, str]:
        """Return whether the folder can be written and has more than 1 GiB free, and a sentence for people."""
        # The first job creates the folder of artifacts, which may be another disk.
        folder = next((path for path in (self._path(keys.ARTIFACTS), self._root) if path.is_dir()), self._root)
        if not folder.is_dir():
            return False, f"{folder} does not exist yet: `gantry up` or `gantry migrate` creates it"
        if not os.access(folder, os.W_OK | os.X_OK):
            return False, f"{folder} cannot be written: let this user write there, or set another GANTRY_DATA_DIR"
        free = shutil.disk_usage(folder).free
        enough = free > _LITTLE_SPACE_BYTES
        return enough, f"{folder}, {free / _GIB:.1f} GiB free{'' if enough else ': delete jobs, or free some space'}"

    def upgrade(self, default_tenant: str) -> None:
        """Move the folders of jobs and data sets that have no tenant yet below `default_tenant`."""
        # Before there were tenants, the folder of a job or data set lay directly in its area.
        for area, pattern in ((keys.ARTIFACTS, "job_*"), (keys.DATASETS, "ds_*")):
            root = self._path(area)
            for folder in root.glob(pattern):
                self._make_folder(root / default_tenant)
                folder.rename(root / default_tenant / folder.name)

    def _path(self, key: str) -> Path:
        """Return the path of the file with this key, whether it exists or not."""
        return self._root / keys.checked(key)

    def _make_folder(self, folder: Path) -> None:
        """Create the folder and those above it, durably.

        A new folder is durable only when the folder that holds its name is synced.
        """
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(_FOLDER_MODE, exist_ok=True)
        _sync(folder.parent)

    def _move_in(self, path: Path, target: Path) -> None:
        """Move a local file or folder to its final name, durably; from another file system by a copy."""
        self._make_folder(target.parent)
        with self._unfinished(target) as beside:
            if path.stat().st_dev != target.parent.stat().st_dev:
                path = Path(shutil.move(path, beside))
            for part in (*path.rglob("*"), path):
                _sync(part)
            if path.is_dir() and target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
        _sync(target.parent)

    @contextmanager
    def _unfinished(self, target: Path) -> Iterator[Path]:
        """Yield an unused path beside `target`; remove what is there when the block ends.

        It has a random part: two writers of one key must not write into one file.
        """
        path = target.with_name(f"{target.name}.{secrets.token_hex(6)}{_UNFINISHED}")
        try:
            yield path
        finally:
            _remove(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
