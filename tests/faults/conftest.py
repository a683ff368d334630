"""What the directed tests share with the tests of execution."""

from __future__ import annotations

from tests.worker.conftest import nurseries, run, sqlite_db

__all__ = ["nurseries", "run", "sqlite_db"]
