"""The Gantry client: `from gantry import Client`, and the command `gantry`.

It uses the service's HTTP API and needs no server, no database and no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gantry.client import Client
    from gantry.errors import ApiError, BadSettingError, UnreachableError
    from gantry.extras import MissingExtraError

__all__ = ["ApiError", "BadSettingError", "Client", "MissingExtraError", "UnreachableError", "__version__"]

_MODULES: Final = {
    "ApiError": "gantry.errors",
    "BadSettingError": "gantry.errors",
    "Client": "gantry.client",
    "MissingExtraError": "gantry.extras",
    "UnreachableError": "gantry.errors",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing a submodule does not load the HTTP library.

    Raises `AttributeError`.
    """
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("gantry")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'gantry' has no attribute {name!r}")
