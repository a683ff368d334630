"""Removal of secrets from log lines: keys, signing secrets, passwords in URLs, values of `Authorization`.

It works on the finished line, so it does not matter where a secret comes from: the message of a library, a traceback,
or the repr of an object.
"""

from __future__ import annotations

import re
from typing import Final

_REDACTED: Final = "[redacted]"
# For a line of JSON: a value ends at a quote, or at the backslash of an escaped quote. Beside each pattern stand
# words, one of which every match contains. A search for them takes a hundredth of the time, and most lines contain
# none.
_SECRETS: Final = tuple(
    (words, re.compile(pattern, re.IGNORECASE | re.ASCII), rf"\g<kept>{_REDACTED}\g<after>")
    for words, pattern in (
        # API keys, and the secrets that sign webhooks.
        (("gan_live_", "gan_test_"), r"\b(?P<kept>gan_(?:live|test)_)\w+(?P<after>)"),
        (("whsec_",), r"\b(?P<kept>whsec_)[\w+/=-]+(?P<after>)"),
        # postgresql://gantry:secret@db, redis://:secret@broker. The pattern leaves out the scheme: a search for it
        # would start again at each word of a path that a caller sends, which took seconds for a long path.
        (("://",), r"(?P<kept>://[^\s/:@\"\\]*:)[^\s/\"\\]*(?P<after>@)"),
        # A header in every notation: Authorization: Bearer x, ('authorization', b'Basic x')
        (
            ("authorization",),
            r"(?P<kept>\bauthorization\\?[\"']?\s*[:=,]\s*(?:b(?=\\?[\"']))?\\?[\"']?"
            r"(?:(?:bearer|basic|digest|token)\s+)?)[^\s\"'\\,)]+(?P<after>)",
        ),
        (("bearer", "basic"), r"(?P<kept>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}(?P<after>)"),
        # "password": "x", 'api_key': 'x', secret=x
        (
            ("password", "passwd", "secret", "apikey", "api_key", "token"),
            r"(?P<kept>\b\w*(?:password|passwd|secret|api_?key|token)\\?[\"']?\s*[:=]\s*\\?[\"']?)"
            r"[^\s\"'\\,)}&]+(?P<after>)",
        ),
    )
)


def redact(line: str) -> str:
    """Return `line` with every secret replaced by [redacted]."""
    lowered = line.lower()
    for words, pattern, replacement in _SECRETS:
        if any(word in lowered for word in words):
            line = pattern.sub(replacement, line)
    return line
