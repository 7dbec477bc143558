"""Verdicts: who decided what about which version, and what of a request a retake changed.

Shots that were taken in before have none. Written out in full and never edited again: a migration describes the past,
tables.py the present.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shots", sa.Column("retaken", sa.JSON(), nullable=False, server_default="{}"))
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("shot_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("takes", sa.JSON(), nullable=False),
        sa.Column("status_before", sa.String(length=16), nullable=False),
        sa.Column("error_before", sa.Text(), nullable=False),
        sa.Column("status_after", sa.String(length=16), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("undoes", sa.Integer(), nullable=True),
        sa.CheckConstraint("decision IN ('approve', 'omit', 'retake', 'undo')", name=op.f("ck_verdicts_decision")),
        sa.CheckConstraint("(decision = 'undo') = (undoes IS NOT NULL)", name=op.f("ck_verdicts_undoes")),
        sa.ForeignKeyConstraint(["shot_id"], ["shots.id"], name=op.f("fk_verdicts_shot_id")),
        sa.ForeignKeyConstraint(["undoes"], ["verdicts.id"], name=op.f("fk_verdicts_undoes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
        sa.UniqueConstraint("undoes", name=op.f("uq_verdicts_undoes")),
    )
    op.create_index(op.f("ix_verdicts_shot_id"), "verdicts", ["shot_id"])


def downgrade() -> None:
    op.drop_table("verdicts")
    with op.batch_alter_table("shots") as shots:
        shots.drop_column("retaken")
