"""Conditional requests, content negotiation and preferences: the parts of RFC 9110 and RFC 7240 in use here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from fastapi import Response

from api.http.errors import NotAcceptableError

LONGEST_WAIT_SECONDS: Final = 60
VARY: Final = {"Vary": "Accept"}
"""A header for every response of a route that negotiates; without it a cache would ignore Accept."""

_GZIP: Final = "-gzip"
_ETAG: Final = re.compile(r'(?:W/)?("[^"]*")')
_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)


def etag_of(*parts: bytes | str) -> str:
    """Return a strong ETag, which is equal exactly when all parts are equal."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return f'"{digest.hexdigest()[:40]}"'


def etag_of_gzip(etag: str) -> str:
    """Return the ETag of the same body in compressed form. Its bytes differ, so a strong ETag must differ too."""
    return f'{etag[:-1]}{_GZIP}"'


def matches(if_none_match: str | None, etag: str) -> bool:
    """Return whether If-None-Match has `etag` (RFC 9110, section 13.1.2: weak comparison), plain or compressed."""
    if if_none_match is not None and if_none_match.strip() == "*":
        return True
    return matches_exactly(if_none_match, etag) or matches_exactly(if_none_match, etag_of_gzip(etag))


def matches_exactly(if_none_match: str | None, etag: str) -> bool:
    """Return whether If-None-Match names `etag` itself."""
    return etag in _ETAG.findall(if_none_match or "")


def not_modified(etag: str, **headers: str) -> Response:
    """Return a 304 response, with the headers that the full response would have."""
    return Response(status_code=304, headers={"ETag": etag, **headers})


def wait_seconds(prefer: str | None) -> int | None:
    """Return N of `Prefer: wait=N`, at most 60; None if the header does not ask to wait."""
    found = _WAIT.search(prefer or "")
    return min(int(found.group(1)), LONGEST_WAIT_SECONDS) if found else None


def negotiate(accept: str | None, offered: Sequence[str]) -> str:
    """Return the offered media type with the highest quality in `accept`; of several, and without Accept, the first.

    Raises `NotAcceptableError` if none has a quality above 0.
    """
    if not (accept or "").strip():
        return offered[0]
    assert accept is not None
    ranges = [_media_range(part) for part in accept.split(",")]
    best = max(offered, key=lambda media: _quality(media, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptableError(accept, offered)
    return best


def _media_range(part: str) -> tuple[str, float]:
    """Return ("type/subtype", q) of one element of Accept; an invalid q counts as 0."""
    media, *parameters = (p.strip() for p in part.split(";"))
    q = next((p[2:].strip() for p in parameters if p.lower().startswith("q=")), "1")
    return media.lower(), float(q) if re.fullmatch(r"[01](\.\d{0,3})?", q) else 0.0


def _quality(media: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return q of the most specific media range that covers `media`; 0 if none does."""
    for pattern in (media, media.split("/")[0] + "/*", "*/*"):
        found = [q for name, q in ranges if name == pattern]
        if found:
            return max(found)
    return 0.0
