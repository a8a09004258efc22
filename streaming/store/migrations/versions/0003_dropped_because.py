"""A dead letter that was dropped says why.

Revision 0003.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import utc, utc_of_milliseconds, view

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; no dead letter was dropped before."""
    op.add_column("dead_letter", sa.Column("dropped_because", sa.String(), nullable=True))
    op.execute("DROP VIEW dead_letter_readable")
    columns = {
        "state": "state",
        "reason": "reason",
        "detail": "detail",
        "key": "key",
        "attempts": "attempts",
        "refused_at_utc": utc("refused_at"),
        "dropped_because": "dropped_because",
        "origin": "origin_topic || '/' || origin_partition || '@' || origin_offset",
        "origin_topic_id": "origin_topic_id",
        "origin_time_utc": utc_of_milliseconds("origin_timestamp"),
        "dlq_partition": "dlq_partition",
        "dlq_offset": "dlq_offset",
    }
    op.execute(view("dead_letter_readable", columns, "FROM dead_letter"))
