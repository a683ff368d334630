"""Errors of requests to the service. `gantry.extras` has the error for a missing extra."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """The service refused a request.

    `status` is the HTTP status, `code` the stable error code, and `problem` the whole RFC 9457 body.
    """

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status, self.problem = status, problem
        self.code: str = problem.get("code", "unknown")
        super().__init__(problem.get("detail") or f"The service answered {status}.")


class UnreachableError(Exception):
    """No service answers at the address."""


class BadSettingError(ValueError):
    """The address or the key is not valid. The message says which one, and never contains the key."""


class BadArgumentError(ValueError):
    """An argument cannot be an id or a name, such as an empty one."""


class FolderUnreadableError(OSError):
    """A part of a folder of images cannot be sent. The message names each part and the reason."""
