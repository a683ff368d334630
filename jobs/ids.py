"""Ids: a prefix that names the kind of object, then a ULID, so that ids sort by creation time."""

from __future__ import annotations

import re
from typing import Final, Literal

from ulid import ULID

Prefix = Literal["job", "ckpt", "ds", "wrk", "key", "hook", "msg"]

_SHAPE: Final = re.compile(r"(job|ckpt|ds|wrk|key|hook|msg)_[0-9A-HJKMNP-TV-Z]{26}")


def new_id(prefix: Prefix) -> str:
    """Return a fresh id, such as `job_01JD2M9Z8V3H4W5X6Y7Z8A9B0C`."""
    return f"{prefix}_{ULID()}"


def looks_like(prefix: Prefix, text: str) -> bool:
    """Return whether `text` has the form of an id of this kind. If not, no query is needed."""
    return _SHAPE.fullmatch(text) is not None and text.startswith(prefix + "_")
