"""What a night is made of: batches, runs, attempts, timings; shots count their attempts and deaths.

Shots that were taken in before have neither. Written out in full and never edited again: a migration describes
the past, tables.py the present.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ATTEMPT = "status IN ('waiting', 'running', 'done', 'failed', 'died', 'released', 'cancelled')"
OPEN = "status IN ('waiting', 'running')"
STAGE = "stage IN ('generate', 'finish')"


def upgrade() -> None:
    op.add_column("shots", sa.Column("fence", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("shots", sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("flow_run", sa.String(length=64), nullable=False),
        sa.Column("resumed", sa.Integer(), nullable=False),
        sa.Column("wishes", sa.JSON(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('running', 'stopping', 'ended')", name=op.f("ck_batches_status")),
        sa.CheckConstraint(
            "(status = 'ended') = (slot IS NULL) AND (slot IS NULL OR slot = 1)", name=op.f("ck_batches_slot")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("name", name=op.f("uq_batches_name")),
        sa.UniqueConstraint("slot", name=op.f("uq_batches_slot")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("flow_run", sa.String(length=64), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("beats", sa.Integer(), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(STAGE, name=op.f("ck_runs_stage")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_runs_batch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("flow_run", name=op.f("uq_runs_flow_run")),
    )
    op.create_index(op.f("ix_runs_batch_id"), "runs", ["batch_id"])
    op.create_table(
        "attempts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("shot_id", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=True),
        sa.Column("reel", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("expected", sa.Double(), nullable=False),
        sa.Column("flow_run", sa.String(length=64), nullable=False),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("generated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=False, server_default=""),
        sa.Column("transient", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("evidence", sa.JSON(), nullable=False, server_default="{}"),
        sa.CheckConstraint(STAGE, name=op.f("ck_attempts_stage")),
        sa.CheckConstraint(ATTEMPT, name=op.f("ck_attempts_status")),
        sa.ForeignKeyConstraint(["shot_id"], ["shots.id"], name=op.f("fk_attempts_shot_id")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_attempts_batch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("shot_id", "fence", name=op.f("uq_attempts_shot_id_fence")),
    )
    op.create_index(op.f("ix_attempts_flow_run"), "attempts", ["flow_run"])
    op.create_index(op.f("ix_attempts_batch_id_reel"), "attempts", ["batch_id", "reel"])
    op.create_index(
        op.f("uq_attempts_open"),
        "attempts",
        ["shot_id"],
        unique=True,
        sqlite_where=sa.text(OPEN),
        postgresql_where=sa.text(OPEN),
    )
    op.create_table(
        "timings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("shot", sa.String(length=129), nullable=False),
        sa.Column("batch", sa.String(length=32), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timings")),
    )
    op.create_index(op.f("ix_timings_batch"), "timings", ["batch"])
    op.create_index(op.f("ix_timings_recorded_at"), "timings", ["recorded_at"])


def downgrade() -> None:
    for table in ("timings", "attempts", "runs", "batches"):
        op.drop_table(table)
    with op.batch_alter_table("shots") as shots:
        shots.drop_column("deaths")
        shots.drop_column("fence")
