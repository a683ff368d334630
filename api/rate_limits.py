"""Rate limits of keys and tenants, counted by the library `limits`.

Where the broker is Redis, all processes count together in it. Otherwise, and while Redis does not respond, each
process counts for itself.
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
# After a failure Redis is not tried again for a while, so that requests do not wait for it one after another.
_TIMEOUT_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 10.0

_log = structlog.get_logger("gantry.api")


class RateLimiter:
    """The counters of requests of every key and tenant; one per process."""

    def __init__(self, settings: Settings) -> None:
        self._shared = SlidingWindowCounterRateLimiter(store) if (store := _redis(settings.broker)) else None
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._retry_at = 0.0
        self._key = parse(settings.key_rate) if settings.key_rate else None
        self._tenant = parse(settings.tenant_rate) if settings.tenant_rate else None

    async def count(self, tenant: str, key_id: str | None) -> None:
        """Count one request. Raises `RateLimitedError` if the key or the tenant has reached its limit."""
        for limit, kind, name in ((self._key, "key", key_id), (self._tenant, "tenant", tenant)):
            if limit is not None and name is not None:
                await self._hit(limit, kind, name)

    async def _hit(self, limit: RateLimitItem, kind: str, name: str) -> None:
        if self._shared is not None and time.monotonic() >= self._retry_at:
            try:
                return await _count(self._shared, limit, kind, name)
            except StorageError as error:
                self._retry_at = time.monotonic() + _RETRY_SECONDS
                _log.warning("each process counts requests for itself", reason=str(error.storage_error))
        return await _count(self._own, limit, kind, name)


def _redis(broker: str) -> RedisStorage | None:
    """Return the storage in which several processes count together; None if the broker is not Redis."""
    if not broker.startswith(_REDIS):
        return None
    url = broker.replace(_SOCKET, "redis+unix://", 1)
    timeouts: Any = {"socket_connect_timeout": _TIMEOUT_SECONDS, "socket_timeout": _TIMEOUT_SECONDS}
    return RedisStorage(f"async+{url}", implementation="redispy", wrap_exceptions=True, **timeouts)


async def _count(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, kind: str, name: str) -> None:
    if not await limiter.hit(limit, "gantry", kind, name):
        window = await limiter.get_window_stats(limit, "gantry", kind, name)
        raise _rate_limited(limit, kind, max(1, math.ceil(window.reset_time - time.time())))


def _rate_limited(limit: RateLimitItem, kind: str, seconds: int) -> RateLimitedError:
    allowed = f"{limit.amount} requests in {limit.get_expiry()} s of one {kind}"
    return RateLimitedError(allowed, seconds, policy=f'"{kind}";q={limit.amount};w={limit.get_expiry()}', name=kind)
