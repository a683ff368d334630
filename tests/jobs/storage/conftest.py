"""The back ends that must pass the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from jobs.storage import Storage
from jobs.storage.disk import DiskStorage
from tests.jobs.storage.remote import RemoteStorage


def _remote(folder: Path) -> Storage:
    (folder / "scratch").mkdir()
    return RemoteStorage(folder / "scratch")


BACK_ENDS: Final[dict[str, Callable[[Path], Storage]]] = {
    "disk": lambda folder: DiskStorage(folder / "data"),
    "remote": _remote,
}
"""Each makes an empty store; it may use the folder for what it keeps on this machine."""


@pytest.fixture(params=BACK_ENDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return an empty store of each back end."""
    return BACK_ENDS[request.param](tmp_path)
