"""The start of every process of the service: load its settings, then set up its logs."""

from __future__ import annotations

import os
import sys

from jobs.errors import SettingsError
from jobs.runtime import failpoints, logs
from jobs.runtime.settings import Settings, load_settings


def begin(process: str) -> Settings:
    """Return the settings of this process, with its logs set up. `process` is its name in the logs.

    If a setting is not valid, print one sentence to stderr and raise `SystemExit` with code 2.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    restrict_file_permissions()
    logs.setup(settings, process)
    failpoints.arm(settings.faults_dir)
    return settings


def restrict_file_permissions() -> None:
    """Let only its own user read the files and folders that this process creates."""
    os.umask(0o077)
