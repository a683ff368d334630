"""Where bytes live: one interface (`base`), its keys (`keys`), and a file for each back end (`disk`)."""

from __future__ import annotations

from jobs.runtime.settings import Settings
from jobs.storage.base import FileWriter, Storage, StoredFile
from jobs.storage.disk import DiskStorage

__all__ = ["FileWriter", "Storage", "StoredFile", "open_storage"]


def open_storage(settings: Settings) -> Storage:
    """Return the store that the settings name. Connects to nothing yet."""
    return DiskStorage(settings.data_dir.absolute())
