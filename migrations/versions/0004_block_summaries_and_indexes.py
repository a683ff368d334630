"""Add summary columns to metric blocks, and an index for every query.

Revision ID: 0004
Revises: 0003
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_LONGEST = 8192
_SUMMARY_COLUMNS = ("low", "high", "last_finite", "nonfinite")


def upgrade() -> None:
    """Rebuild the metric blocks with summaries, and replace the indexes of jobs."""
    # Create the table anew instead of adding columns, so that they stand before the values: SQLite reads through the
    # values of a row to reach any column behind them. No other table refers to this one.
    op.rename_table("metric_blocks", "metric_blocks_before")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX pk_metric_blocks RENAME TO pk_metric_blocks_before")
    new = op.create_table(
        "metric_blocks",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("last_finite", sa.Double(), nullable=True),
        sa.Column("nonfinite", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("values", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_metric_blocks_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "name", "attempt", "first_step", name=op.f("pk_metric_blocks")),
    )
    assert new is not None
    connection = op.get_bind()
    curves = connection.execute(sa.text("SELECT DISTINCT job_id, name, attempt FROM metric_blocks_before"))
    for job_id, name, attempt in curves.all():
        rows = connection.execute(
            sa.text(
                'SELECT first_step, "values" FROM metric_blocks_before '
                "WHERE job_id = :job_id AND name = :name AND attempt = :attempt ORDER BY first_step"
            ),
            {"job_id": job_id, "name": name, "attempt": attempt},
        )
        key = {"job_id": job_id, "name": name, "attempt": attempt}
        blocks = [{**key, **_columns(first, blob)} for first, blob in _merged(rows)]
        connection.execute(sa.insert(new), blocks)
    op.drop_table("metric_blocks_before")
    _index_jobs()


def _merged(rows: Any) -> Iterator[tuple[int, bytes]]:
    """Yield (first step, values) of contiguous blocks joined into one, up to a length."""
    stretch: list[bytes] = []
    begin = following = 0
    for first, blob in rows:
        if stretch and (first != following or following - begin >= _LONGEST):
            yield begin, b"".join(stretch)
            stretch = []
        begin = begin if stretch else first
        stretch.append(bytes(blob))
        following = first + len(blob) // 4
    if stretch:
        yield begin, b"".join(stretch)


def _columns(first_step: int, blob: bytes) -> dict[str, Any]:
    values = np.frombuffer(blob, dtype="<f4")
    finite = values[np.isfinite(values)]
    return {
        "first_step": first_step,
        "last_step": first_step + len(values) - 1,
        "low": float(finite.min()) if len(finite) else None,
        "high": float(finite.max()) if len(finite) else None,
        "last_finite": float(finite[-1]) if len(finite) else None,
        "nonfinite": len(values) - len(finite),
        "values": blob,
    }


def _index_jobs() -> None:
    # In the order of a claim, so that neither a claim nor a position in the queue sorts all queued jobs.
    op.drop_index("ix_jobs_claim", table_name="jobs")
    op.create_index("ix_jobs_claim", "jobs", ["status", sa.text("priority DESC"), "created_at", "id"])
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"])


def downgrade() -> None:
    """Drop the summaries and restore the old indexes."""
    op.drop_index("ix_jobs_finished_at", table_name="jobs")
    op.drop_index("ix_jobs_claim", table_name="jobs")
    op.create_index("ix_jobs_claim", "jobs", ["status", "priority", "created_at"])
    for name in _SUMMARY_COLUMNS:
        op.drop_column("metric_blocks", name)
