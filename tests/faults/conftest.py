"""Fixtures of the worker's tests that tests of faults use."""

from __future__ import annotations

from tests.worker.conftest import fork_servers, run, sqlite_db

__all__ = ["fork_servers", "run", "sqlite_db"]
