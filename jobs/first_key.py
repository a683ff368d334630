"""The first administrator's key. It is written into the database, because the API needs a key to create keys."""

from __future__ import annotations

from typing import Final

from jobs.db import Database
from jobs.keys import Scope
from jobs.models import DEFAULT_TENANT
from jobs.runtime.settings import Settings
from jobs.store.callers import acts, api_keys

_NAME: Final = "first"


def first_key(settings: Settings) -> str | None:
    """Create an administrator's key and return it, or return None if there is a valid one already.

    Raises `DatabaseUnavailableError`, `MigrationsPendingError`.
    """
    db = Database(settings.database)
    try:
        with db.write() as s:
            if api_keys.has_valid_admin_key(s):
                return None
            acts.set_actor(s, acts.LOCAL)
            return api_keys.create(s, DEFAULT_TENANT, _NAME, [Scope.ADMIN]).key
    finally:
        db.dispose()
