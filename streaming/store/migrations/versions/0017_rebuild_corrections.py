"""A rebuild leaves a correction too, so that the version of all figures never falls.

Revision 0017.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import utc, utc_of_milliseconds, view

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let corrections have the new kind, and ids of 64 bits."""
    if op.get_bind().dialect.name == "postgresql":
        # Constraints of values are not copied there (`postgres_schema`).
        op.execute("ALTER TABLE correction ALTER COLUMN id TYPE bigint")
        op.execute("ALTER SEQUENCE correction_id_seq AS bigint")
        return
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
        sa.CheckConstraint(
            "kind IN ('conflict', 'erasure', 'rebuild')", name=op.f("ck_correction_kind")
        ),
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
