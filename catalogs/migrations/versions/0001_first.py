"""The first schema: submissions, shots, takes, clips, deliverables, findings.

Written out in full and never edited again: a migration describes the past, tables.py the present.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATUS = "status IN ('ready', 'rendering', 'review', 'approved', 'retake', 'omitted', 'failed', 'quarantined')"


def upgrade() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("new", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.CheckConstraint("mode IN ('create', 'update', 'upsert')", name=op.f("ck_submissions_mode")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
    )
    op.create_table(
        "shots",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("submission_id", sa.Integer(), nullable=False),
        sa.Column("show", sa.String(length=64), nullable=False),
        sa.Column("show_folded", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("code_folded", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("plate", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("end_plate", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("negative_prompt", sa.Text(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("handles", sa.Integer(), nullable=False),
        sa.Column("rate", sa.String(length=24), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("steps", sa.Integer(), nullable=True),
        sa.Column("guidance", sa.Double(), nullable=True),
        sa.Column("camera", sa.String(length=32), nullable=False),
        sa.Column("deliveries", sa.JSON(), nullable=False),
        sa.Column("speed", sa.String(length=24), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("due", sa.Date(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            STATUS,
            name=op.f("ck_shots_status"),
        ),
        sa.CheckConstraint("frames >= 1", name=op.f("ck_shots_frames")),
        sa.CheckConstraint("priority BETWEEN 1 AND 99", name=op.f("ck_shots_priority")),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"], name=op.f("fk_shots_submission_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shots")),
        sa.UniqueConstraint("show_folded", "code_folded", name=op.f("uq_shots_show_folded_code_folded")),
    )
    op.create_index(op.f("ix_shots_code_folded"), "shots", ["code_folded"], unique=False)
    op.create_index(op.f("ix_shots_status_priority"), "shots", ["status", "priority"], unique=False)
    op.create_table(
        "takes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("shot_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=True),
        sa.Column("seconds", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            STATUS,
            name=op.f("ck_takes_status"),
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_takes_version")),
        sa.ForeignKeyConstraint(["shot_id"], ["shots.id"], name=op.f("fk_takes_shot_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_takes")),
        sa.UniqueConstraint("shot_id", "version", name=op.f("uq_takes_shot_id_version")),
    )
    op.create_index(op.f("ix_takes_key"), "takes", ["key"], unique=False)
    op.create_table(
        "clips",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("take_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("frame_in", sa.Integer(), nullable=False),
        sa.Column("frame_out", sa.Integer(), nullable=False),
        sa.Column("rate", sa.String(length=24), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name=op.f("fk_clips_take_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clips")),
    )
    op.create_index(op.f("ix_clips_take_id"), "clips", ["take_id"], unique=False)
    op.create_table(
        "deliverables",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("take_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("rate", sa.String(length=24), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("codec", sa.String(length=32), nullable=False),
        sa.Column("pix_fmt", sa.String(length=32), nullable=False),
        sa.Column("color_range", sa.String(length=32), nullable=False),
        sa.Column("color_primaries", sa.String(length=32), nullable=False),
        sa.Column("color_trc", sa.String(length=32), nullable=False),
        sa.Column("colorspace", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name=op.f("fk_deliverables_take_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliverables")),
    )
    op.create_index(op.f("ix_deliverables_take_id"), "deliverables", ["take_id"], unique=False)
    op.create_table(
        "findings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("take_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("frame_in", sa.Integer(), nullable=False),
        sa.Column("frame_out", sa.Integer(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("allowed", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.CheckConstraint("severity IN ('fyi', 'issue', 'blocker')", name=op.f("ck_findings_severity")),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name=op.f("fk_findings_take_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
    )
    op.create_index(op.f("ix_findings_take_id"), "findings", ["take_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_findings_take_id"), table_name="findings")
    op.drop_table("findings")
    op.drop_index(op.f("ix_deliverables_take_id"), table_name="deliverables")
    op.drop_table("deliverables")
    op.drop_index(op.f("ix_clips_take_id"), table_name="clips")
    op.drop_table("clips")
    op.drop_index(op.f("ix_takes_key"), table_name="takes")
    op.drop_table("takes")
    op.drop_index(op.f("ix_shots_status_priority"), table_name="shots")
    op.drop_index(op.f("ix_shots_code_folded"), table_name="shots")
    op.drop_table("shots")
    op.drop_table("submissions")
