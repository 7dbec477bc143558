"""The catalogue's tables. They never leave this package: callers see values of shot.py and footage.py.

Knows: columns, keys and checks, in types that SQLite and PostgreSQL share. Rates are text `N/D` (exact),
enumerations text with a CHECK, times aware and in UTC, lists JSON. Does not know: queries, files.
A change here needs a migration in catalogs/migrations/versions and a new SCHEMA; a test compares them.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Date,
    Double,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from catalogs.column_types import RANKS, UtcDateTime, one_of
from catalogs.footage import Severity, Status
from catalogs.night import OPEN, AttemptStatus, BatchStatus, Stage
from catalogs.verdict import Decision

SCHEMA: Final = "0008"
"""Head of catalogs/migrations: the revision that this code reads and writes."""

VERSION_TABLE: Final = "dailies_schema"
"""Alembic's bookkeeping. Its usual name would collide with Prefect's in a shared PostgreSQL database."""

NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint has a name that we chose, so that a migration can drop it on any database."""


_OPEN: Final = f"status IN ({', '.join(repr(status.value) for status in OPEN)})"


class Base(DeclarativeBase):
    """Root of the tables."""

    metadata = MetaData(naming_convention=NAMES)


class SubmissionRow(Base):
    """One accepted shot list."""

    __tablename__ = "submissions"

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    submitted_by: Mapped[str] = mapped_column(Text)
    mode: Mapped[str] = mapped_column(String(8))
    submitted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    new: Mapped[int]
    changed: Mapped[int]
    unchanged: Mapped[int]
    claim: Mapped[str | None] = mapped_column(String(64))
    """By what its sender knows it again: a list is taken in once under a claim. Null where nobody will look."""

    __table_args__ = (
        CheckConstraint("mode IN ('create', 'update', 'upsert')", name="mode"),
        Index("uq_submissions_claim", "claim", unique=True),
    )


class ShotRow(Base):
    """A shot as last submitted, and where it stands."""

    __tablename__ = "shots"

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[int] = mapped_column(ForeignKey("submissions.id"))
    show: Mapped[str] = mapped_column(String(64))
    show_folded: Mapped[str] = mapped_column(String(64))
    code: Mapped[str] = mapped_column(String(64))
    code_folded: Mapped[str] = mapped_column(String(64))
    sequence: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str] = mapped_column(Text)
    revision: Mapped[int]
    """Counts changes of the request, so that a take of an older request cannot settle a newer one."""
    fence: Mapped[int] = mapped_column(server_default="0")
    """Counts attempts and withdrawals of them: only the attempt of this number may write or publish."""
    deaths: Mapped[int] = mapped_column(server_default="0")
    """Processes that died at this shot since it was last finished or released from quarantine."""
    plate: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    end_plate: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    prompt: Mapped[str] = mapped_column(Text)
    negative_prompt: Mapped[str] = mapped_column(Text)
    frames: Mapped[int]
    handles: Mapped[int]
    rate: Mapped[str] = mapped_column(String(24))
    width: Mapped[int | None]
    height: Mapped[int | None]
    model: Mapped[str] = mapped_column(String(128))
    seed: Mapped[int | None] = mapped_column(BigInteger)
    steps: Mapped[int | None]
    guidance: Mapped[float | None] = mapped_column(Double)
    loras: Mapped[list[list[Any]]] = mapped_column(JSON, server_default="[]")
    """Name and scale of each; the scale is null where the list gives none."""
    context: Mapped[str] = mapped_column(String(32), server_default="")
    overlap: Mapped[int | None]
    anchors: Mapped[list[list[Any]]] = mapped_column(JSON, server_default="[]")
    """Time in seconds, `N/D`, and plate of each."""
    max_rerolls: Mapped[int | None]
    camera: Mapped[str] = mapped_column(String(32))
    deliveries: Mapped[list[str]] = mapped_column(JSON)
    speed: Mapped[str] = mapped_column(String(24))
    retimer: Mapped[str] = mapped_column(String(16), server_default="")
    priority: Mapped[int]
    due: Mapped[date | None] = mapped_column(Date)
    notes: Mapped[str] = mapped_column(Text)
    submitted_by: Mapped[str] = mapped_column(Text)
    extra: Mapped[list[list[str]]] = mapped_column(JSON)
    retaken: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    """What the last list says of fields that a retake has changed since."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    digest: Mapped[str] = mapped_column(String(40), server_default="")
    """catalogs.digests.digest of the request as its last list had it; of another one the columns are compared."""
    rank: Mapped[str] = mapped_column(RANKS, server_default="")
    """catalogs.digests.rank of the request."""
    likeness: Mapped[str] = mapped_column(String(64), server_default="")
    """catalogs.likeness.likeness of the code."""

    takes: Mapped[list[TakeRow]] = relationship(back_populates="shot", order_by="TakeRow.version")

    __table_args__ = (
        UniqueConstraint("show_folded", "code_folded"),
        Index(None, "code_folded"),
        Index(None, "show_folded", "likeness"),
        # a listing is one range of these for each status: they are the order in which shots are rendered
        Index(None, "status", "rank"),
        Index(None, "show_folded", "status", "rank"),
        one_of("status", Status),
        CheckConstraint("priority BETWEEN 1 AND 99", name="priority"),
        CheckConstraint("frames >= 1", name="frames"),
    )


class TakeRow(Base):
    """One attempt at a shot; append-only but for its own progress."""

    __tablename__ = "takes"

    id: Mapped[int] = mapped_column(primary_key=True)
    shot_id: Mapped[int] = mapped_column(ForeignKey("shots.id"))
    version: Mapped[int]
    revision: Mapped[int]
    """The shot's revision that this take renders."""
    sequence: Mapped[str] = mapped_column(String(64))
    """The shot's sequence when the take began: a slate never changes."""
    key: Mapped[str] = mapped_column(String(128))
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str] = mapped_column(Text)
    plan: Mapped[dict[str, Any]] = mapped_column(JSON)
    manifest: Mapped[str | None] = mapped_column(Text)
    seconds: Mapped[list[list[Any]]] = mapped_column(JSON)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    shot: Mapped[ShotRow] = relationship(back_populates="takes")
    clips: Mapped[list[ClipRow]] = relationship(cascade="all, delete-orphan", order_by="ClipRow.position")
    deliverables: Mapped[list[DeliverableRow]] = relationship(
        cascade="all, delete-orphan", order_by="DeliverableRow.position"
    )
    findings: Mapped[list[FindingRow]] = relationship(cascade="all, delete-orphan", order_by="FindingRow.position")

    __table_args__ = (
        UniqueConstraint("shot_id", "version"),
        Index(None, "key"),
        one_of("status", Status),
        CheckConstraint("version >= 1", name="version"),
    )


class ClipRow(Base):
    """A lossless clip that a step of a take made."""

    __tablename__ = "clips"

    id: Mapped[int] = mapped_column(primary_key=True)
    take_id: Mapped[int] = mapped_column(ForeignKey("takes.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    step: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    frame_in: Mapped[int]
    frame_out: Mapped[int]
    rate: Mapped[str] = mapped_column(String(24))
    width: Mapped[int]
    height: Mapped[int]


class DeliverableRow(Base):
    """One verified encode of a take."""

    __tablename__ = "deliverables"

    id: Mapped[int] = mapped_column(primary_key=True)
    take_id: Mapped[int] = mapped_column(ForeignKey("takes.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    frames: Mapped[int]
    rate: Mapped[str] = mapped_column(String(24))
    width: Mapped[int]
    height: Mapped[int]
    codec: Mapped[str] = mapped_column(String(32))
    pix_fmt: Mapped[str] = mapped_column(String(32))
    color_range: Mapped[str] = mapped_column(String(32))
    color_primaries: Mapped[str] = mapped_column(String(32))
    color_trc: Mapped[str] = mapped_column(String(32))
    colorspace: Mapped[str] = mapped_column(String(32))


class FindingRow(Base):
    """One result of inspecting a take."""

    __tablename__ = "findings"

    id: Mapped[int] = mapped_column(primary_key=True)
    take_id: Mapped[int] = mapped_column(ForeignKey("takes.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    code: Mapped[str] = mapped_column(String(32))
    severity: Mapped[str] = mapped_column(String(16))
    frame_in: Mapped[int]
    frame_out: Mapped[int]
    value: Mapped[str] = mapped_column(Text)
    allowed: Mapped[str] = mapped_column(Text)
    """The finding's limit; LIMIT is a word of SQL."""
    subject: Mapped[str] = mapped_column(Text)

    __table_args__ = (one_of("severity", Severity),)


class VerdictRow(Base):
    """One verdict on a shot; append-only. Written under a lock on the shot."""

    __tablename__ = "verdicts"

    id: Mapped[int] = mapped_column(primary_key=True)
    shot_id: Mapped[int] = mapped_column(ForeignKey("shots.id"), index=True)
    version: Mapped[int | None]
    """Null where the shot had no take yet."""
    decision: Mapped[str] = mapped_column(String(16))
    decided_by: Mapped[str] = mapped_column(Text)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)
    note: Mapped[str] = mapped_column(Text)
    changes: Mapped[list[list[Any]]] = mapped_column(JSON)
    """Field, old and new value of each."""
    takes: Mapped[list[list[Any]]] = mapped_column(JSON)
    """Version, status before and after, of each whose status it changed."""
    status_before: Mapped[str] = mapped_column(String(16))
    error_before: Mapped[str] = mapped_column(Text)
    status_after: Mapped[str] = mapped_column(String(16))
    revision: Mapped[int]
    """The shot's revision after it."""
    undoes: Mapped[int | None] = mapped_column(ForeignKey("verdicts.id"), unique=True)
    """The verdict that it takes back: each at most once, whoever asks at the same time."""

    __table_args__ = (
        one_of("decision", Decision),
        CheckConstraint("(decision = 'undo') = (undoes IS NOT NULL)", name="undoes"),
    )


class BatchRow(Base):
    """One night."""

    __tablename__ = "batches"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(32), unique=True)
    status: Mapped[str] = mapped_column(String(16))
    slot: Mapped[int | None] = mapped_column(unique=True)
    """1 until the batch is over, then null: so the database itself has room for one at a time."""
    flow_run: Mapped[str] = mapped_column(String(64))
    resumed: Mapped[int]
    wishes: Mapped[dict[str, Any]] = mapped_column(JSON)
    plan: Mapped[dict[str, Any]] = mapped_column(JSON)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        one_of("status", BatchStatus),
        CheckConstraint("(status = 'ended') = (slot IS NULL) AND (slot IS NULL OR slot = 1)", name="slot"),
    )


class RunRow(Base):
    """One process at work for a batch."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    flow_run: Mapped[str] = mapped_column(String(64), unique=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), index=True)
    stage: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(Text)
    worker: Mapped[str] = mapped_column(Text)
    device: Mapped[str] = mapped_column(Text)
    beats: Mapped[int]
    beat_at: Mapped[datetime] = mapped_column(UtcDateTime)
    said: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (one_of("stage", Stage),)


class AttemptRow(Base):
    """One right to work on a shot. Written under a lock on its shot, but for the flow run of a waiting one."""

    __tablename__ = "attempts"

    id: Mapped[int] = mapped_column(primary_key=True)
    shot_id: Mapped[int] = mapped_column(ForeignKey("shots.id"))
    fence: Mapped[int]
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"))
    """Null for a render by hand."""
    reel: Mapped[str] = mapped_column(String(64))
    stage: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    model: Mapped[str] = mapped_column(String(256))
    expected: Mapped[float] = mapped_column(Double)
    flow_run: Mapped[str] = mapped_column(String(64), index=True)
    granted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    generated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str] = mapped_column(Text, server_default="")
    transient: Mapped[bool] = mapped_column(server_default=false())
    evidence: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")

    __table_args__ = (
        UniqueConstraint("shot_id", "fence"),
        Index(None, "batch_id", "reel"),
        # At most one open attempt of a shot: not only our code says so.
        Index("uq_attempts_open", "shot_id", unique=True, sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)),
        one_of("stage", Stage),
        one_of("status", AttemptStatus),
    )


class TimingRow(Base):
    """How long something took. Names and no keys of other tables: what was measured outlives them."""

    __tablename__ = "timings"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    model: Mapped[str] = mapped_column(String(256))
    profile: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]
    height: Mapped[int]
    frames: Mapped[int]
    steps: Mapped[int]
    device: Mapped[str] = mapped_column(Text)
    seconds: Mapped[float] = mapped_column(Double)
    key: Mapped[str] = mapped_column(String(128))
    shot: Mapped[str] = mapped_column(String(129))
    batch: Mapped[str] = mapped_column(String(32), index=True)
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
