"""`Idempotency-Key`: a creating request that is repeated with its key gets the first response and creates nothing.

A caller whose connection breaks cannot know whether its request arrived. With a key it can send it again safely.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request, Response

from api.auth import caller_of
from api.http.errors import BadParametersError
from gan.spec import SpecProblem
from jobs.db import Session
from jobs.models import IdempotencyKey
from jobs.store.callers import idempotency

KEY: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"

_VISIBLE: Final = re.compile(r"[\x21-\x7e]{1,255}")
_PATTERN: Final[dict[str, Any]] = {"pattern": f"^{_VISIBLE.pattern}$"}
_DESCRIPTION: Final = (
    "A value that you choose, such as a UUID. If you send the same request again with the same key within 24 hours, "
    "you get the same response, and nothing new is created."
)


@dataclass(frozen=True)
class StoredResponse:
    """The response to a creating request, as it is stored with its key."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    replayed: bool = False
    """True if an earlier request was carried out, and not this one."""

    def response(self) -> Response:
        """Return the HTTP response."""
        replayed = {REPLAYED: "true"} if self.replayed else {}
        return Response(self.body, self.status, {**self.headers, **replayed}, media_type="application/json")


class IdempotentRequest:
    """A request that is carried out once, however often it is sent with its key; every time if it has no key."""

    def __init__(self, caller: str, key: str | None, address: str) -> None:
        self._caller, self._key, self._address = caller, key, address

    def stored(self, s: Session, content: object) -> StoredResponse | None:
        """Return the stored response to this same request; None if there is none.

        Raises `IdempotencyKeyReusedError` if the key belongs to another request.
        """
        if self._key is None:
            return None
        found = idempotency.find_response(s, self._caller, self._key, self._fingerprint(content))
        return None if found is None else _replay(found)

    def is_known(self, s: Session) -> bool:
        """Return whether a request with this key was carried out before, this one or another."""
        return self._key is not None and idempotency.is_known(s, self._caller, self._key)

    def carry_out(self, s: Session, content: object, create: Callable[[], StoredResponse]) -> StoredResponse:
        """Return the result of `create`, stored in the same transaction; or the stored response, without a call.

        The same request sent at the same time waits until this transaction has ended. `content` is what the request
        holds besides its address, as JSON values. Raises `IdempotencyKeyReusedError`, and what `create` raises.
        """
        if self._key is None:
            return create()
        found = idempotency.reserve(s, self._caller, self._key, self._fingerprint(content))
        if found is not None:
            return _replay(found)
        response = create()
        idempotency.store_response(s, self._caller, self._key, response.status, dict(response.headers), response.body)
        return response

    def _fingerprint(self, content: object) -> str:
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{self._address}\n{canonical}".encode()).hexdigest()


async def _idempotent_request(
    request: Request,
    key: Annotated[str | None, Header(alias=KEY, description=_DESCRIPTION, json_schema_extra=_PATTERN)] = None,
) -> IdempotentRequest:
    """Read the key from the headers. Raises `BadParametersError`."""
    if len(request.headers.getlist(KEY)) > 1 or (key is not None and not _VISIBLE.fullmatch(key)):
        detail = f"{KEY} must be one value of 1 to 255 visible ASCII characters, such as a UUID."
        raise BadParametersError([SpecProblem(pointer=f"/{KEY}", code="bad-format", detail=detail)])
    url = request.url
    return IdempotentRequest(caller_of(request).tenant, key, f"{request.method} {url.path}?{url.query}")


def _replay(found: IdempotencyKey) -> StoredResponse:
    return StoredResponse(found.status, found.body, found.headers, replayed=True)


Idempotent = Annotated[IdempotentRequest, Depends(_idempotent_request)]
