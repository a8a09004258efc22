"""Several hosts report their workers to the database.

Revision 0016.
"""

import sqlalchemy as sa
from alembic import op

from streaming.store.migrations.readable import create_view, utc

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of what hosts last said, and its view."""
    op.create_table(
        "host_status",
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("home", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
        sa.Column("heard_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("host", "app", name=op.f("pk_host_status")),
    )
    columns = {
        "host": "host",
        "app": "app",
        "home": "home",
        "state": "state",
        "heard_at_utc": utc("heard_at"),
    }
    create_view("host_status_readable", columns, "FROM host_status")
