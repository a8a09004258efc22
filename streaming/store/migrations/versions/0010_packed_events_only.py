"""All events are in the table of 0009: the old one goes, and the view shows what it did.

Revision 0010.
"""

from alembic import op

from streaming.store.migrations.readable import (
    event_id,
    money,
    source_topic,
    utc,
    utc_of_milliseconds,
    view,
)

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the table that `move_events` emptied. Raises `RuntimeError` if it holds a row."""
    query = "SELECT EXISTS (SELECT 1 FROM analytics_event_before)"
    if op.get_bind().exec_driver_sql(query).scalar_one():
        raise RuntimeError("analytics_event_before still holds events: `move_events` comes before")
    op.drop_table("analytics_event_before")
    topic = source_topic("source_topic")
    columns = {
        "event_id": event_id("event_id"),
        "event_time_utc": utc("event_time"),
        "kind": "kind",
        "user": "coalesce(user, '(guest)')",
        "item": "item",
        "description": "description",
        "quantity": "quantity",
        "unit_price": money("unit_price_micros"),
        "amount": money("amount_micros"),
        "currency": "currency",
        "order_id": "order_id",
        "country": "country",
        "processed_at_utc": utc("processed_at"),
        "source": f"{topic} || '/' || source_partition || '@' || source_offset",
        "source_time_utc": utc_of_milliseconds("source_timestamp"),
        "stream_partition": "stream_partition",
        "stream_offset": "stream_offset",
    }
    op.execute(view("analytics_event_readable", columns, "FROM analytics_event"))
