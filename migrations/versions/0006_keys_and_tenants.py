"""Add tenants and API keys, and a tenant to each job and data set.

Revision ID: 0006
Revises: 0005
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_DEFAULT = "default"
_Indexes = dict[str, list[str | sa.TextClause]]
_BEFORE: _Indexes = {
    "ix_jobs_claim": ["status", sa.text("priority DESC"), "created_at", "id"],
    "ix_jobs_status_id": ["status", "id"],
    "ix_jobs_dataset_id": ["dataset", "id"],
    "ix_jobs_preset_id": ["preset", "id"],
}
_AFTER: _Indexes = {
    "ix_jobs_claim": ["status", "tenant", sa.text("priority DESC"), "created_at", "id", "gpus"],
    "ix_jobs_tenant_id": ["tenant", "id"],
    "ix_jobs_tenant_status_id": ["tenant", "status", "id"],
    "ix_jobs_tenant_dataset_id": ["tenant", "dataset", "id"],
    "ix_jobs_tenant_preset_id": ["tenant", "preset", "id"],
}


def upgrade() -> None:
    """Create the tables and add the tenant columns."""
    tenants = op.create_table(
        "tenants",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("max_queued", sa.BigInteger(), nullable=True),
        sa.Column("max_running", sa.BigInteger(), nullable=True),
        sa.Column("device_hours", sa.Double(), nullable=True),
        sa.Column("storage_mb", sa.BigInteger(), nullable=True),
        sa.Column("device_seconds", sa.Double(), nullable=False, server_default="0"),
        sa.Column("served_at", sa.Double(), nullable=False, server_default="0"),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
    )
    assert tenants is not None
    op.bulk_insert(tenants, [{"id": _DEFAULT, "created_at": time.time()}])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("handle", sa.String(length=8), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("last_used_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_api_keys_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("handle", name=op.f("uq_api_keys_handle")),
    )
    op.add_column("jobs", sa.Column("tenant", sa.String(length=40), nullable=False, server_default=_DEFAULT))
    _index("jobs", _BEFORE, _AFTER)
    op.add_column("datasets", sa.Column("tenant", sa.String(length=40), nullable=False, server_default=_DEFAULT))
    op.execute("UPDATE datasets SET tenant = '' WHERE NOT uploaded")
    # A name is unique within a tenant.
    with op.batch_alter_table("datasets") as batch:
        batch.drop_constraint("uq_datasets_name", type_="unique")
    op.create_index("uq_datasets_name", "datasets", ["tenant", "name"], unique=True)


def downgrade() -> None:
    """Delete what belongs to other tenants, and drop the tables and columns."""
    # The old version shows every row to everyone, so the rows of other tenants must not remain.
    op.execute("DELETE FROM jobs WHERE tenant <> 'default'")
    op.execute("DELETE FROM datasets WHERE tenant NOT IN ('', 'default')")
    op.drop_index("uq_datasets_name", "datasets")
    with op.batch_alter_table("datasets") as batch:
        batch.drop_column("tenant")
        batch.create_unique_constraint("uq_datasets_name", ["name"])
    _index("jobs", _AFTER, _BEFORE)
    op.drop_column("jobs", "tenant")
    op.drop_table("api_keys")
    op.drop_table("tenants")


def _index(table: str, before: _Indexes, after: _Indexes) -> None:
    for name in before:
        op.drop_index(name, table)
    for name, columns in after.items():
        op.create_index(name, table, columns)
