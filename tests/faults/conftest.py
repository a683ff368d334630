"""What the directed tests share with the tests of execution."""

from __future__ import annotations

from tests.worker.conftest import carry, sqlite_db

__all__ = ["carry", "sqlite_db"]
