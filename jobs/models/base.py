"""The base class of all tables, and mixins for rows that belong to a tenant or to a job.

Times are seconds since 1970 by the database's own clock, as doubles: one type and one arithmetic on SQLite and
PostgreSQL. The clocks of workers are never compared.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    MetaData,
    String,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The base of all tables. It names every constraint, so that a migration can refer to it on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger(),
        float: Double(),
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
    }


DEFAULT_TENANT: Final = "default"
"""The tenant of every row where the service requires no key."""

SHARED: Final = ""
"""Stored in place of a tenant for the built-in data sets, which all tenants share."""


class OfTenant:
    """A row that belongs to a tenant. A session of `jobs.db` for one tenant sees only that tenant's rows."""

    tenant: Mapped[str] = mapped_column(String(40), default=DEFAULT_TENANT, server_default=DEFAULT_TENANT)


class OfJob:
    """A row that belongs to a job, and through it to a tenant."""

    job_id: Mapped[str] = mapped_column()
