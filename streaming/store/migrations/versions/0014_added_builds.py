"""A build says where it ends and how long it took, so that new events can be added to it.

Revision 0014.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; a build of before has no last row, and so its day is computed again."""
    op.add_column("table_build", sa.Column("last_row", sa.BigInteger(), nullable=True))
    for name in ("last_correction", "added_events", "cpu_time"):
        column = sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        op.add_column("table_build", column)
    op.add_column("table_build", sa.Column("difference", sa.String(), nullable=True))
