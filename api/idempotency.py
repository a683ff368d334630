"""`Idempotency-Key`: a creating request that is sent again with its key gets its first answer, and makes no double.

A caller whose connection breaks cannot know whether its request was heard; with a key it need not.
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
_FORM: Final[dict[str, Any]] = {"pattern": f"^{_VISIBLE.pattern}$"}
_WORDS: Final = (
    "Of your making, such as a UUID: sent again within 24 hours with the same key, the same request gets the same "
    "answer, and makes nothing new."
)


@dataclass(frozen=True)
class StoredResponse:
    """What a creating request is answered with: all that is kept of it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    replayed: bool = False
    """That the request was carried out before, and not this time."""

    def response(self) -> Response:
        again = {REPLAYED: "true"} if self.replayed else {}
        return Response(self.body, self.status, {**self.headers, **again}, media_type="application/json")


class IdempotentRequest:
    """Sees to it that a request is carried out once, however often it is sent; each time, if it brings no key."""

    def __init__(self, caller: str, key: str | None, address: str) -> None:
        self._caller, self._key, self._address = caller, key, address

    def answered(self, s: Session, content: object) -> StoredResponse | None:
        """What this very request was answered with before; None where it was not. Raises `IdempotencyKeyReusedError`."""
        if self._key is None:
            return None
        found = idempotency.find_response(s, self._caller, self._key, self._fingerprint(content))
        return None if found is None else _again(found)

    def carry_out(self, s: Session, content: object, create: Callable[[], StoredResponse]) -> StoredResponse:
        """What `create` answers, kept in the same transaction; or what was answered before, and nothing is created.

        The same request at the same time waits until this transaction has ended. `content` is what the request holds
        beside its address, as JSON values. Raises `IdempotencyKeyReusedError`.
        """
        if self._key is None:
            return create()
        found = idempotency.reserve(s, self._caller, self._key, self._fingerprint(content))
        if found is not None:
            return _again(found)
        answer = create()
        idempotency.store_response(s, self._caller, self._key, answer.status, dict(answer.headers), answer.body)
        return answer

    def _fingerprint(self, content: object) -> str:
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{self._address}\n{canonical}".encode()).hexdigest()


async def _once(
    request: Request,
    key: Annotated[str | None, Header(alias=KEY, description=_WORDS, json_schema_extra=_FORM)] = None,
) -> IdempotentRequest:
    """Raises `BadParametersError`."""
    if len(request.headers.getlist(KEY)) > 1 or (key is not None and not _VISIBLE.fullmatch(key)):
        detail = f"{KEY} takes one key of 1 to 255 visible ASCII characters, such as a UUID."
        raise BadParametersError([SpecProblem(pointer=f"/{KEY}", code="bad-format", detail=detail)])
    url = request.url
    return IdempotentRequest(caller_of(request).tenant, key, f"{request.method} {url.path}?{url.query}")


def _again(found: IdempotencyKey) -> StoredResponse:
    return StoredResponse(found.status, found.body, found.headers, replayed=True)


Idempotent = Annotated[IdempotentRequest, Depends(_once)]
