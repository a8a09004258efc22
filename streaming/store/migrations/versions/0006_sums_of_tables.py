"""Sums of money in the aggregate tables have the second column for whole trillions, as in 0004.

Revision 0006.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import money, money_sum

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = (
    "hourly_sales",
    "daily_sales",
    "daily_item_sales",
    "daily_country_sales",
    "customer_summary",
    "sales_summary",
    "table_build",
)


def upgrade() -> None:
    """Add the columns; where a sum is a trillion or more, everything is built again."""
    for table in TABLES:
        sums = ["net_revenue"] if table == "table_build" else ["gross_revenue", "net_revenue"]
        for name in sums:
            column = sa.Column(
                f"{name}_trillions", sa.BigInteger(), nullable=False, server_default="0"
            )
            op.add_column(table, column)
        _show_whole_sums(table, sums)
    op.drop_index("ix_customer_summary_net_revenue_micros", "customer_summary")
    op.create_index(
        "ix_customer_summary_net_revenue_trillions_net_revenue_micros",
        "customer_summary",
        ["net_revenue_trillions", "net_revenue_micros"],
    )
    op.execute(
        "DELETE FROM table_build WHERE EXISTS"
        " (SELECT 1 FROM day_ledger WHERE net_revenue_trillions <> 0) OR EXISTS"
        " (SELECT 1 FROM live_totals WHERE gross_revenue_trillions <> 0)"
    )


def _show_whole_sums(table: str, sums: list[str]) -> None:
    """Make the table's view as it was, with sums of both columns."""
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'view' AND name = :name")
    text = op.get_bind().execute(query, {"name": f"{table}_readable"}).scalar_one()
    for name in sums:
        text = text.replace(
            money(f"{name}_micros"), money_sum(f"{name}_trillions", f"{name}_micros")
        )
    op.execute(f"DROP VIEW {table}_readable")
    op.execute(text)
