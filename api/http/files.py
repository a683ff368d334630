"""A file as a response, whole or in ranges (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from jobs.storage import Storage

_RANGES: Final = re.compile(r"bytes[ \t]*=(?P<set>[^=]*)", re.IGNORECASE)
# int() refuses numbers of thousands of digits. 100 are more than a position in any file needs.
_RANGE: Final = re.compile(r"(?P<first>[0-9]{1,100})-(?P<last>[0-9]{1,100})?|-[0-9]{1,100}")


class StoredFileResponse(FileResponse):
    """A file of the storage, whole or in ranges.

    It ignores an invalid Range header, as section 14.2 says; Starlette's own class responds 400.
    """

    def __init__(
        self,
        storage: Storage,
        key: str,
        *,
        media_type: str,
        filename: str | None = None,
        headers: Mapping[str, str] | None = None,
        status_code: int = 200,  # FastAPI reads the default status from this signature, for the OpenAPI document
    ) -> None:
        super().__init__(key, status_code, headers, media_type, filename=filename)
        self._storage, self._key = storage, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or the ranges of a valid Range header. Raises `ArtifactLostError`."""
        header = Headers(scope=scope).get("range")
        if header is not None and not is_valid_range(header):
            others = [(name, value) for name, value in scope["headers"] if name.lower() != b"range"]
            scope = {**scope, "headers": others}
        with ExitStack() as stack:
            self.path = await run_in_threadpool(stack.enter_context, self._storage.local_path(self._key))
            await super().__call__(scope, receive, send)


def is_valid_range(header: str) -> bool:
    """Return whether a Range header has only valid ranges of bytes; the file may be shorter."""
    found = _RANGES.fullmatch(header.strip())
    parts = [part.strip() for part in found["set"].split(",") if part.strip()] if found else []
    return bool(parts) and all(_is_valid_part(part) for part in parts)


def _is_valid_part(part: str) -> bool:
    found = _RANGE.fullmatch(part)
    return found is not None and not (found["last"] and int(found["last"]) < int(found["first"]))
