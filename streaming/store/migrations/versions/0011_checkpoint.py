"""A verification that agreed leaves what the next one goes on from.

Revision 0011.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, which the view does not show."""
    op.add_column("verification", sa.Column("checkpoint", sa.String(), nullable=True))
