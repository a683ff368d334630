"""Index the queued and the running jobs by themselves, and let tenants take turns without locking their records.

Revision ID: 0009
Revises: 0008
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_Columns = list[str | sa.TextClause]
_QUEUED, _RUNNING = "status = 'queued'", "status = 'running'"
_BEFORE: dict[str, _Columns] = {
    "ix_jobs_claim": ["status", "tenant", sa.text("priority DESC"), "created_at", "id", "gpus"],
    "ix_jobs_lease": ["status", "lease_until"],
}
_AFTER: dict[str, tuple[_Columns, str]] = {
    "ix_jobs_queued": (["tenant", "gpus", sa.text("priority DESC"), "created_at", "id"], _QUEUED),
    "ix_jobs_published": ([sa.text("(coalesce(published_at, created_at))")], _QUEUED),
    "ix_jobs_running": (["tenant", "lease_owner"], _RUNNING),
}


def upgrade() -> None:
    """Create the new indexes and the table of turns, then drop those that they replace.

    PostgreSQL lets others read the jobs while an index is created, and lets nobody while one is dropped. So the long
    part comes first.
    """
    for name, (columns, where) in _AFTER.items():
        op.create_index(name, "jobs", columns, **_only(where))
    _analyze()
    _move_turns()
    for name in _BEFORE:
        op.drop_index(name, "jobs")


def _move_turns() -> None:
    """Give the time when a tenant was last served a table of its own."""
    op.create_table(
        "tenant_turns",
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("served_at", sa.Double(), nullable=False, server_default="0"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_tenant_turns_tenant"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_tenant_turns")),
    )
    op.execute("INSERT INTO tenant_turns (tenant, served_at) SELECT id, served_at FROM tenants")
    op.drop_column("tenants", "served_at")


def downgrade() -> None:
    """Restore the old indexes and the column."""
    op.add_column("tenants", sa.Column("served_at", sa.Double(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE tenants SET served_at = "
        "coalesce((SELECT served_at FROM tenant_turns WHERE tenant_turns.tenant = tenants.id), 0)"
    )
    op.drop_table("tenant_turns")
    for name, columns in _BEFORE.items():
        op.create_index(name, "jobs", columns)
    for name in _AFTER:
        op.drop_index(name, "jobs")


def _only(where: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(where), "postgresql_where": sa.text(where)}


def _analyze() -> None:
    """Let the planner of PostgreSQL sample the expression of the new index. By itself it would do so much later."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ANALYZE jobs")
