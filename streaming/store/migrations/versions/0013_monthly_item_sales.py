"""The sums of items by month, which triggers keep equal to the sums of their days.

Revision 0013.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import money_sum, view

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SUMS = (
    "events",
    "items_sold",
    "gross_revenue_micros",
    "net_revenue_micros",
    "gross_revenue_trillions",
    "net_revenue_trillions",
)


def upgrade() -> None:
    """Create the table with the sums of all days, its view, and the triggers."""
    op.create_table(
        "monthly_item_sales",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS[:4]),
        *(
            sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)
            for name in SUMS[4:]
        ),
        sa.PrimaryKeyConstraint("month", "item", name=op.f("pk_monthly_item_sales")),
    )
    names = ", ".join(SUMS)
    sums = ", ".join(f"sum({name})" for name in SUMS)
    op.execute(
        f"INSERT INTO monthly_item_sales (month, item, {names})"
        f" SELECT substr(day, 1, 7) || '-01', item, {sums} FROM daily_item_sales GROUP BY 1, 2"
    )
    columns = {
        "month": "month",
        "item": "item",
        "events": "events",
        "items_sold": "items_sold",
        "gross_revenue": money_sum("gross_revenue_trillions", "gross_revenue_micros"),
        "net_revenue": money_sum("net_revenue_trillions", "net_revenue_micros"),
    }
    op.execute(view("monthly_item_sales_readable", columns, "FROM monthly_item_sales"))
    for event, changes in {
        "INSERT": [_add()],
        "DELETE": [_take()],
        "UPDATE": [_take(), _add()],
    }.items():
        op.execute(
            f"CREATE TRIGGER daily_item_sales_{event.lower()} AFTER {event} ON daily_item_sales"
            f" BEGIN {'; '.join(changes)}; END"
        )


def _add() -> str:
    values = ", ".join(f"new.{name}" for name in SUMS)
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)
    return (
        f"INSERT INTO monthly_item_sales (month, item, {', '.join(SUMS)})"
        f" VALUES (substr(new.day, 1, 7) || '-01', new.item, {values})"
        f" ON CONFLICT (month, item) DO UPDATE SET {added}"
    )


def _take() -> str:
    taken = ", ".join(f"{name} = {name} - old.{name}" for name in SUMS)
    return (
        f"UPDATE monthly_item_sales SET {taken}"
        " WHERE month = substr(old.day, 1, 7) || '-01' AND item = old.item"
    )
