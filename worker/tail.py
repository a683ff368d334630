"""The last line of an attempt's log, fit to be shown to users: short, and without paths of this machine."""

from __future__ import annotations

import json
import re
from typing import Final

from jobs.errors import ArtifactLostError
from jobs.storage import Storage

_WINDOW: Final = 8192
_LONGEST: Final = 300
_PATH: Final = re.compile(r"(?<![\w:/])(?:/[^\s/'\":,]+){2,}/?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def last_line(artifacts: Storage, key: str) -> str:
    """Return the last line of the log `key`; empty when there is none."""
    try:
        lines = artifacts.read_range(key, -_WINDOW).decode(errors="replace").split("\n")
    except ArtifactLostError:
        return ""
    line = next((text for text in reversed(lines) if text.strip()), "")
    return _CONTROL.sub(" ", _PATH.sub("<path>", _event(line)))[:_LONGEST].strip()


def _event(line: str) -> str:
    """Return the event of a JSON line of our own logger; any other line unchanged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    return str(entry.get("event", line)) if isinstance(entry, dict) else line
