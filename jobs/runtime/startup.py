"""How every process of the service begins: its settings, or one sentence; then its logs."""

from __future__ import annotations

import os
import sys

from jobs.errors import SettingsError
from jobs.runtime import failpoints, logs
from jobs.runtime.settings import Settings, load_settings


def begin(process: str) -> Settings:
    """This process's settings, its logs set up; `process` is what it calls itself there.

    A setting that cannot be is one sentence on stderr and `SystemExit` with 2.
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
    """Have all files and folders that this process makes be its user's alone."""
    os.umask(0o077)
