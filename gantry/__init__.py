"""The Gantry client: `from gantry import Client`, and the command `gantry`.

It speaks to a service over HTTP and needs no server, no database and no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gantry.client import ApiError, BadSettingError, Client, UnreachableError

__all__ = ["ApiError", "BadSettingError", "Client", "UnreachableError", "__version__"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `gantry --help` does not wait for the HTTP library. Raises `AttributeError`."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("gantry")
    if name in __all__:
        from gantry import client  # noqa: PLC0415

        return getattr(client, name)
    raise AttributeError(f"module 'gantry' has no attribute {name!r}")
