"""The cache of drawn images on disk, by job or data set and by ETag, so that a repeated request needs no sampler.

It is a cache of one machine, and no part of the store (`jobs.storage`): all that it holds can be drawn again. All
API processes of the machine share the folder, and its contents outlive them. The cache checks no permissions: a
route first looks up the job and its checkpoint.
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
# A process measures the folder again after it has written 1/16 of the largest size. Other processes write too, so
# each of them may exceed the size by as much.
_MEASURED_FRACTION: Final = 16


class SampleCache:
    """Response bodies in `folder`, `most_bytes` at most (0: no cache); the least recently used are removed first."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most = folder, most_bytes
        self._lock = threading.Lock()
        self._may_write = 0

    def get(self, owner_id: str, etag: str) -> bytes | None:
        """Return the stored body; None if there is none or it cannot be read."""
        path = self._path(owner_id, etag)
        try:
            data = path.read_bytes()
            digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
            if hashlib.sha256(content).digest() != digest:
                # `put` does not sync the file. After a loss of power it may be incomplete.
                path.unlink(missing_ok=True)
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("a cached response cannot be read", error=str(error))
            return None
        with suppress(OSError):  # removed meanwhile, or owned by another user: the content was read nevertheless
            os.utime(path)
        return content

    def put(self, owner_id: str, etag: str, content: bytes) -> None:
        """Store a body, unless it is larger than the cache. If the disk fails, log a warning and store nothing."""
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
            _log.warning("a response could not be cached", error=str(error))

    def drop(self, owner_id: str) -> None:
        """Remove every body of a deleted job or data set.

        A body that is being drawn may still be stored afterwards. It is never served, because its owner is deleted.
        """
        try:
            for path, _, _ in self._entries():
                if path.name.startswith(f"{owner_id}."):
                    path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("cached responses of a deleted owner could not all be removed", error=str(error))

    def _path(self, owner_id: str, etag: str) -> Path:
        name = etag.strip('"')
        return self._folder / f"{owner_id}.{name}"

    def _make_room(self, size: int) -> None:
        with self._lock:
            if size > self._may_write:
                self._may_write = max(size, self._most // _MEASURED_FRACTION)
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
        """Yield the path, the time of last use (ns) and the size (bytes) of each file, also of incomplete ones."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as found:
            for entry in found:
                # Another process may have removed it meanwhile.
                with suppress(FileNotFoundError):
                    stat = entry.stat()
                    yield Path(entry.path), stat.st_mtime_ns, stat.st_size
