"""An erasure is a correction too, and leaves a row without names.

Revision 0008.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import utc, utc_of_milliseconds, view

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let corrections have the new kind, and create the table of erasures."""
    _corrections()
    op.create_table(
        "erasure",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=False),
        sa.Column("users", sa.Integer(), nullable=False),
        sa.Column("orders", sa.Integer(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("dead_letters", sa.BigInteger(), nullable=False),
        sa.Column("table_rows", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
    )
    columns = {
        "id": "id",
        "erased_at_utc": utc("erased_at"),
        "users": "users",
        "orders": "orders",
        "events": "events",
        "days": "days",
        "dead_letters": "dead_letters",
        "table_rows": "table_rows",
    }
    op.execute(view("erasure_readable", columns, "FROM erasure"))


def _corrections() -> None:
    # SQLite cannot change a constraint: a new table takes the rows, with their ids.
    op.execute("DROP VIEW correction_readable")
    op.rename_table("correction", "correction_before")
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
        sa.CheckConstraint("kind IN ('conflict', 'erasure')", name=op.f("ck_correction_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_correction")),
    )
    op.execute("INSERT INTO correction SELECT * FROM correction_before")
    op.drop_table("correction_before")
    columns = {
        "kind": "kind",
        "event_id": "event_id",
        "day_before": "day_before",
        "day": "day",
        "replaced": "source_topic || '/' || source_partition || '@' || source_offset",
        "replaced_time_utc": utc_of_milliseconds("source_timestamp"),
        "corrected_at_utc": utc("corrected_at"),
    }
    op.execute(view("correction_readable", columns, "FROM correction"))
