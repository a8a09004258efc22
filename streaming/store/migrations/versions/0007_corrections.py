"""A change of a stored event leaves a record, and a position says when it last met a conflict.

Revision 0007.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import utc, utc_of_milliseconds, view

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, add the column, and show both."""
    op.create_table(
        "correction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("day_before", sa.Date(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("source_topic", sa.String(), nullable=False),
        sa.Column("source_partition", sa.Integer(), nullable=False),
        sa.Column("source_offset", sa.BigInteger(), nullable=False),
        sa.Column("source_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("corrected_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('conflict')", name=op.f("ck_correction_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_correction")),
    )
    op.add_column("stream_offset", sa.Column("conflicted_at", sa.BigInteger(), nullable=True))
    op.execute("DROP VIEW stream_offset_readable")
    correction = {
        "kind": "kind",
        "event_id": "event_id",
        "day_before": "day_before",
        "day": "day",
        "replaced": "source_topic || '/' || source_partition || '@' || source_offset",
        "replaced_time_utc": utc_of_milliseconds("source_timestamp"),
        "corrected_at_utc": utc("corrected_at"),
    }
    offset = {
        "consumer_group": "consumer_group",
        "place": "topic || '/' || partition || '@' || next_offset",
        "leader_epoch": "leader_epoch",
        "records": "records",
        "stored": "stored",
        "duplicates": "duplicates",
        "conflicting": "conflicting",
        "not_storable": "not_storable",
        "conflicted_at_utc": utc("conflicted_at"),
        "topic_id": "topic_id",
        "cluster_id": "cluster_id",
    }
    op.execute(view("correction_readable", correction, "FROM correction"))
    op.execute(view("stream_offset_readable", offset, "FROM stream_offset"))
