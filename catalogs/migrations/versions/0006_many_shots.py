"""What a catalogue of a million shots is asked by: digest, rank and likeness of each shot; lists have a claim.

Ranks and likenesses of the shots that are there are filled in; their digests come with the next list that names
them. Written out in full and never edited again: a migration describes the past, tables.py the present.
"""

import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

AT_ONCE = 5000
RANKS = sa.String(220).with_variant(sa.String(220, collation="C"), "postgresql")


def rank(row: Any) -> str:
    due = "~" if row.due is None else row.due.isoformat()
    return f"{row.priority:02d} {due} {row.show} {row.sequence} {row.code}"


def likeness(code: str) -> str:
    folded = re.sub(r"(?<![0-9])0+(?=[0-9])", "", re.sub(r"[._-]+", "-", code.casefold()).strip("-"))
    return re.sub(r"(?<=[^0-9])-|-(?=[^0-9])", "", folded)


def upgrade() -> None:
    op.add_column("submissions", sa.Column("claim", sa.String(length=64), nullable=True))
    op.create_index("uq_submissions_claim", "submissions", ["claim"], unique=True)
    op.add_column("shots", sa.Column("digest", sa.String(length=40), nullable=False, server_default=""))
    op.add_column("shots", sa.Column("rank", RANKS, nullable=False, server_default=""))
    op.add_column("shots", sa.Column("likeness", sa.String(length=64), nullable=False, server_default=""))
    fill()
    op.drop_index("ix_shots_status_priority", table_name="shots")
    op.create_index(op.f("ix_shots_show_folded_likeness"), "shots", ["show_folded", "likeness"])
    op.create_index(op.f("ix_shots_status_rank"), "shots", ["status", "rank"])
    op.create_index(op.f("ix_shots_show_folded_status_rank"), "shots", ["show_folded", "status", "rank"])


def fill() -> None:
    shots = sa.table(
        "shots",
        sa.column("id", sa.Integer),
        sa.column("show", sa.String),
        sa.column("sequence", sa.String),
        sa.column("code", sa.String),
        sa.column("priority", sa.Integer),
        sa.column("due", sa.Date),
        sa.column("rank", sa.String),
        sa.column("likeness", sa.String),
    )
    connection = op.get_bind()
    names = ("id", "show", "sequence", "code", "priority", "due")
    query = sa.select(*(shots.c[name] for name in names)).order_by(shots.c.id).limit(AT_ONCE)
    change = sa.update(shots).where(shots.c.id == sa.bindparam("known"))
    last = -1
    while rows := connection.execute(query.where(shots.c.id > last)).all():
        connection.execute(
            change, [{"known": row.id, "rank": rank(row), "likeness": likeness(row.code)} for row in rows]
        )
        last = rows[-1].id


def downgrade() -> None:
    for name in ("ix_shots_show_folded_status_rank", "ix_shots_status_rank", "ix_shots_show_folded_likeness"):
        op.drop_index(op.f(name), table_name="shots")
    with op.batch_alter_table("shots") as shots:
        for column in ("likeness", "rank", "digest"):
            shots.drop_column(column)
    op.create_index(op.f("ix_shots_status_priority"), "shots", ["status", "priority"])
    op.drop_index("uq_submissions_claim", table_name="submissions")
    with op.batch_alter_table("submissions") as submissions:
        submissions.drop_column("claim")
