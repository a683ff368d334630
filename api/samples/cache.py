"""Answers that were drawn before, on disk by ETag and by the job or data set: who asks again needs no sampler.

Every API process shares the folder, and it outlives them. Whether an answer may be given is not its affair: the route
looks the job and its checkpoint up first.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

_log = structlog.get_logger("gantry.api")

_DIGEST_BYTES: Final = hashlib.sha256().digest_size
# Of the whole: what a process may write before it measures the folder again. Other processes write too, so the folder
# may be over by as much for each of them.
_STEP: Final = 16


class SampleCache:
    """Bodies in `folder`, `most_bytes` of them at most (0: none); those that were not asked for longest go first."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most = folder, most_bytes
        self._lock = threading.Lock()
        self._may_write = 0

    def get(self, owner_id: str, etag: str) -> bytes | None:
        """The body that was put there, byte for byte; None where there is none, or none that can be read."""
        path = self._path(owner_id, etag)
        try:
            data = path.read_bytes()
            digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
            if hashlib.sha256(content).digest() != digest:
                # Not made durable when it was written: a machine that lost its power may have left half of it.
                path.unlink(missing_ok=True)
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("an answer on disk cannot be read", error=str(error))
            return None
        with suppress(OSError):  # trimmed meanwhile, or another user's: it was read all the same
            os.utime(path)
        return content

    def put(self, owner_id: str, etag: str, content: bytes) -> None:
        """Keep a body, if it has room. A disk that will not take it is a warning in the log, and no more."""
        size = _DIGEST_BYTES + len(content)
        if size > self._most:
            return
        path = self._path(owner_id, etag)
        tmp = path.with_name(f"{path.name}.{secrets.token_hex(6)}.tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            try:
                tmp.write_bytes(hashlib.sha256(content).digest() + content)
                tmp.replace(path)
            finally:
                tmp.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("an answer could not be kept on disk", error=str(error))

    def drop(self, owner_id: str) -> None:
        """Forget every answer of a job or data set. One drawn meanwhile may come after; nobody can ask for it."""
        try:
            for path, _, _ in self._entries():
                if path.name.startswith(f"{owner_id}."):
                    path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("not every answer of a deleted job could be removed", error=str(error))

    def _path(self, owner_id: str, etag: str) -> Path:
        name = etag.strip('"')
        return self._folder / f"{owner_id}.{name}"

    def _make_room(self, size: int) -> None:
        with self._lock:
            if size > self._may_write:
                self._may_write = max(size, self._most // _STEP)
                self._trim(self._most - self._may_write)
            self._may_write -= size

    def _trim(self, to_bytes: int) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry[1])
        total = sum(size for _, _, size in entries)
        for path, _, size in entries:
            if total <= to_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _entries(self) -> Iterator[tuple[Path, int, int]]:
        """Each file, half-written ones too: where it is, when it was last asked for, ns, and its bytes."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as found:
            for entry in found:
                # Another process may have dropped it since.
                with suppress(FileNotFoundError):
                    stat = entry.stat()
                    yield Path(entry.path), stat.st_mtime_ns, stat.st_size
