"""Column files may be the only copy of events, whose ids stay.

Revision 0015.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import event_id, source_topic, utc_of_milliseconds, view

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of ids, its view, and what a column file says of its rows."""
    op.create_table(
        "archived_event",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("epoch_day", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("source_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("source_partition", sa.Integer(), nullable=False),
        sa.Column("source_offset", sa.BigInteger(), nullable=False),
        sa.Column("source_topic", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_archived_event")),
        sqlite_with_rowid=False,
    )
    columns = {
        "event_id": event_id("event_id"),
        "day": "date(epoch_day * 86400, 'unixepoch')",
        "source_topic": source_topic("source_topic"),
        "source_partition": "source_partition",
        "source_offset": "source_offset",
        "source_time_utc": utc_of_milliseconds("source_timestamp"),
    }
    op.execute(view("archived_event_readable", columns, "FROM archived_event"))
    op.add_column("column_file", sa.Column("archived", sa.BigInteger(), nullable=True))
    op.add_column("column_file", sa.Column("retired", sa.String(), nullable=True))
    # One wrong statement must not lose the only copy of events.
    op.execute(
        "CREATE TRIGGER column_file_kept BEFORE DELETE ON column_file WHEN old.archived > 0"
        " BEGIN SELECT raise(ABORT, 'the file is the only copy of events'); END"
    )
