"""Claims about who may use the desk: passwords, visits, the log of deeds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from catalogs import people
from catalogs.errors import CatalogueError
from catalogs.people import LONGEST, SHORTEST, hashed, matches
from catalogs.roles import Role
from catalogs.store import Catalogue

PASSWORD = "a long enough one"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that costs nothing: what it costs in earnest is claimed once, below."""
    monkeypatch.setattr(people, "COST", (2, 8, 1))


def test_a_password_costs_what_guessing_it_should() -> None:
    """32 MB of memory and more than one round: OWASP's floor for scrypt is n 2^15, r 8, p 3 or its equals."""
    n, r, p = (2**15, 8, 3)
    monkey = pytest.MonkeyPatch()
    monkey.setattr(people, "COST", (n, r, p))
    try:
        kept = hashed(PASSWORD)
    finally:
        monkey.undo()
    assert kept.startswith(f"scrypt${n}${r}${p}$")
    assert matches(PASSWORD, kept)
    assert not matches(PASSWORD + " ", kept)


@given(st.text(min_size=SHORTEST, max_size=LONGEST), st.text(max_size=60))
def test_only_the_password_itself_matches(password: str, other: str) -> None:
    """Whatever its letters; and two digests of one password differ, for each has its own salt."""
    kept = hashed(password)
    assert matches(password, kept)
    assert matches(other, kept) is (other == password)
    assert hashed(password) != kept


@pytest.mark.parametrize("password", ["", "short", "x" * (LONGEST + 1)])
def test_a_password_that_is_too_short_or_too_long_is_refused(catalogue: Catalogue, password: str) -> None:
    """The sentence says how many letters it has and may have; nobody is added."""
    with pytest.raises(CatalogueError, match=f"{SHORTEST} to {LONGEST} letters, this one {len(password)}"):
        catalogue.people.add("zoe", role=Role.REVIEW, password=password)
    assert catalogue.people.everybody() == []


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "zoë", "<b>"])
def test_what_cannot_be_a_name_is_refused(catalogue: Catalogue, name: str) -> None:
    """Names stand in the log, in file headers and in a proxy's header: plain letters only."""
    with pytest.raises(CatalogueError, match="cannot be a name"):
        catalogue.people.add(name, role=Role.REVIEW, password=PASSWORD)


def test_somebody_signs_in_visits_and_leaves(catalogue: Catalogue) -> None:
    """A visit is known by its token alone, in any case of the name, until it is ended."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    found = catalogue.people.sign_in("zOE", PASSWORD)
    assert found is not None
    person, token = found
    assert (person.name, person.role) == ("Zoe", Role.REVIEW)
    assert catalogue.people.visiting(token) == person
    assert catalogue.people.visiting(token[:-1]) is None
    catalogue.people.sign_out(token)
    catalogue.people.sign_out(token)
    assert catalogue.people.visiting(token) is None


@pytest.mark.parametrize(("name", "password"), [("zoe", "a long enough on"), ("nobody", PASSWORD), ("", "")])
def test_a_wrong_name_or_password_opens_nothing(catalogue: Catalogue, name: str, password: str) -> None:
    """And the answer does not say which of the two was wrong."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    assert catalogue.people.sign_in(name, password) is None


@pytest.mark.parametrize("column", ["seen_at", "ends_at"])
def test_a_visit_ends_by_itself(catalogue: Catalogue, url: str, column: str) -> None:
    """After half a day without a request, and after a week in any case."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    found = catalogue.people.sign_in("Zoe", PASSWORD)
    assert found is not None
    past = datetime.now(UTC) - people.IDLE - timedelta(minutes=1)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE visits SET {column} = :past"), {"past": past.isoformat(sep=" ")})
    engine.dispose()
    assert catalogue.people.visiting(found[1]) is None


def test_a_visit_goes_on_while_there_are_requests(catalogue: Catalogue, url: str) -> None:
    """A request notes that somebody is there, so that the half day begins anew."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    found = catalogue.people.sign_in("Zoe", PASSWORD)
    assert found is not None
    before = datetime.now(UTC) - timedelta(hours=11)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE visits SET seen_at = :then"), {"then": before.isoformat(sep=" ")})
    assert catalogue.people.visiting(found[1]) is not None
    with engine.connect() as connection:
        seen = str(connection.execute(text("SELECT seen_at FROM visits")).scalar_one())
    engine.dispose()
    assert seen > (before + timedelta(hours=10)).isoformat(sep=" ")


def test_a_new_password_and_a_removal_end_every_visit(catalogue: Catalogue) -> None:
    """Whoever knew the old one is out; another role holds at once, for those who are in."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    first = catalogue.people.sign_in("Zoe", PASSWORD)
    assert first is not None
    catalogue.people.change("zoe", role=Role.ADMIN)
    seen = catalogue.people.visiting(first[1])
    assert seen is not None
    assert seen.role is Role.ADMIN
    catalogue.people.change("zoe", password="another long one")
    assert catalogue.people.visiting(first[1]) is None
    assert catalogue.people.sign_in("Zoe", PASSWORD) is None
    second = catalogue.people.sign_in("Zoe", "another long one")
    assert second is not None
    catalogue.people.remove("ZOE")
    assert catalogue.people.visiting(second[1]) is None
    assert catalogue.people.count() == 0


def test_one_name_is_one_person(catalogue: Catalogue) -> None:
    """Whatever its case; and nobody is changed who does not exist."""
    catalogue.people.add("Zoe", role=Role.SUBMIT, password=PASSWORD)
    with pytest.raises(CatalogueError, match="already"):
        catalogue.people.add("ZOE", role=Role.ADMIN, password=PASSWORD)
    with pytest.raises(CatalogueError, match="nobody called 'kim'; there are Zoe"):
        catalogue.people.change("kim", role=Role.ADMIN)
    assert [(one.name, one.role) for one in catalogue.people.everybody()] == [("Zoe", Role.SUBMIT)]


def test_nothing_in_the_database_opens_the_desk(catalogue: Catalogue, url: str) -> None:
    """Neither the password nor the token stands in it."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    found = catalogue.people.sign_in("Zoe", PASSWORD)
    assert found is not None
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = str(
            [list(connection.execute(text(f"SELECT * FROM {table}"))) for table in ("people", "visits", "deeds")]
        )
    engine.dispose()
    assert "Zoe" in rows
    assert PASSWORD not in rows
    assert found[1] not in rows


def test_the_log_keeps_what_was_done_newest_first(catalogue: Catalogue) -> None:
    """Also of people who were removed; page by page."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    for code in ("A", "B", "C"):
        catalogue.people.note("approve", who="Zoe", address="127.0.0.1", about=f"AGM/{code}", words={"version": 2})
    catalogue.people.remove("Zoe")
    newest = catalogue.people.deeds(limit=2)
    assert [(one.about, one.who, one.did, one.words) for one in newest] == [
        ("AGM/C", "Zoe", "approve", {"version": 2}),
        ("AGM/B", "Zoe", "approve", {"version": 2}),
    ]
    assert [one.about for one in catalogue.people.deeds(before=newest[-1].number)] == ["AGM/A"]


def test_roles_include_the_lesser_ones() -> None:
    """A supervisor may send lists; whoever sends lists decides on no take."""
    assert Role.ADMIN.includes(Role.SUBMIT)
    assert Role.REVIEW.includes(Role.REVIEW)
    assert not Role.SUBMIT.includes(Role.REVIEW)
    assert not Role.REVIEW.includes(Role.ADMIN)
