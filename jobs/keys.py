"""The format of an API key: `gan_live_`, 32 random characters, and a checksum of them.

The prefix lets a scanner find a key that was published by mistake. The checksum detects a mistyped key without a
query. The first eight of the 32 characters are the handle, by which the key is looked up. The other 24 (143 bits) are
secret, which is enough entropy for a plain sha256 of the whole key to be a safe way to store it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from enum import StrEnum
from typing import Final

PREFIX: Final = "gan_live_"
HANDLE_LENGTH: Final = 8

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH: Final = 32
_SUM_LENGTH: Final = 6
_SHAPE: Final = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{_RANDOM_LENGTH}}})_([0-9A-Za-z]{{{_SUM_LENGTH}}})")


class Scope(StrEnum):
    """What a key lets its holder do. No scope includes another, except `admin`, which includes all."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    DATASETS_WRITE = "datasets:write"
    ADMIN = "admin"


def new_key() -> str:
    """Return a fresh key. It is shown once: the database stores only its digest."""
    characters = "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM_LENGTH))
    return f"{PREFIX}{characters}_{_checksum(characters)}"


def handle_of(key: str) -> str | None:
    """Return the handle of the key; None if the text has not the form of a key."""
    found = _SHAPE.fullmatch(key)
    if found is None or not hmac.compare_digest(_checksum(found[1]), found[2]):
        return None
    return found[1][:HANDLE_LENGTH]


def digest_of(key: str) -> str:
    """Return the sha256 of the key in hex, which is what the database stores."""
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(characters: str) -> str:
    """Return the CRC-32 of `characters` as six digits in base 62."""
    rest, digits = zlib.crc32(characters.encode()), ""
    for _ in range(_SUM_LENGTH):
        rest, digit = divmod(rest, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
