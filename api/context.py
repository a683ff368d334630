"""What a route may reach: the record as far as its caller's tenant goes, files, and whoever answers for the rest.

There is no other way from a route to the record, and no hall without a scope: its signature says what a route may.
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


@dataclass(frozen=True)
class TenantContext:
    """The service, as one caller may see it."""

    services: Services
    caller: Caller

    def read(self) -> AbstractContextManager[Session]:
        """A read transaction that knows the caller's tenant's rows alone."""
        return self.services.db.read(self.caller.tenant)

    def write(self) -> AbstractContextManager[Session]:
        """A write transaction that knows the caller's tenant's rows alone; what it does is noted as the caller's."""
        return _signed(self.services.db.write(self.caller.tenant), self.caller)

    async def job(self, job_id: str) -> JobSnapshot:
        """The job as it is on record at some moment after this call. Raises `JobNotFoundError`, `UnavailableError`."""
        return await self.services.job_reader.read(job_id, self.caller.tenant)

    async def is_still_open(self) -> bool:
        """Whether the caller's key opens still: an answer that takes long may outlast it."""
        return await self.services.authenticator.still_admits(self.caller)

    @property
    def settings(self) -> Settings:
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
    def answers(self) -> SampleCache:
        return self.services.answers

    @property
    def sampler(self) -> SamplerClient:
        return self.services.sampler

    @property
    def event_hub(self) -> EventHub:
        return self.services.event_hub

    @property
    def classes(self) -> Callable[[str], tuple[DatasetClass, ...]]:
        """Of a job that the caller has been found to own."""
        return self.services.classes


@dataclass(frozen=True)
class AdminContext:
    """The whole service, for those who run it."""

    services: Services
    caller: Caller

    def read(self) -> AbstractContextManager[Session]:
        """A read transaction that knows all rows."""
        return self.services.db.read()

    def write(self) -> AbstractContextManager[Session]:
        """A write transaction that knows all rows; what it does is noted as the caller's."""
        return _signed(self.services.db.write(), self.caller)

    @property
    def settings(self) -> Settings:
        return self.services.settings


@contextmanager
def _signed(transaction: AbstractContextManager[Session], caller: Caller) -> Iterator[Session]:
    with transaction as s:
        acts.set_actor(s, caller.name, correlation_id.get())
        yield s


class _TenantContextFor(RequiresScope):
    """The hall of whoever has this scope."""

    async def __call__(self, request: Request) -> TenantContext:  # type: ignore[override]
        return TenantContext(request.app.state.services, caller_of(request))


class _AdminContextFor(RequiresScope):
    """The bureau of whoever has this scope."""

    async def __call__(self, request: Request) -> AdminContext:  # type: ignore[override]
        return AdminContext(request.app.state.services, caller_of(request))


class _PublicContextFor(RequiresScope):
    """The service as it is, without a look at who calls."""

    async def __call__(self, request: Request) -> Services:  # type: ignore[override]
        services: Services = request.app.state.services
        return services


JobsRead = Annotated[TenantContext, Depends(_TenantContextFor(Scope.JOBS_READ))]
JobsWrite = Annotated[TenantContext, Depends(_TenantContextFor(Scope.JOBS_WRITE))]
DatasetsWrite = Annotated[TenantContext, Depends(_TenantContextFor(Scope.DATASETS_WRITE))]
Admin = Annotated[AdminContext, Depends(_AdminContextFor(Scope.ADMIN))]
Public = Annotated[Services, Depends(_PublicContextFor(None))]
"""Of routes that are open to all."""

READS = Depends(RequiresScope(Scope.JOBS_READ))


def needs_services(dependency: object) -> bool:
    """Whether a route's dependency is that on what is held open here."""
    return isinstance(dependency, _TenantContextFor | _AdminContextFor | _PublicContextFor)
