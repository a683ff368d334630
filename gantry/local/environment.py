"""The environment variables with which the client starts processes of the service."""

from __future__ import annotations

import os


def service_environment() -> dict[str, str]:
    """Return the variables of this process for a process of the service, which it starts as `python -m MODULE`."""
    # It is for a browser. Libraries open the file when they are imported, and fail if it cannot be made.
    own = {name: value for name, value in os.environ.items() if name != "SSLKEYLOGFILE"}
    # With -m, Python imports from the current folder first. A user's own `gan.py` or `jobs.py` would hide ours.
    return {**own, "PYTHONSAFEPATH": "1"}
