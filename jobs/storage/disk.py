"""Where bytes live: one folder a job, every file written whole or not at all, with its digest."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from jobs.errors import ArtifactLostError
from jobs.ids import looks_like

_TMP: Final = ".tmp"
_GONE: Final = "The file {} is gone from the artifacts folder."


@dataclass(frozen=True)
class Stored:
    """A file that is durable: its key (a path below the artifacts' root), size in bytes, and digest."""

    key: str
    bytes: int
    sha256: str


class Writing:
    """A file that is being written: a binary stream; `stored` is there once the block has ended."""

    def __init__(self, key: str, file: BinaryIO) -> None:
        self._key, self._file = key, file
        self._stored: Stored | None = None

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def stored(self) -> Stored:
        """What was stored; only after the block."""
        assert self._stored is not None, "read after the with block"
        return self._stored

    def seal(self, path: Path) -> None:
        """Note size and digest of what lies at `path`."""
        self._stored = Stored(self._key, path.stat().st_size, digest(path))


class Artifacts:
    """The files of jobs, below a folder that API, workers and samplers share: a folder a tenant, in it one a job."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, tenant: str) -> Artifacts:
        """A tenant's; nobody else's are to be reached through it."""
        return Artifacts(self._root / tenant)

    def tenants(self) -> list[str]:
        """Those who have files here."""
        return [path.name for path in self._root.iterdir() if path.is_dir()] if self._root.is_dir() else []

    @staticmethod
    def checkpoint_key(job_id: str, step: int, attempt: int) -> str:
        # The attempt is in the name, so that a stale worker cannot overwrite its successor's file.
        return f"{job_id}/checkpoints/{step:09d}.{attempt}.pt"

    @staticmethod
    def weights_key(job_id: str, step: int, attempt: int) -> str:
        return f"{job_id}/checkpoints/{step:09d}.{attempt}.safetensors"

    @staticmethod
    def onnx_key(weights_key: str) -> str:
        return weights_key.removesuffix(".safetensors") + ".onnx"

    @staticmethod
    def preview_key(job_id: str, step: int, attempt: int) -> str:
        return f"{job_id}/previews/{step:09d}.{attempt}.png"

    @staticmethod
    def log_key(job_id: str, attempt: int) -> str:
        return f"{job_id}/attempts/{attempt}.log"

    @staticmethod
    def outcome_key(job_id: str, attempt: int) -> str:
        return f"{job_id}/attempts/{attempt}.outcome.json"

    @contextmanager
    def writing(self, key: str) -> Iterator[Writing]:
        """Write a file: to the disk first, then to its name. An error in the block leaves nothing behind."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Of its own name: two that write one key must not write into one file.
        tmp = path.with_name(f"{path.name}.{secrets.token_hex(6)}{_TMP}")
        try:
            with tmp.open("wb") as file:
                out = Writing(key, file)
                yield out
                file.flush()
                os.fsync(file.fileno())
            out.seal(tmp)
            tmp.replace(path)
        finally:
            tmp.unlink(missing_ok=True)
        sync_folder(path.parent)

    def write(self, key: str, data: bytes) -> Stored:
        """Write a file whole."""
        with self.writing(key) as out:
            out.write(data)
        return out.stored

    def link(self, key: str, to_key: str) -> None:
        """Give a file a second name, durably; deleting either leaves the other. Raises `ArtifactLostError`.

        A hard link, as files are never changed in place; a copy where the disk has no such links.
        """
        source, target = self.path(key), self.path(to_key)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise ArtifactLostError(_GONE.format(key)) from None
        except OSError:
            self._copy(source, to_key)
        # The folders may be new: each is durable only when the one that holds it is.
        for folder in target.parents:
            sync_folder(folder)
            if folder == self._root:
                break

    def path(self, key: str) -> Path:
        """Where the file of that key lies, or would."""
        if Path(key).is_absolute() or ".." in Path(key).parts:
            raise AssertionError(f"a key that leaves the folder: {key}")
        return self._root / key

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def read(self, key: str) -> bytes:
        """All of it. Raises `ArtifactLostError`."""
        try:
            return self.path(key).read_bytes()
        except FileNotFoundError:
            raise ArtifactLostError(_GONE.format(key)) from None

    def verify(self, key: str, size: int, sha256: str) -> Path:
        """The path of a file that is what was written, byte for byte. Raises `ArtifactLostError`."""
        path = self.path(key)
        if not path.is_file():
            raise ArtifactLostError(_GONE.format(key))
        if path.stat().st_size != size or digest(path) != sha256:
            raise ArtifactLostError(
                f"The file {key} is not what was written: its size or sha256 differs from the record."
            )
        return path

    def delete(self, key: str) -> None:
        """Drop a file, if it is there."""
        self.path(key).unlink(missing_ok=True)

    def delete_job(self, job_id: str) -> None:
        """Drop every file of a job."""
        # Somebody may be deleting it too, or writing a last file; what is left is an orphan, and is swept up.
        shutil.rmtree(self.path(job_id), ignore_errors=True)

    def sweep_unfinished(self, job_id: str) -> None:
        """Drop what a killed writer left half-written; only while nobody else writes for this job."""
        for tmp in self.path(job_id).rglob("*" + _TMP):
            tmp.unlink(missing_ok=True)

    def present(self, job_id: str) -> Iterator[tuple[str, Path]]:
        """The key and the place of every checkpoint and picture of a job that is there, half-written ones too."""
        for folder in ("checkpoints", "previews"):
            for path in self.path(f"{job_id}/{folder}").glob("*"):
                yield f"{job_id}/{folder}/{path.name}", path

    def orphans(self, known_jobs: Iterable[str], older_than_seconds: float) -> list[str]:
        """Job folders that no job on record owns, untouched for so long."""
        known, before = set(known_jobs), time.time() - older_than_seconds
        if not self._root.is_dir():
            return []
        folders = (p for p in self._root.iterdir() if looks_like("job", p.name) and p.name not in known)
        return [p.name for p in folders if p.stat().st_mtime < before]

    def _copy(self, source: Path, to_key: str) -> None:
        with source.open("rb") as file, self.writing(to_key) as out:
            shutil.copyfileobj(file, out)


def digest(path: Path) -> str:
    """The file's sha256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Have the names in it be durable."""
    # A rename is durable only when the folder that holds the name is.
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
