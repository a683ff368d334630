"""The optional parts of an installation: the libraries of each extra, and the error when one is missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

_RECORD: Final = ("alembic", "celery", "numpy", "psycopg", "pydantic_settings", "sqlalchemy", "structlog", "ulid")
_SERVER: Final = (*_RECORD, "fastapi", "limits", "matplotlib", "standardwebhooks", "uvicorn")
_WORKER: Final = (*_RECORD, "pynvml", "safetensors", "setproctitle", "starlette", "torch", "torchmetrics", "uvicorn")
_UI: Final = (*_SERVER, "nicegui")

LIBRARIES: Final[dict[str, tuple[str, ...]]] = {
    "arrays": ("numpy",),
    "record": _RECORD,
    "server": _SERVER,
    "worker": _WORKER,
    "ui": _UI,
    "all": (*_UI, *_WORKER),
}
"""The modules that must be importable for an extra to count as installed."""


class MissingExtraError(Exception):
    """An optional part of Gantry is not installed. The message names the extra that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs libraries that are not installed. Run: pip install 'gantry[{extra}]'")
        self.extra = extra


def require(what: str, extra: str) -> None:
    """Check that the libraries of `extra` are installed, without importing them. `what` begins the error's message.

    Raises `MissingExtraError`.
    """
    if not all(map(find_spec, LIBRARIES[extra])):
        raise MissingExtraError(what, extra)
