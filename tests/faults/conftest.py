"""What the directed tests share with the tests of execution."""

from __future__ import annotations

from tests.worker.conftest import fork_servers, run, sqlite_db

__all__ = ["fork_servers", "run", "sqlite_db"]
