"""Tables of the people at the desk. They never leave this package: callers see values of roles.py.

Knows: columns and keys. A change here needs a migration and a new SCHEMA, as in tables.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from catalogs.column_types import UtcDateTime
from catalogs.roles import Role
from catalogs.tables import Base


class PersonRow(Base):
    """Somebody who may sign in at the desk."""

    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    name_folded: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password: Mapped[str] = mapped_column(Text)
    """scrypt's digest with its salt and cost."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    visits: Mapped[list[VisitRow]] = relationship(back_populates="person", cascade="all, delete-orphan")

    __table_args__ = (CheckConstraint(f"role IN ({', '.join(repr(role.value) for role in Role)})", name="role"),)


class VisitRow(Base):
    """Somebody who is signed in."""

    __tablename__ = "visits"

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(64), unique=True)
    """sha256 of what the browser holds."""
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)

    person: Mapped[PersonRow] = relationship(back_populates="visits")


class DeedRow(Base):
    """Who did what at the desk. Names and no keys: the log outlives people and shots."""

    __tablename__ = "deeds"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    who: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    did: Mapped[str] = mapped_column(String(32))
    about: Mapped[str] = mapped_column(Text)
    words: Mapped[dict[str, Any]] = mapped_column(JSON)
