"""Authentication: read the key of a request and return its caller, or respond 401, 403 or 429.

Every route states the scope that it needs, by the context that it asks for (`api.context`) or with `OPEN`. A route
that states none fails for every request. Authentication comes before anything else of the request is read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from api.rate_limits import RateLimiter
from jobs.db import Database
from jobs.errors import InsufficientScopeError, InvalidKeyError, MissingKeyError, UnavailableError
from jobs.keys import Scope, digest_of, handle_of
from jobs.models import DEFAULT_TENANT
from jobs.store.callers import acts, api_keys

REMEMBERED_SECONDS: Final = 5.0
"""How long the result of a key lookup is reused. A revoked key may work for this long."""

_MOST_REMEMBERED: Final = 10_000
_BEARER: Final = "bearer "
# FastAPI adds these routes itself. They show the documentation and no data.
_DOCUMENTATION: Final = ("/docs", "/redoc", "/docs/oauth2-redirect")


@dataclass(frozen=True)
class Caller:
    """The tenant and the key of a request, and the scopes of that key."""

    tenant: str
    key_id: str | None
    """None where the service requires no key."""
    scopes: frozenset[str]

    @property
    def name(self) -> str:
        """The name under which the audit log records what this caller does."""
        return self.key_id or acts.LOCAL

    def may(self, scope: Scope) -> bool:
        """Return whether the key has `scope`, or is an administrator's."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


LOCAL: Final = Caller(DEFAULT_TENANT, None, frozenset(Scope))
"""The caller of every request where the service requires no key."""


class RequiresScope:
    """A dependency that states the scope that a route needs; None for a route that needs no key."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope

    async def __call__(self) -> None:
        """Do nothing: `authenticate` has checked the scope."""


OPEN: Final = Depends(RequiresScope(None))


class Authenticator:
    """The check of keys, one per process: it remembers lookups for `REMEMBERED_SECONDS` and counts requests."""

    def __init__(self, db: Database, rates: RateLimiter, *, required: bool) -> None:
        self._required = required
        self._db, self._rates = db, rates
        self._known: dict[str, tuple[float, Caller]] = {}

    async def admit(self, authorization: str | None, scope: Scope) -> Caller:
        """Return the caller that sent this Authorization header.

        Raises `MissingKeyError`, `InvalidKeyError`, `InsufficientScopeError`, `RateLimitedError` and
        `UnavailableError`.
        """
        if not self._required:
            return LOCAL
        caller = await self._caller(_key_in(authorization))
        await self._rates.count(caller.tenant, caller.key_id)
        if not caller.may(scope):
            raise InsufficientScopeError(scope)
        return caller

    async def still_admits(self, caller: Caller) -> bool:
        """Return whether the key of an admitted caller is still valid; True while the database is unavailable."""
        if caller.key_id is None:
            return True
        try:
            return await run_in_threadpool(self._is_valid, caller.key_id)
        except UnavailableError:
            return True

    def _is_valid(self, key_id: str) -> bool:
        with self._db.read() as s:
            return api_keys.is_valid(s, key_id)

    async def _caller(self, key: str) -> Caller:
        # By digest, so that this process holds no key in memory for longer than a request.
        digest = digest_of(key)
        until, caller = self._known.get(digest, (0.0, LOCAL))
        if time.monotonic() < until:
            return caller
        self._known.pop(digest, None)
        caller = await run_in_threadpool(self._look_up, key)
        while len(self._known) >= _MOST_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[digest] = (time.monotonic() + REMEMBERED_SECONDS, caller)
        return caller

    def _look_up(self, key: str) -> Caller:
        if handle_of(key) is None:
            raise InvalidKeyError
        with self._db.read() as s:
            row = api_keys.find_valid(s, key)
            stale = row is not None and api_keys.is_last_use_stale(s, row)
        if row is None:
            raise InvalidKeyError
        if stale:
            with self._db.write() as s:
                api_keys.record_use(s, row.id)
        return Caller(row.tenant, row.id, frozenset(row.scopes))


async def authenticate(request: Request) -> None:
    """Set `request.state.caller`, unless the route is open; the first check of every route.

    Raises what `Authenticator.admit` raises.
    """
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    scope = scope_of(route)
    if scope is not None:
        authenticator: Authenticator = request.app.state.services.authenticator
        request.state.caller = await authenticator.admit(request.headers.get("authorization"), scope)


def caller_of(request: Request) -> Caller:
    """Return the caller that `authenticate` admitted."""
    caller: Caller = request.state.caller
    return caller


_SCOPES: Final[WeakKeyDictionary[object, Scope | None]] = WeakKeyDictionary()


def scope_of(route: APIRoute) -> Scope | None:
    """Return the scope that a route needs; None for an open route. A route that states none fails an assertion."""
    if route.path in _DOCUMENTATION:
        return None
    if route.endpoint not in _SCOPES:
        named = {dependency.scope for dependency in _scope_dependencies(route.dependant)}
        assert len(named) == 1, f"{route.path} states {len(named)} scopes, not one: use a context of api.context"
        _SCOPES[route.endpoint] = named.pop()
    return _SCOPES[route.endpoint]


def _scope_dependencies(dependant: Dependant) -> Iterator[RequiresScope]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, RequiresScope):
            yield inner.call
        yield from _scope_dependencies(inner)


def _key_in(authorization: str | None) -> str:
    """Return the key in an Authorization header. Raises `MissingKeyError` or `InvalidKeyError`."""
    if not authorization:
        raise MissingKeyError
    if not authorization.lower().startswith(_BEARER):
        raise InvalidKeyError
    return authorization[len(_BEARER) :].strip()
