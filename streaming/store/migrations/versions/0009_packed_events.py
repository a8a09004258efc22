"""An event's row has its id as 16 bytes, and an id in place of the name of its source topic.

This revision creates the new table beside the old one; `move_events` then moves the rows, and 0010
removes the old table. No program but `db upgrade` opens what is between them.

Revision 0009.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import view

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Set the old table aside, and create the new one without rows."""
    op.create_table(
        "source_topic",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_topic")),
    )
    op.create_index(op.f("ix_source_topic_name"), "source_topic", ["name"], unique=True)
    op.execute(view("source_topic_readable", {"id": "id", "name": "name"}, "FROM source_topic"))
    # `purchases` before `purchases.redrive`, as the consumer gives them ids, also if all that is
    # stored was redriven.
    op.execute(
        "INSERT INTO source_topic (name)"
        " WITH stored AS (SELECT DISTINCT source_topic AS name FROM analytics_event)"
        " SELECT name FROM stored"
        " UNION SELECT substr(name, 1, length(name) - 8) FROM stored WHERE name LIKE '%.redrive'"
        " ORDER BY name"
    )
    op.execute("DROP VIEW analytics_event_readable")
    op.drop_index("ix_analytics_event_event_time", "analytics_event")
    op.rename_table("analytics_event", "analytics_event_before")
    _analytics_event()


def _analytics_event() -> None:
    op.create_table(
        "analytics_event",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("event_time", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=True),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_price_micros", sa.BigInteger(), nullable=True),
        sa.Column("amount_micros", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=True),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("country", sa.String(), nullable=True),
        sa.Column("processed_at", sa.BigInteger(), nullable=False),
        sa.Column("source_topic", sa.Integer(), nullable=False),
        sa.Column("source_partition", sa.Integer(), nullable=False),
        sa.Column("source_offset", sa.BigInteger(), nullable=False),
        sa.Column("source_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("stream_partition", sa.Integer(), nullable=False),
        sa.Column("stream_offset", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind = CASE WHEN quantity > 0 THEN 'sale' ELSE 'return' END",
            name=op.f("ck_analytics_event_kind"),
        ),
        sa.CheckConstraint(
            "(amount_micros IS NULL) = (unit_price_micros IS NULL)",
            name=op.f("ck_analytics_event_amount_micros"),
        ),
        sa.CheckConstraint("quantity <> 0", name=op.f("ck_analytics_event_quantity")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_analytics_event")),
    )
    op.create_index(op.f("ix_analytics_event_event_time"), "analytics_event", ["event_time"])
