"""Who is asking, and may they: a key in, a caller out, or 401, 403 and 429.

Every route names the scope that it needs, by the hall that it asks for (`api.context`) or with `OPEN`; one that names
none is answered to nobody. The look comes before anything of the request is read.
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
"""A key is looked up again after so long: that is how long a revoked one may still open."""

_MOST_REMEMBERED: Final = 10_000
_BEARER: Final = "bearer "
# Routes of the framework's own, which show the document and nothing of anybody's.
_DOCUMENTATION: Final = ("/docs", "/redoc", "/docs/oauth2-redirect")


@dataclass(frozen=True)
class Caller:
    """Whose request it is, and what its key opens."""

    tenant: str
    key_id: str | None
    """None: nobody was asked for a key."""
    scopes: frozenset[str]

    @property
    def name(self) -> str:
        """How they sign what they have done."""
        return self.key_id or acts.LOCAL

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


LOCAL: Final = Caller(DEFAULT_TENANT, None, frozenset(Scope))
"""Whoever calls where no key is asked for."""


class RequiresScope:
    """That a route needs a key with this scope; None: that it is open to all."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope

    async def __call__(self) -> None:
        """Nothing: `authenticate` has seen to it."""


OPEN: Final = Depends(RequiresScope(None))


class Authenticator:
    """One a process: looks keys up, remembers them for a moment, and counts their requests."""

    def __init__(self, db: Database, rates: RateLimiter, *, asks: bool) -> None:
        self._asks = asks
        self._db, self._rates = db, rates
        self._known: dict[str, tuple[float, Caller]] = {}

    async def admit(self, sent: str | None, scope: Scope) -> Caller:
        """Whoever sent this Authorization. Raises `MissingKeyError`, `InvalidKeyError`, `InsufficientScopeError`, `RateLimitedError`."""
        if not self._asks:
            return LOCAL
        caller = await self._caller(_key_in(sent))
        await self._rates.count(caller.tenant, caller.key_id)
        if not caller.may(scope):
            raise InsufficientScopeError(scope)
        return caller

    async def still_admits(self, caller: Caller) -> bool:
        """Whether the key of somebody who was admitted opens still; yes while the record cannot be asked."""
        if caller.key_id is None:
            return True
        try:
            return await run_in_threadpool(self._still_holds, caller.key_id)
        except UnavailableError:
            return True

    def _still_holds(self, key_id: str) -> bool:
        with self._db.read() as s:
            return api_keys.is_valid(s, key_id)

    async def _caller(self, key: str) -> Caller:
        # By its digest: the memory of this process holds no key for longer than a request.
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
    """Stands before every route of the app, and before all else that is asked of a request."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    scope = scope_of(route)
    if scope is not None:
        authenticator: Authenticator = request.app.state.services.authenticator
        request.state.caller = await authenticator.admit(request.headers.get("authorization"), scope)


def caller_of(request: Request) -> Caller:
    """Who was admitted."""
    caller: Caller = request.state.caller
    return caller


_SCOPES: Final[WeakKeyDictionary[object, Scope | None]] = WeakKeyDictionary()


def scope_of(route: APIRoute) -> Scope | None:
    """The scope that a route needs; None: it is open. A route that says nothing of it is a mistake of ours."""
    if route.path in _DOCUMENTATION:
        return None
    if route.endpoint not in _SCOPES:
        named = {need.scope for need in _needs(route.dependant)}
        assert len(named) == 1, f"{route.path} names {len(named)} scopes and not one: ask for a hall of api.context"
        _SCOPES[route.endpoint] = named.pop()
    return _SCOPES[route.endpoint]


def _needs(dependant: Dependant) -> Iterator[RequiresScope]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, RequiresScope):
            yield inner.call
        yield from _needs(inner)


def _key_in(sent: str | None) -> str:
    """Raises `MissingKeyError`, `InvalidKeyError`."""
    if not sent:
        raise MissingKeyError
    if not sent.lower().startswith(_BEARER):
        raise InvalidKeyError
    return sent[len(_BEARER) :].strip()
