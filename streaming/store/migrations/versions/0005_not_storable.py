"""A position counts the records of `analytics` that could not be stored.

Revision 0005.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import view

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; such a record stopped the consumer before."""
    column = sa.Column("not_storable", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("stream_offset", column)
    op.execute("DROP VIEW stream_offset_readable")
    columns = {
        "consumer_group": "consumer_group",
        "place": "topic || '/' || partition || '@' || next_offset",
        "leader_epoch": "leader_epoch",
        "records": "records",
        "stored": "stored",
        "duplicates": "duplicates",
        "conflicting": "conflicting",
        "not_storable": "not_storable",
        "topic_id": "topic_id",
        "cluster_id": "cluster_id",
    }
    op.execute(view("stream_offset_readable", columns, "FROM stream_offset"))
