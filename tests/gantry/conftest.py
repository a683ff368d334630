"""The fixtures of the API tests: a service to talk to."""

from __future__ import annotations

from tests.api.conftest import client, hand, served

__all__ = ["client", "hand", "served"]
