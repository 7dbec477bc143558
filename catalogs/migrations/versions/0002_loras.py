"""The LoRAs of a shot. Shots that were taken in before have none.

Written out in full and never edited again: a migration describes the past, tables.py the present.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shots", sa.Column("loras", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    with op.batch_alter_table("shots") as shots:
        shots.drop_column("loras")
