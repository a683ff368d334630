"""What a route can reach: the rows of its caller's tenant, files, the sampler and the live events.

A route has no other access to the database, and every context needs a scope. So the signature of a route shows what
it may do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated

from asgi_correlation_id import correlation_id
from fastapi import Depends, Request

from api.auth import Caller, RequiresScope, caller_of
from api.live.event_hub import EventHub
from api.live.job_reader import JobSnapshot
from api.samples.cache import SampleCache
from api.samples.sampler_client import SamplerClient
from api.services import Services
from gan.spec import DatasetClass
from jobs.db import Session
from jobs.keys import Scope
from jobs.runtime.settings import Settings
from jobs.storage import Storage
from jobs.store.callers import acts
from jobs.store.queue_limit import QueueLimit


@dataclass(frozen=True)
class TenantContext:
    """The service as one caller may see it."""

    services: Services
    caller: Caller

    def read(self) -> AbstractContextManager[Session]:
        """Return a read transaction that sees the caller's tenant only."""
        return self.services.db.read(self.caller.tenant)

    def write(self) -> AbstractContextManager[Session]:
        """Return a write transaction that sees the caller's tenant only. The audit log names the caller."""
        return _signed(self.services.db.write(self.caller.tenant), self.caller)

    async def job(self, job_id: str) -> JobSnapshot:
        """Return the job as it was at some moment after this call. Raises `JobNotFoundError`, `UnavailableError`."""
        return await self.services.job_reader.read(job_id, self.caller.tenant)

    async def is_still_open(self) -> bool:
        """Return whether the caller's key is still valid; a long response may outlast it."""
        return await self.services.authenticator.still_admits(self.caller)

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.services.settings

    @property
    def artifacts(self) -> Storage:
        """The files of the tenant's jobs."""
        return self.services.storage.artifacts(self.caller.tenant)

    @property
    def dataset_files(self) -> Storage:
        """The files of the tenant's uploaded data sets."""
        return self.services.storage.datasets(self.caller.tenant)

    @property
    def sample_cache(self) -> SampleCache:
        """The images that were drawn before."""
        return self.services.sample_cache

    @property
    def sampler(self) -> SamplerClient:
        """The client of the sampler."""
        return self.services.sampler

    @property
    def event_hub(self) -> EventHub:
        """The source of live events."""
        return self.services.event_hub

    @property
    def queue_limit(self) -> QueueLimit:
        """The limit of the number of queued jobs of all tenants."""
        return self.services.queue_limit

    @property
    def classes(self) -> Callable[[str], tuple[DatasetClass, ...]]:
        """The classes of a job. First check that the job is the caller's: this does not."""
        return self.services.classes


@dataclass(frozen=True)
class AdminContext:
    """The whole service, for administrators."""

    services: Services
    caller: Caller

    def read(self) -> AbstractContextManager[Session]:
        """Return a read transaction that sees all tenants."""
        return self.services.db.read()

    def write(self) -> AbstractContextManager[Session]:
        """Return a write transaction that sees all tenants. The audit log names the caller."""
        return _signed(self.services.db.write(), self.caller)

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.services.settings


@contextmanager
def _signed(transaction: AbstractContextManager[Session], caller: Caller) -> Iterator[Session]:
    with transaction as s:
        acts.set_actor(s, caller.name, correlation_id.get())
        yield s


class _TenantContextFor(RequiresScope):
    """The context of a caller with this scope."""

    async def __call__(self, request: Request) -> TenantContext:  # type: ignore[override]
        return TenantContext(request.app.state.services, caller_of(request))


class _AdminContextFor(RequiresScope):
    """The context of an administrator."""

    async def __call__(self, request: Request) -> AdminContext:  # type: ignore[override]
        return AdminContext(request.app.state.services, caller_of(request))


class _PublicContextFor(RequiresScope):
    """The services themselves, without authentication."""

    async def __call__(self, request: Request) -> Services:  # type: ignore[override]
        services: Services = request.app.state.services
        return services


JobsRead = Annotated[TenantContext, Depends(_TenantContextFor(Scope.JOBS_READ))]
JobsWrite = Annotated[TenantContext, Depends(_TenantContextFor(Scope.JOBS_WRITE))]
DatasetsWrite = Annotated[TenantContext, Depends(_TenantContextFor(Scope.DATASETS_WRITE))]
Admin = Annotated[AdminContext, Depends(_AdminContextFor(Scope.ADMIN))]
Public = Annotated[Services, Depends(_PublicContextFor(None))]
"""For routes that need no key."""

READS = Depends(RequiresScope(Scope.JOBS_READ))


def needs_services(dependency: object) -> bool:
    """Return whether a dependency of a route is one of these contexts, so that the route may respond 503."""
    return isinstance(dependency, _TenantContextFor | _AdminContextFor | _PublicContextFor)
