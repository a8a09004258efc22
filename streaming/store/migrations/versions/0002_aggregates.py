"""The aggregate tables of the batch half, what they were built from, and their views.

Revision 0002.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import money, utc, view

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CURRENCY = "(SELECT currency FROM deployment)"


def upgrade() -> None:
    """Create every table and view."""
    _hourly_sales()
    _daily_sales()
    _daily_item_sales()
    _daily_country_sales()
    _customer_summary()
    _sales_summary()
    _table_build()
    _build_failure()
    _sales_views()
    _summary_views()
    _build_views()


def _metrics() -> list[sa.Column[int]]:
    return [
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("items_sold", sa.BigInteger(), nullable=False),
        sa.Column("gross_revenue_micros", sa.BigInteger(), nullable=False),
        sa.Column("net_revenue_micros", sa.BigInteger(), nullable=False),
        sa.Column("orders", sa.BigInteger(), nullable=False),
        sa.Column("customers", sa.BigInteger(), nullable=False),
    ]


def _hourly_sales() -> None:
    op.create_table(
        "hourly_sales",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("utc_offset", sa.Integer(), nullable=False),
        *_metrics(),
        sa.PrimaryKeyConstraint("day", "hour", name=op.f("pk_hourly_sales")),
    )


def _daily_sales() -> None:
    op.create_table(
        "daily_sales",
        sa.Column("day", sa.Date(), nullable=False),
        *_metrics(),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_daily_sales")),
    )


def _daily_item_sales() -> None:
    op.create_table(
        "daily_item_sales",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        *_metrics(),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "item", name=op.f("pk_daily_item_sales")),
    )
    op.create_index(op.f("ix_daily_item_sales_item_day"), "daily_item_sales", ["item", "day"])
    op.create_index(
        op.f("ix_daily_item_sales_day_rank"), "daily_item_sales", ["day", "rank"], unique=True
    )


def _daily_country_sales() -> None:
    op.create_table(
        "daily_country_sales",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("country", sa.String(), nullable=False),
        *_metrics(),
        sa.PrimaryKeyConstraint("day", "country", name=op.f("pk_daily_country_sales")),
    )
    op.create_index(
        op.f("ix_daily_country_sales_country_day"), "daily_country_sales", ["country", "day"]
    )


def _customer_summary() -> None:
    op.create_table(
        "customer_summary",
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("first_purchase", sa.BigInteger(), nullable=False),
        sa.Column("last_purchase", sa.BigInteger(), nullable=False),
        *_metrics()[:5],
        sa.Column("recency_days", sa.Integer(), nullable=False),
        sa.Column("recency_score", sa.Integer(), nullable=False),
        sa.Column("frequency_score", sa.Integer(), nullable=False),
        sa.Column("monetary_score", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("user", name=op.f("pk_customer_summary")),
    )
    op.create_index(
        op.f("ix_customer_summary_net_revenue_micros"), "customer_summary", ["net_revenue_micros"]
    )


def _sales_summary() -> None:
    op.create_table(
        "sales_summary",
        sa.Column("id", sa.Integer(), nullable=False),
        *_metrics(),
        sa.Column("most_popular_item", sa.String(), nullable=True),
        sa.Column("most_popular_items_sold", sa.BigInteger(), nullable=True),
        sa.Column("first_event", sa.BigInteger(), nullable=True),
        sa.Column("last_event", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_sales_summary_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sales_summary")),
    )


def _table_build() -> None:
    op.create_table(
        "table_build",
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("partition", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("items_sold", sa.BigInteger(), nullable=False),
        sa.Column("net_revenue_micros", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("stream_offsets", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("code_version", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("built_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("table_name", "partition", name=op.f("pk_table_build")),
    )


def _build_failure() -> None:
    op.create_table(
        "build_failure",
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("partition", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("failed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("table_name", "partition", name=op.f("pk_build_failure")),
    )


def _readable_metrics() -> dict[str, str]:
    return {
        "events": "events",
        "items_sold": "items_sold",
        "gross_revenue": money("gross_revenue_micros"),
        "net_revenue": money("net_revenue_micros"),
        "currency": CURRENCY,
        "orders": "orders",
        "customers": "customers",
    }


def _local_hour() -> str:
    """Return the hour's start as `2011-10-30 01:00 +01:00`, in local time."""
    return (
        "strftime('%Y-%m-%d %H:%M', hour / 1000000 + utc_offset, 'unixepoch')"
        " || iif(utc_offset < 0, ' -', ' +')"
        " || printf('%02d:%02d', abs(utc_offset) / 3600, abs(utc_offset) % 3600 / 60)"
    )


def _sales_views() -> None:
    grains = {
        "hourly_sales": {"day": "day", "hour": _local_hour()},
        "daily_sales": {"day": "day"},
        "daily_item_sales": {"day": "day", "rank": "rank", "item": "item"},
        "daily_country_sales": {
            "day": "day",
            "country": "iif(country = '', '(unknown)', country)",
        },
    }
    for table, grain in grains.items():
        op.execute(view(f"{table}_readable", {**grain, **_readable_metrics()}, f"FROM {table}"))


def _summary_views() -> None:
    metrics = _readable_metrics()
    del metrics["customers"]
    customer = {
        "user": "user",
        "first_purchase_utc": utc("first_purchase"),
        "last_purchase_utc": utc("last_purchase"),
        **metrics,
        "recency_days": "recency_days",
        "recency_score": "recency_score",
        "frequency_score": "frequency_score",
        "monetary_score": "monetary_score",
    }
    op.execute(view("customer_summary_readable", customer, "FROM customer_summary"))
    summary = {
        **_readable_metrics(),
        "most_popular_item": "most_popular_item",
        "most_popular_items_sold": "most_popular_items_sold",
        "first_event_utc": utc("first_event"),
        "last_event_utc": utc("last_event"),
    }
    op.execute(view("sales_summary_readable", summary, "FROM sales_summary"))


def _build_views() -> None:
    build = {
        "table_name": "table_name",
        "partition": "partition",
        "version": "version",
        "events": "events",
        "items_sold": "items_sold",
        "net_revenue": money("net_revenue_micros"),
        "currency": CURRENCY,
        "rows": "rows",
        "stream_offsets": "stream_offsets",
        "digest": "digest",
        "code_version": "code_version",
        "run_id": "run_id",
        "built_at_utc": utc("built_at"),
    }
    op.execute(view("table_build_readable", build, "FROM table_build"))
    failure = {
        "table_name": "table_name",
        "partition": "partition",
        "version": "version",
        "attempts": "attempts",
        "reason": "reason",
        "run_id": "run_id",
        "failed_at_utc": utc("failed_at"),
    }
    op.execute(view("build_failure_readable", failure, "FROM build_failure"))
