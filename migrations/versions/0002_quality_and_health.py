"""Add evaluations, the health of jobs, and one best checkpoint per job.

Revision ID: 0002
Revises: 0001
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the evaluations table, the health column and the unique index."""
    # Do not use batch_alter_table on a table that others refer to. SQLite would copy it and drop the old one, which
    # by ON DELETE CASCADE deletes every row that refers to it.
    unknown = json.dumps({"verdict": "unknown", "findings": []})
    op.add_column("jobs", sa.Column("health", sa.JSON(none_as_null=True), nullable=False, server_default=unknown))
    op.create_index(
        "uq_checkpoints_one_best",
        "checkpoints",
        ["job_id"],
        unique=True,
        sqlite_where=sa.text("is_best"),
        postgresql_where=sa.text("is_best"),
    )
    op.create_table(
        "evaluations",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("best_so_far", sa.Boolean(), nullable=False),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("details", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_evaluations_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "step", "attempt", name=op.f("pk_evaluations")),
    )


def downgrade() -> None:
    """Drop what `upgrade` added."""
    op.drop_table("evaluations")
    op.drop_index("uq_checkpoints_one_best", table_name="checkpoints")
    op.drop_column("jobs", "health")
