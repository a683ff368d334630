"""The first key, which nobody can ask for over the API, as that takes a key: made in the record itself."""

from __future__ import annotations

from typing import Final

from jobs.db import Database
from jobs.keys import Scope
from jobs.models import DEFAULT_TENANT
from jobs.runtime.settings import Settings, load_settings
from jobs.store.callers import acts, api_keys

_NAME: Final = "first"


def first_key(settings: Settings | None = None) -> str | None:
    """A key of an administrator's; None: there is one already. Raises `DatabaseUnavailableError`, `MigrationsPendingError`."""
    settings = settings or load_settings()
    db = Database(settings.database)
    try:
        with db.write() as s:
            if api_keys.has_valid_admin_key(s):
                return None
            acts.set_actor(s, acts.LOCAL)
            return api_keys.create(s, DEFAULT_TENANT, _NAME, [Scope.ADMIN]).key
    finally:
        db.dispose()
