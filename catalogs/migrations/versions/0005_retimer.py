"""Who may retime a shot.

Shots that were taken in before leave it to the machine. Written out in full and never edited again: a migration
describes the past, tables.py the present.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shots", sa.Column("retimer", sa.String(length=16), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("shots") as shots:
        shots.drop_column("retimer")
