"""Add pauses, runtime limits and idempotency keys, and triggers that protect ended jobs.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ENDED = "('succeeded', 'failed', 'cancelled')"
_STAYS = "a job that has ended does not change, and an attempt number never falls"
_LAST = "nothing happens to a job after its end"

_SQLITE = (
    f"""
CREATE TRIGGER jobs_stay_ended BEFORE UPDATE ON jobs
WHEN NEW.attempt < OLD.attempt OR (OLD.status IN {_ENDED} AND (
    NEW.status IS NOT OLD.status OR NEW.finished_at IS NOT OLD.finished_at OR NEW.attempt IS NOT OLD.attempt
    OR NEW.step IS NOT OLD.step OR NEW.error IS NOT OLD.error OR NEW.status_reason IS NOT OLD.status_reason))
BEGIN SELECT RAISE(ABORT, '{_STAYS}'); END
""",
    f"""
CREATE TRIGGER job_events_end_is_last BEFORE INSERT ON job_events
WHEN EXISTS (SELECT 1 FROM job_events WHERE job_id = NEW.job_id AND ends_job = 1)
BEGIN SELECT RAISE(ABORT, '{_LAST}'); END
""",  # noqa: S608 - built from constants
)
_POSTGRESQL = (
    f"""
CREATE FUNCTION jobs_stay_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{_STAYS}' USING ERRCODE = 'check_violation'; END $$
""",
    f"""
CREATE TRIGGER jobs_stay_ended BEFORE UPDATE ON jobs FOR EACH ROW
WHEN (NEW.attempt < OLD.attempt OR (OLD.status IN {_ENDED} AND
    (NEW.status, NEW.finished_at, NEW.attempt, NEW.step, NEW.error::text, NEW.status_reason::text)
    IS DISTINCT FROM
    (OLD.status, OLD.finished_at, OLD.attempt, OLD.step, OLD.error::text, OLD.status_reason::text)))
EXECUTE FUNCTION jobs_stay_ended()
""",
    f"""
CREATE FUNCTION job_events_end_is_last() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM job_events WHERE job_id = NEW.job_id AND ends_job = 1) THEN
        RAISE EXCEPTION '{_LAST}' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
""",  # noqa: S608 - built from constants
    """
CREATE TRIGGER job_events_end_is_last BEFORE INSERT ON job_events FOR EACH ROW
EXECUTE FUNCTION job_events_end_is_last()
""",
)


def upgrade() -> None:
    """Add the columns, the table and the triggers."""
    # Do not use batch_alter_table here: see 0002.
    op.add_column("jobs", sa.Column("pause_requested_at", sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("max_runtime_seconds", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("ran_seconds", sa.Double(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("claimed_at", sa.Double(), nullable=True))
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.String(length=80), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("headers", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    """Drop what `upgrade` added."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for name, table in (("jobs_stay_ended", "jobs"), ("job_events_end_is_last", "job_events")):
        op.execute(f"DROP TRIGGER {name}" if sqlite else f"DROP TRIGGER {name} ON {table}")
        if not sqlite:
            op.execute(f"DROP FUNCTION {name}()")
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    for name in ("claimed_at", "ran_seconds", "max_runtime_seconds", "pause_requested_at"):
        op.drop_column("jobs", name)
