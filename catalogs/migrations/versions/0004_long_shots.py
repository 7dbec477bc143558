"""How the windows of a long shot meet: context, overlap, anchors, how often one may be made again.

Shots that were taken in before leave all of it to their model. Written out in full and never edited again: a migration
describes the past, tables.py the present.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shots", sa.Column("context", sa.String(length=32), nullable=False, server_default=""))
    op.add_column("shots", sa.Column("overlap", sa.Integer(), nullable=True))
    op.add_column("shots", sa.Column("anchors", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("shots", sa.Column("max_rerolls", sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("shots") as shots:
        for column in ("max_rerolls", "anchors", "overlap", "context"):
            shots.drop_column(column)
