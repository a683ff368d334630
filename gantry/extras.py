"""Optional parts of an installation: which libraries each extra brings, and the sentence when one is missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

LIBRARIES: Final[dict[str, tuple[str, ...]]] = {
    "arrays": ("numpy",),
    "server": ("sqlalchemy", "fastapi"),
    "worker": ("torch", "sqlalchemy"),
    "ui": ("nicegui",),
}
"""Extra -> libraries that prove it is installed."""


class MissingExtraError(Exception):
    """A part of Gantry is not installed. The sentence names the extra that brings it."""

    def __init__(self, what: str, missing: list[str]) -> None:
        extras = ",".join(missing)
        super().__init__(f"{what} needs a part of Gantry that is not installed. Run: pip install 'gantry[{extras}]'")


def require(what: str, *extras: str) -> None:
    """Raise `MissingExtraError` if a library of one of `extras` is not installed. `what` begins the sentence."""
    if missing := [extra for extra in extras if not all(map(find_spec, LIBRARIES[extra]))]:
        raise MissingExtraError(what, missing)
