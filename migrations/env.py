"""Alembic's door: migrations run on the connection that `jobs.db.migrate` hands over, in its transaction."""

from alembic import context

from jobs.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite alters a table by making it anew.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
context.run_migrations()
