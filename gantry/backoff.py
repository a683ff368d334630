"""Pauses between requests while the service is away for a short time, for example during a restart."""

from __future__ import annotations

import time
from typing import Final

from gantry.errors import ApiError, UnreachableError

_FIRST_PAUSE_SECONDS: Final = 0.1
_MAX_PAUSE_SECONDS: Final = 2.0
_MAX_OUTAGE_SECONDS: Final = 60


class Backoff:
    """Pauses that grow while the service is away. A service that never answered is not waited for."""

    def __init__(self) -> None:
        self._ever_answered, self._pause = False, _FIRST_PAUSE_SECONDS
        self._away_since: float | None = None

    def reset(self) -> None:
        """Note that the service answered. The next pause is short again."""
        self._ever_answered, self._away_since, self._pause = True, None, _FIRST_PAUSE_SECONDS

    def wait(self, error: UnreachableError | ApiError | None = None) -> None:
        """Sleep for the next pause.

        Raises `error` instead if another request would not help: the service refused with a status other than 503, it
        has never answered, or it has been away for a minute.
        """
        self._away_since = self._away_since or time.monotonic()
        refused = isinstance(error, ApiError) and error.status != 503
        too_long = time.monotonic() - self._away_since > _MAX_OUTAGE_SECONDS
        if error is not None and (refused or not self._ever_answered or too_long):
            raise error
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _MAX_PAUSE_SECONDS)
