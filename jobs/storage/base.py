"""The interface of the store: files by key, each written whole or not at all, with its size and sha256.

Every back end is a subclass of `Storage`, and must pass the tests of `tests/jobs/storage/test_contract.py`; one that
has no shared disk is shown in `tests/jobs/storage/remote.py`. `open_storage` chooses the back end. A caller
outside this package never builds a path into the store: a key need not be a file of this machine. It reads by `open`,
`read_range` or `local_path`, and writes by `writing`, `put_bytes`, `put_file` or `put_folder`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from jobs.errors import ArtifactLostError
from jobs.storage import keys


@dataclass(frozen=True)
class StoredFile:
    """A file that is durable: its key, its size in bytes, and its sha256 in hexadecimal."""

    key: str
    bytes: int
    sha256: str


class FileWriter:
    """A binary stream into a file that is being written; `stored` is set once the block of `writing` has ended."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, sha256()
        self._stored: StoredFile | None = None

    def write(self, data: bytes) -> int:
        """Append `data` and return its length."""
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Hand all that was written to the operating system."""
        self._file.flush()

    @property
    def sha256(self) -> str:
        """The digest of all that was written so far."""
        return self._digest.hexdigest()

    @property
    def stored(self) -> StoredFile:
        """The stored file; only after the block of `writing`."""
        assert self._stored is not None, "read after the with block"
        return self._stored

    @stored.setter
    def stored(self, stored: StoredFile) -> None:
        self._stored = stored


class Storage(ABC):
    """A store of files by key. A file never changes in place: writing a key again replaces the whole file.

    A `prefix` names a folder: "a/b" covers "a/b/c", but not "a/bc"; "" covers everything. Every method that reads
    raises `ArtifactLostError` where there is no file. Every method that writes raises `OSError` when it fails, with
    errno ENOSPC or EDQUOT where there is no room; then the file that was there before is still there.
    """

    # Parts of the store

    @abstractmethod
    def within(self, prefix: str) -> Storage:
        """Return the part of the store below `prefix`: its keys are relative to it, and no key leads out of it."""

    def artifacts(self, tenant: str) -> Storage:
        """Return the files of a tenant's jobs. The keys of the database are keys in it."""
        return self.within(keys.artifacts_of(tenant))

    def datasets(self, tenant: str) -> Storage:
        """Return the files of a tenant's uploaded data sets."""
        return self.within(keys.datasets_of(tenant))

    # Writing

    @abstractmethod
    def put_file(self, key: str, path: Path, digest: str | None = None) -> StoredFile:
        """Store the local file at `path` under `key`, durably, in one step. The local file is gone afterwards.

        `digest` is its sha256, where the caller knows it already.
        """

    @abstractmethod
    def put_folder(self, prefix: str, folder: Path) -> None:
        """Store every file in the local `folder` below `prefix`, durably. The local folder is gone afterwards.

        What was below `prefix` before is removed.
        """

    @abstractmethod
    def copy(self, key: str, to_key: str) -> None:
        """Store the file of `key` under `to_key` too, durably. Deleting either leaves the other.

        A back end that can share the bytes between both does so.
        """

    @contextmanager
    def writing(self, key: str) -> Iterator[FileWriter]:
        """Yield a stream into a local file, which is stored when the block ends. An error leaves nothing behind."""
        with self.scratch_file(key) as path:
            with path.open("wb") as file:
                out = FileWriter(file)
                yield out
            out.stored = self.put_file(key, path, out.sha256)

    def put_bytes(self, key: str, data: bytes) -> StoredFile:
        """Store `data` under `key`, durably, in one step."""
        with self.writing(key) as out:
            out.write(data)
        return out.stored

    # Reading

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Return whether there is a file with this key."""

    @abstractmethod
    def describe(self, key: str) -> StoredFile:
        """Return the size and sha256 that the file has now, from its bytes or from what the store keeps of them."""

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Open the file for reading, from its first byte on. The caller closes it."""

    @abstractmethod
    def read_range(self, key: str, start: int, stop: int | None = None) -> bytes:
        """Return the bytes from `start` up to, not including, `stop`; fewer where the file ends before.

        A negative `start` counts from the end of the file; `stop` None is the end.
        """

    @abstractmethod
    def local_path(self, key: str) -> AbstractContextManager[Path]:
        """Yield the path of a local file with these bytes, for reading only, and only in the block.

        A remote store downloads the file into a cache.
        """

    @abstractmethod
    def local_folder(self, prefix: str) -> AbstractContextManager[Path]:
        """Yield a local folder with the files below `prefix`, for reading only, and only in the block.

        It is empty or missing where there are none.
        """

    def read_bytes(self, key: str) -> bytes:
        """Return the whole file."""
        with self.open(key) as file:
            return file.read()

    def verify(self, key: str, size: int, digest: str) -> None:
        """Check that the file is what was written. Raises `ArtifactLostError` where its size or sha256 differs."""
        found = self.describe(key)
        if (found.bytes, found.sha256) != (size, digest):
            raise ArtifactLostError(
                f"The file {key} is not what was written: its size or sha256 differs from the record."
            )

    # Listing and deleting

    @abstractmethod
    def list_keys(self, prefix: str = "", *, unfinished: bool = False) -> list[str]:
        """Return the keys of all files below `prefix`, sorted.

        `unfinished`: also those of files that are being written, or whose writer was killed. Such a key begins with
        the key that the file was to get; `delete` removes it.
        """

    @abstractmethod
    def folders(self, prefix: str = "") -> list[str]:
        """Return the names of the folders directly below `prefix`, sorted."""

    @abstractmethod
    def modified_at(self, prefix: str) -> float:
        """Return the Unix time at which something was last written below `prefix`; the current time without any."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete the file, if there is one."""

    @abstractmethod
    def delete_prefix(self, prefix: str) -> None:
        """Delete all files below `prefix`, unfinished ones too. Never raises for a file that cannot be deleted.

        What is left, because another process writes there at the same time, is an orphan, which the sweeper deletes.
        """

    @abstractmethod
    def sweep_unfinished(self, prefix: str) -> None:
        """Delete what killed writers left unfinished below `prefix`.

        A writer that is still alive stores nothing: it meets a `FileNotFoundError` when its block ends.
        """

    # Local scratch space

    @abstractmethod
    def scratch_file(self, key: str) -> AbstractContextManager[Path]:
        """Yield the path of a new, empty local file, in which the file of `key` is written before `put_file`.

        The block's end removes it, where `put_file` has not taken it.
        """

    @abstractmethod
    def scratch_folder(self, prefix: str) -> AbstractContextManager[Path]:
        """Yield a new, empty local folder, in which files are written before `put_folder` stores them below `prefix`.

        The block's end removes it, where `put_folder` has not taken it.
        """

    @abstractmethod
    def live_file(self, key: str) -> AbstractContextManager[Path]:
        """Yield a local path for a file that other processes append to for long, such as a log.

        The file is stored when the block ends, also by an error. A back end on the disk shows it before.
        """

    @abstractmethod
    def writable_folder(self, prefix: str) -> Path:
        """Return the local folder that a sandboxed process must be allowed to write, to write keys below `prefix`.

        It belongs to the local scratch space. It is created where that is possible. Only for the rules of a sandbox
        and for temporary files: do not build the path of a key from it.
        """

    @abstractmethod
    def free_bytes(self) -> int:
        """Return how many more bytes can be written. Raises `OSError` where the store cannot be written at all."""

    # Operation

    @abstractmethod
    def check(self) -> tuple[bool, str]:
        """Return whether the store can be written and has room, and a detail for people. Change nothing."""

    def upgrade(self, default_tenant: str) -> None:  # noqa: B027 - most back ends have no older layout
        """Bring files of an older version of the service to the keys that this version reads. Safe to repeat."""
