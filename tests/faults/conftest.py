"""What the directed tests share with the tests of execution."""

from __future__ import annotations

from tests.worker.conftest import carry, nurseries, sqlite_db

__all__ = ["carry", "nurseries", "sqlite_db"]
