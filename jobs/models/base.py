"""The base of all tables, and what rows of a tenant and of a job have in common.

Times are seconds since 1970 by the database's own clock, as doubles: one type and one arithmetic on SQLite and
PostgreSQL. No worker's clock is ever compared with another's.
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
    """Names every constraint, so that a migration can speak of it on both databases."""

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
"""Whose everything is where nobody is asked for a key."""

SHARED: Final = ""
"""In the place of a tenant: of the data sets that are part of Gantry, which are everybody's."""


class OfTenant:
    """A row that belongs to a tenant. A session of `jobs.db` that is opened for one sees that one's rows alone."""

    tenant: Mapped[str] = mapped_column(String(40), default=DEFAULT_TENANT, server_default=DEFAULT_TENANT)


class OfJob:
    """A row that belongs to a job, and with it to a tenant."""

    job_id: Mapped[str] = mapped_column()
