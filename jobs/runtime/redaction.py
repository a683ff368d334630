"""What no line of a log may hold: keys, signing secrets, passwords in URLs, what stands behind `Authorization`.

Applied to the finished line, so that it does not matter where in it a secret is: in a message of a library, a
traceback, an object's own words.
"""

from __future__ import annotations

import re
from typing import Final

_GONE: Final = "[redacted]"
# In a line of JSON: a value ends at a quote, or at the backslash of one. Each pattern stands beside the words without
# one of which it cannot match: to look for those takes a hundredth of the time, and most lines have none.
_SECRETS: Final = tuple(
    (words, re.compile(pattern, re.IGNORECASE | re.ASCII), rf"\g<kept>{_GONE}\g<after>")
    for words, pattern in (
        # API keys, and what webhooks are signed with.
        (("gan_live_", "gan_test_"), r"\b(?P<kept>gan_(?:live|test)_)\w+(?P<after>)"),
        (("whsec_",), r"\b(?P<kept>whsec_)[\w+/=-]+(?P<after>)"),
        # postgresql://gantry:secret@db, redis://:secret@broker; the scheme is not looked at, since a search for it
        # begins anew at each word of a path that somebody sends, which took seconds for a long one.
        (("://",), r"(?P<kept>://[^\s/:@\"\\]*:)[^\s/\"\\]*(?P<after>@)"),
        # A header in all the ways that headers are written: Authorization: Bearer x, ('authorization', b'Basic x')
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
    """`line` without what it must not hold."""
    lowered = line.lower()
    for words, pattern, instead in _SECRETS:
        if any(word in lowered for word in words):
            line = pattern.sub(instead, line)
    return line
