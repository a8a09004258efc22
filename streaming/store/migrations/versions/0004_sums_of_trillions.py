"""Sums of money have a second column for whole trillions, because 64 bits of micros may overflow.

Revision 0004.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import money_sum, utc, view

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TRILLION = 10**18
GROSS, NET = "gross_revenue", "net_revenue"
CURRENCY = "(SELECT currency FROM deployment)"


def upgrade() -> None:
    """Add the columns, split the sums that are a trillion or more, and show whole sums."""
    # The view of the totals reads the items: it goes first, and comes last.
    for table in ("live_totals", "live_item_totals", "day_ledger"):
        op.execute(f"DROP VIEW {table}_readable")
    _split("live_item_totals", GROSS, NET)
    _split("live_totals", GROSS, NET)
    _split("day_ledger", NET)
    _views()


def _split(table: str, *sums: str) -> None:
    for name in sums:
        column = sa.Column(f"{name}_trillions", sa.BigInteger(), nullable=False, server_default="0")
        op.add_column(table, column)
        op.execute(
            f"UPDATE {table} SET {name}_trillions = {name}_micros / {TRILLION},"
            f" {name}_micros = {name}_micros % {TRILLION}"
            f" WHERE {name}_micros NOT BETWEEN {1 - TRILLION} AND {TRILLION - 1}"
        )


def _revenue(*names: str) -> dict[str, str]:
    return {name: money_sum(f"{name}_trillions", f"{name}_micros") for name in names}


def _views() -> None:
    best = "items_sold DESC, net_revenue_trillions DESC, net_revenue_micros DESC, item LIMIT 1"
    totals = {
        "events": "events",
        "items_sold": "items_sold",
        **_revenue(GROSS, NET),
        "currency": CURRENCY,
        "guest_events": "guest_events",
        "most_popular_item": f"(SELECT item FROM live_item_totals ORDER BY {best})",
        "changed_at_utc": utc("changed_at"),
    }
    item = {
        "item": "item",
        "events": "events",
        "items_sold": "items_sold",
        **_revenue(GROSS, NET),
        "currency": CURRENCY,
    }
    day = {
        "day": "day",
        "timezone": "(SELECT timezone FROM deployment)",
        "version": "version",
        "events": "events",
        "items_sold": "items_sold",
        **_revenue(NET),
        "currency": CURRENCY,
        "changed_at_utc": utc("changed_at"),
    }
    op.execute(view("live_totals_readable", totals, "FROM live_totals"))
    op.execute(view("live_item_totals_readable", item, "FROM live_item_totals"))
    op.execute(view("day_ledger_readable", day, "FROM day_ledger"))
