"""One service for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs.runtime.settings import Settings
from tests.api.shell import service


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Yield the settings of a running API process without a worker. All tests of this folder share it."""
    with service(tmp_path_factory.mktemp("served")) as settings:
        yield settings
