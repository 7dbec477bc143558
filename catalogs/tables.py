"""The catalogue's tables. They never leave this package: callers see values of shot.py and footage.py.

Knows: columns, keys and checks, in types that SQLite and PostgreSQL share. Rates are text `N/D` (exact),
enumerations text with a CHECK, times aware and in UTC, lists JSON. Does not know: queries, files.
A change here needs a migration in catalogs/migrations/versions and a new SCHEMA; a test compares them.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from catalogs.footage import Severity, Status

SCHEMA: Final = "0002"
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


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time. SQLite keeps no zone, so UTC is put back on reading; naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored; use datetime.now(UTC)")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    allowed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=column)


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

    __table_args__ = (CheckConstraint("mode IN ('create', 'update', 'upsert')", name="mode"),)


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
    camera: Mapped[str] = mapped_column(String(32))
    deliveries: Mapped[list[str]] = mapped_column(JSON)
    speed: Mapped[str] = mapped_column(String(24))
    priority: Mapped[int]
    due: Mapped[date | None] = mapped_column(Date)
    notes: Mapped[str] = mapped_column(Text)
    submitted_by: Mapped[str] = mapped_column(Text)
    extra: Mapped[list[list[str]]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)

    takes: Mapped[list[TakeRow]] = relationship(back_populates="shot", order_by="TakeRow.version")

    __table_args__ = (
        UniqueConstraint("show_folded", "code_folded"),
        Index(None, "status", "priority"),
        Index(None, "code_folded"),
        _one_of("status", Status),
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
        _one_of("status", Status),
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

    __table_args__ = (_one_of("severity", Severity),)
