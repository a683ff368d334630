"""Orphans: the folders of jobs and data sets that no row of the database owns."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from jobs.ids import Prefix, looks_like
from jobs.storage.base import Storage


def find_orphans(
    storage: Storage, area: str, kind: Prefix, known: Callable[[], Collection[str]], older_than_seconds: float
) -> list[tuple[str, str]]:
    """Return (tenant, id) of each folder in `area` that no row owns and that nothing was written to for so long.

    `known` returns the ids on record. It is called after the folders are listed: the owner of a folder that is
    created in between would be missing from an older list.
    """
    files = storage.within(area)
    found = [(tenant, name) for tenant in files.folders() for name in files.folders(tenant) if looks_like(kind, name)]
    ids, before = known(), time.time() - older_than_seconds
    return [
        (tenant, name) for tenant, name in found if name not in ids and files.modified_at(f"{tenant}/{name}") < before
    ]
