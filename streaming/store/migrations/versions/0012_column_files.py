"""The list of column files, which hold copies of the events of past days.

Revision 0012.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import money_sum, utc, view

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and its view."""
    op.create_table(
        "column_file",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("first_row", sa.BigInteger(), nullable=False),
        sa.Column("last_row", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("items_sold", sa.BigInteger(), nullable=False),
        sa.Column("net_revenue_micros", sa.BigInteger(), nullable=False),
        sa.Column("net_revenue_trillions", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("first_event", sa.BigInteger(), nullable=False),
        sa.Column("last_event", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_column_file")),
    )
    op.create_index(op.f("ix_column_file_day"), "column_file", ["day"])
    columns = {
        "name": "name",
        "day": "day",
        "events": "events",
        "items_sold": "items_sold",
        "net_revenue": money_sum("net_revenue_trillions", "net_revenue_micros"),
        "first_event_utc": utc("first_event"),
        "last_event_utc": utc("last_event"),
        "bytes": "bytes",
        "sealed_at_utc": utc("sealed_at"),
    }
    # Builds read a day from the rows as soon as one of its files has a problem.
    sound = "FROM column_file WHERE day NOT IN (SELECT day FROM column_file WHERE problem NOT NULL)"
    op.execute(view("column_file_readable", columns, sound))
