"""What Alembic runs: the revisions, on the connection that `store/schema.py` hands over.

The transaction is the caller's, so that a schema is upgraded whole or not at all.
"""

from alembic import context

from streaming.store.models import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    transactional_ddl=True,
    # SQLite can alter little of a table: Alembic makes a new one and copies the rows.
    render_as_batch=True,
)
context.run_migrations()
