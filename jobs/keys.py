"""What a key to the API looks like: `gan_live_`, 32 characters of chance, and a checksum of them.

The prefix lets a scanner find a key that was published by mistake, the checksum tells a mistyped one without asking
anybody. Of its 32 characters the first eight are its handle, by which it is looked up; the other 24 (143 bits) are
secret, so that a plain sha256 of the whole keeps it.
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
    """What a key lets its holder do; no scope holds another, but `admin`, which holds all."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    DATASETS_WRITE = "datasets:write"
    ADMIN = "admin"


def new_key() -> str:
    """A fresh key. It is shown once: nobody can read it from the record."""
    chance = "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM_LENGTH))
    return f"{PREFIX}{chance}_{_checksum(chance)}"


def handle_of(key: str) -> str | None:
    """By which the key is looked up; None: that is no key, whoever is asked."""
    found = _SHAPE.fullmatch(key)
    if found is None or not hmac.compare_digest(_checksum(found[1]), found[2]):
        return None
    return found[1][:HANDLE_LENGTH]


def digest_of(key: str) -> str:
    """What is kept of it."""
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(chance: str) -> str:
    """CRC-32 in base 62."""
    rest, digits = zlib.crc32(chance.encode()), ""
    for _ in range(_SUM_LENGTH):
        rest, digit = divmod(rest, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
