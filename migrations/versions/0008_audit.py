"""Add the audit log, and the actor of each event.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_STAYS = "an act on record is never changed or removed"


def upgrade() -> None:
    """Create the table, its triggers and the actor column."""
    op.add_column("job_events", sa.Column("actor", sa.String(length=40), nullable=True))
    op.create_table(
        "acts",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False, server_default="default"),
        sa.Column("actor", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("detail", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_acts")),
    )
    for column in ("subject", "actor", "tenant"):
        op.create_index(f"ix_acts_{column}_seq", "acts", [column, "seq"])
    if op.get_bind().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            stay = f"CREATE TRIGGER acts_stay_{what.lower()} BEFORE {what} ON acts"
            op.execute(f"{stay} BEGIN SELECT RAISE(ABORT, '{_STAYS}'); END")
        return
    op.execute(
        f"""
CREATE FUNCTION acts_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{_STAYS}' USING ERRCODE = 'check_violation'; END $$
"""
    )
    op.execute("CREATE TRIGGER acts_stay BEFORE UPDATE OR DELETE ON acts FOR EACH ROW EXECUTE FUNCTION acts_stay()")


def downgrade() -> None:
    """Drop what `upgrade` added."""
    op.drop_table("acts")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION acts_stay()")
    op.drop_column("job_events", "actor")
