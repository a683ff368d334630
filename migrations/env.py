"""The Alembic environment: migrations run on the connection and in the transaction of `jobs.db.migrate`."""

from alembic import context

from jobs.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite can alter most of a table only by creating it anew.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
context.run_migrations()
