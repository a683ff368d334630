"""A file as an answer, whole or in ranges (RFC 9110, section 14)."""

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
# So many digits at most that int() reads them; a longer number is no place in any file.
_RANGE: Final = re.compile(r"(?P<first>[0-9]{1,100})-(?P<last>[0-9]{1,100})?|-[0-9]{1,100}")


class StoredFileResponse(FileResponse):
    """A file of the store, whole or in ranges.

    It ignores a Range header that it cannot read, as section 14.2 says, where Starlette's own answers 400.
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
        wanted = Headers(scope=scope).get("range")
        if wanted is not None and not readable_range(wanted):
            kept = [(name, value) for name, value in scope["headers"] if name.lower() != b"range"]
            scope = {**scope, "headers": kept}
        with ExitStack() as block:
            self.path = await run_in_threadpool(block.enter_context, self._storage.local_path(self._key))
            await super().__call__(scope, receive, send)


def readable_range(header: str) -> bool:
    """Whether it asks for ranges of bytes, each of which could be of some file."""
    found = _RANGES.fullmatch(header.strip())
    parts = [part.strip() for part in found["set"].split(",") if part.strip()] if found else []
    return bool(parts) and all(_could_be(part) for part in parts)


def _could_be(part: str) -> bool:
    found = _RANGE.fullmatch(part)
    return found is not None and not (found["last"] and int(found["last"]) < int(found["first"]))
