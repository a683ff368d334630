"""Conditional requests, content negotiation and preferences: what is used here of RFC 9110 and RFC 7240."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from fastapi import Response

from api.http.errors import NotAcceptableError

LONGEST_WAIT_SECONDS: Final = 60
VARY: Final = {"Vary": "Accept"}
"""On every answer of a route that negotiates, or a cache gives one caller's type to another."""

_ETAG: Final = re.compile(r'(?:W/)?("[^"]*")')
_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)


def etag_of(*parts: bytes | str) -> str:
    """A strong ETag: equal exactly when all the parts are."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return f'"{digest.hexdigest()[:40]}"'


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the caller already holds what `etag` stands for (RFC 9110, section 13.1.2: weak comparison)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in _ETAG.findall(if_none_match)


def not_modified(etag: str, **headers: str) -> Response:
    """304, with the headers that the full answer would have had."""
    return Response(status_code=304, headers={"ETag": etag, **headers})


def wait_seconds(prefer: str | None) -> int | None:
    """N of `Prefer: wait=N`, at most 60; None when nobody asked to wait."""
    found = _WAIT.search(prefer or "")
    return min(int(found.group(1)), LONGEST_WAIT_SECONDS) if found else None


def negotiate(accept: str | None, offered: Sequence[str]) -> str:
    """The media type of `offered` that `accept` likes best; among equals, and without Accept, the first.

    Raises `NotAcceptableError` naming what is offered.
    """
    if not (accept or "").strip():
        return offered[0]
    assert accept is not None
    wishes = [_wish(part) for part in accept.split(",")]
    best = max(offered, key=lambda media: _quality(media, wishes))
    if _quality(best, wishes) <= 0:
        raise NotAcceptableError(accept, offered)
    return best


def _wish(part: str) -> tuple[str, float]:
    """("type/subtype", q) of one element of Accept; an unreadable q counts as 0."""
    media, *parameters = (p.strip() for p in part.split(";"))
    q = next((p[2:].strip() for p in parameters if p.lower().startswith("q=")), "1")
    return media.lower(), float(q) if re.fullmatch(r"[01](\.\d{0,3})?", q) else 0.0


def _quality(media: str, wishes: Sequence[tuple[str, float]]) -> float:
    """q of the most specific element that covers `media`; 0 when none does."""
    for pattern in (media, media.split("/")[0] + "/*", "*/*"):
        found = [q for wish, q in wishes if wish == pattern]
        if found:
            return max(found)
    return 0.0
