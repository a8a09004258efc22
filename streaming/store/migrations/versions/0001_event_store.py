"""The event store's tables, and for each a view that shows it as people read it.

Revision 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import money, utc, utc_of_milliseconds, view

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table and view."""
    _analytics_event()
    _day_ledger()
    _dead_letter()
    _deployment()
    _live_item_totals()
    _live_totals()
    _stream_offset()
    _verification()
    _views()


def _analytics_event() -> None:
    op.create_table(
        "analytics_event",
        sa.Column("event_id", sa.String(), nullable=False),
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
        sa.Column("source_topic", sa.String(), nullable=False),
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


def _day_ledger() -> None:
    op.create_table(
        "day_ledger",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("items_sold", sa.BigInteger(), nullable=False),
        sa.Column("net_revenue_micros", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_day_ledger")),
    )


def _dead_letter() -> None:
    op.create_table(
        "dead_letter",
        sa.Column("origin_topic_id", sa.String(), nullable=False),
        sa.Column("origin_partition", sa.Integer(), nullable=False),
        sa.Column("origin_offset", sa.BigInteger(), nullable=False),
        sa.Column("origin_topic", sa.String(), nullable=False),
        sa.Column("origin_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("refused_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("dlq_partition", sa.Integer(), nullable=True),
        sa.Column("dlq_offset", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.CheckConstraint(
            "state IN ('open', 'redriven', 'stored', 'parked', 'dropped')",
            name=op.f("ck_dead_letter_state"),
        ),
        sa.PrimaryKeyConstraint(
            "origin_topic_id", "origin_partition", "origin_offset", name=op.f("pk_dead_letter")
        ),
    )
    op.create_index(op.f("ix_dead_letter_state_reason"), "dead_letter", ["state", "reason"])


def _deployment() -> None:
    op.create_table(
        "deployment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("deployment_id", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_deployment_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment")),
    )


def _live_item_totals() -> None:
    op.create_table(
        "live_item_totals",
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("items_sold", sa.BigInteger(), nullable=False),
        sa.Column("gross_revenue_micros", sa.BigInteger(), nullable=False),
        sa.Column("net_revenue_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("item", name=op.f("pk_live_item_totals")),
    )
    op.create_index(op.f("ix_live_item_totals_items_sold"), "live_item_totals", ["items_sold"])


def _live_totals() -> None:
    op.create_table(
        "live_totals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("items_sold", sa.BigInteger(), nullable=False),
        sa.Column("gross_revenue_micros", sa.BigInteger(), nullable=False),
        sa.Column("net_revenue_micros", sa.BigInteger(), nullable=False),
        sa.Column("guest_events", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_live_totals_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_live_totals")),
    )


def _stream_offset() -> None:
    op.create_table(
        "stream_offset",
        sa.Column("consumer_group", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("leader_epoch", sa.Integer(), nullable=True),
        sa.Column("topic_id", sa.String(), nullable=False),
        sa.Column("cluster_id", sa.String(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("conflicting", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "consumer_group", "topic", "partition", name=op.f("pk_stream_offset")
        ),
    )


def _verification() -> None:
    op.create_table(
        "verification",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("agrees", sa.Boolean(), nullable=False),
        sa.Column("compared", sa.String(), nullable=False),
        sa.Column("differences", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verification")),
    )


def _views() -> None:
    currency = "(SELECT currency FROM deployment)"
    statements = [
        view(
            "analytics_event_readable",
            {
                "event_id": "event_id",
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
                "source": "source_topic || '/' || source_partition || '@' || source_offset",
                "source_time_utc": utc_of_milliseconds("source_timestamp"),
                "stream_partition": "stream_partition",
                "stream_offset": "stream_offset",
            },
            "FROM analytics_event",
        ),
        view(
            "dead_letter_readable",
            {
                "state": "state",
                "reason": "reason",
                "detail": "detail",
                "key": "key",
                "attempts": "attempts",
                "refused_at_utc": utc("refused_at"),
                "origin": "origin_topic || '/' || origin_partition || '@' || origin_offset",
                "origin_topic_id": "origin_topic_id",
                "origin_time_utc": utc_of_milliseconds("origin_timestamp"),
                "dlq_partition": "dlq_partition",
                "dlq_offset": "dlq_offset",
            },
            "FROM dead_letter",
        ),
        view(
            "stream_offset_readable",
            {
                "consumer_group": "consumer_group",
                "place": "topic || '/' || partition || '@' || next_offset",
                "leader_epoch": "leader_epoch",
                "records": "records",
                "stored": "stored",
                "duplicates": "duplicates",
                "conflicting": "conflicting",
                "topic_id": "topic_id",
                "cluster_id": "cluster_id",
            },
            "FROM stream_offset",
        ),
        view(
            "live_totals_readable",
            {
                "events": "events",
                "items_sold": "items_sold",
                "gross_revenue": money("gross_revenue_micros"),
                "net_revenue": money("net_revenue_micros"),
                "currency": currency,
                "guest_events": "guest_events",
                "most_popular_item": (
                    "(SELECT item FROM live_item_totals"
                    " ORDER BY items_sold DESC, net_revenue_micros DESC, item LIMIT 1)"
                ),
                "changed_at_utc": utc("changed_at"),
            },
            "FROM live_totals",
        ),
        view(
            "live_item_totals_readable",
            {
                "item": "item",
                "events": "events",
                "items_sold": "items_sold",
                "gross_revenue": money("gross_revenue_micros"),
                "net_revenue": money("net_revenue_micros"),
                "currency": currency,
            },
            "FROM live_item_totals",
        ),
        view(
            "day_ledger_readable",
            {
                "day": "day",
                "timezone": "(SELECT timezone FROM deployment)",
                "version": "version",
                "events": "events",
                "items_sold": "items_sold",
                "net_revenue": money("net_revenue_micros"),
                "currency": currency,
                "changed_at_utc": utc("changed_at"),
            },
            "FROM day_ledger",
        ),
        view(
            "deployment_readable",
            {
                "deployment_id": "deployment_id",
                "currency": "currency",
                "timezone": "timezone",
                "schema_version": "schema_version",
                "created_at_utc": utc("created_at"),
            },
            "FROM deployment",
        ),
        view(
            "verification_readable",
            {
                "id": "id",
                "started_at_utc": utc("started_at"),
                "finished_at_utc": utc("finished_at"),
                "agrees": "CASE WHEN agrees THEN 'yes' ELSE 'no' END",
                "differences": "differences",
                "compared": "compared",
            },
            "FROM verification",
        ),
    ]
    for statement in statements:
        op.execute(statement)
