"""Add the columns of uploaded data sets.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("datasets", sa.Column("uploaded", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("datasets", sa.Column("asked_side", sa.BigInteger(), nullable=True))
    op.add_column("datasets", sa.Column("preparation", sa.JSON(), nullable=True))
    op.add_column("datasets", sa.Column("num_held_out", sa.BigInteger(), nullable=True))
    op.add_column("datasets", sa.Column("progress", sa.JSON(), nullable=True))
    op.add_column("datasets", sa.Column("attempt", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("datasets", sa.Column("lease_until", sa.Double(), nullable=True))


def downgrade() -> None:
    """Delete uploaded data sets, and drop the columns."""
    # The old version cannot read uploaded data sets.
    op.execute(sa.text("DELETE FROM datasets WHERE uploaded"))
    for name in ("lease_until", "attempt", "progress", "num_held_out", "preparation", "asked_side", "uploaded"):
        op.drop_column("datasets", name)
