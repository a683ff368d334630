"""The start of every process of the service: load its settings, then set up its logs."""

from __future__ import annotations

import os
import signal
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
    stop_on_hangup()
    logs.setup(settings, process)
    failpoints.arm(settings.faults_dir)
    return settings


def stop_on_hangup() -> None:
    """Let SIGHUP, which a closed terminal sends, stop this process as SIGTERM does. `nohup` prevents that."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    streams = (sys.__stdout__, sys.__stderr__)
    terminals = [stream.fileno() for stream in streams if stream is not None and stream.isatty()]

    def stop(*_: object) -> None:
        # Each write to the closed terminal would raise an error, also in the code that stops the process.
        null = os.open(os.devnull, os.O_WRONLY)
        for terminal in terminals:
            os.dup2(null, terminal)
        os.close(null)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGHUP, stop)


def restrict_file_permissions() -> None:
    """Let only its own user read the files and folders that this process creates."""
    os.umask(0o077)
