"""How many requests a key and a tenant may make: counted by `limits`, in Redis where the queue is there, so that many
processes count together; else, and while Redis does not answer, each process for itself.
"""

from __future__ import annotations

import math
import time
from typing import Any, Final

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from jobs.errors import RateLimitedError
from jobs.runtime.settings import Settings

_SOCKET: Final = "redis+socket://"
_REDIS: Final = ("redis://", "rediss://", _SOCKET)
# A request waits for no queue that is away: it is asked again a little later.
_PATIENCE_SECONDS: Final = 0.5
_ASKED_AGAIN_SECONDS: Final = 10.0

_log = structlog.get_logger("gantry.api")


class RateLimiter:
    """One a process."""

    def __init__(self, settings: Settings) -> None:
        self._shared = SlidingWindowCounterRateLimiter(store) if (store := _shared(settings.broker)) else None
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._away_until = 0.0
        self._key = parse(settings.key_rate) if settings.key_rate else None
        self._tenant = parse(settings.tenant_rate) if settings.tenant_rate else None

    async def count(self, tenant: str, key_id: str | None) -> None:
        """One more request. Raises `RateLimitedError`."""
        for limit, whose, name in ((self._key, "key", key_id), (self._tenant, "tenant", tenant)):
            if limit is not None and name is not None:
                await self._hit(limit, whose, name)

    async def _hit(self, limit: RateLimitItem, whose: str, name: str) -> None:
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                return await _count(self._shared, limit, whose, name)
            except StorageError as error:
                self._away_until = time.monotonic() + _ASKED_AGAIN_SECONDS
                _log.warning("requests are counted by each process for itself", reason=str(error.storage_error))
        return await _count(self._own, limit, whose, name)


def _shared(broker: str) -> RedisStorage | None:
    """Where several processes count together; None: there is no such place."""
    if not broker.startswith(_REDIS):
        return None
    url = broker.replace(_SOCKET, "redis+unix://", 1)
    patience: Any = {"socket_connect_timeout": _PATIENCE_SECONDS, "socket_timeout": _PATIENCE_SECONDS}
    return RedisStorage(f"async+{url}", implementation="redispy", wrap_exceptions=True, **patience)


async def _count(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, whose: str, name: str) -> None:
    if not await limiter.hit(limit, "gantry", whose, name):
        window = await limiter.get_window_stats(limit, "gantry", whose, name)
        raise _refusal(limit, whose, max(1, math.ceil(window.reset_time - time.time())))


def _refusal(limit: RateLimitItem, whose: str, seconds: int) -> RateLimitedError:
    allowed = f"{limit.amount} requests in {limit.get_expiry()} s of one {whose}"
    return RateLimitedError(allowed, seconds, policy=f'"{whose}";q={limit.amount};w={limit.get_expiry()}', name=whose)
