"""Pages of a large catalogue: the order, the limits, and that an index answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from random import Random

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import Executable

from catalogs.errors import AmbiguousShotError, CatalogueError, UnknownShotError
from catalogs.footage import Status
from catalogs.queries import RENDERABLE
from catalogs.selection import ALL, count_query, page_query
from catalogs.shot import Shot
from catalogs.store import Catalogue

Make = Callable[..., Shot]


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The database itself."""
    made = create_engine(url)
    yield made
    made.dispose()


def many(catalogue: Catalogue, engine: Engine, shot: Make, count: int = 60) -> list[Shot]:
    """Shots of two shows in all statuses but one, in the order in which they are rendered."""
    chance = Random(1)
    shots = [
        replace(
            shot(f"SH{number:03}", priority=chance.choice((1, 50, 50, 99)), sequence=f"SQ{number % 3}"),
            show=("AGM", "TUD")[number % 2],
            due=date(2027, 1, 1 + chance.randrange(3)) if number % 4 else None,
        )
        for number in range(count)
    ]
    catalogue.submit(shots, source="t")
    statuses = [status for status in Status if status is not Status.OMITTED]
    with engine.begin() as connection:
        for place, status in enumerate(statuses):
            connection.execute(
                text("UPDATE shots SET status = :status WHERE id % :of = :place"),
                {"status": status.value, "of": len(statuses), "place": place},
            )
    return sorted(shots, key=lambda one: (one.priority, one.due or date.max, one.show, one.sequence, one.code))


def test_pages_are_the_whole_list_in_order(catalogue: Catalogue, engine: Engine, shot: Make) -> None:
    """Page by page, of any length, come the shots that one listing has, none twice, none left out."""
    wanted = [one.name for one in many(catalogue, engine, shot)]
    assert [record.shot.name for record in catalogue.shots()] == wanted
    for limit in (1, 7, 60, 100):
        found: list[str] = []
        while page := catalogue.shots(limit=limit, after=found[-1] if found else None):
            assert len(page) <= limit
            found += [record.shot.name for record in page]
        assert found == wanted
    mine = [record.shot.name for record in catalogue.shots(show="tud")]
    assert mine == [name for name in wanted if name.startswith("TUD/")]
    assert [record.shot.name for record in catalogue.shots(show="tud", limit=5, after=mine[2])] == mine[3:8]
    with pytest.raises(UnknownShotError):
        catalogue.shots(limit=3, after="AGM/nothing")


def test_a_night_takes_what_can_be_rendered_in_order(catalogue: Catalogue, engine: Engine, shot: Make) -> None:
    """The first so many of what is ready, asked for again, interrupted or failed; counts say how many there are."""
    many(catalogue, engine, shot)
    ready = [record.shot.name for record in catalogue.shots() if record.status in RENDERABLE]
    assert 20 < len(ready) < 60
    assert [record.shot.name for record in catalogue.renderable()] == ready
    assert [record.shot.name for record in catalogue.renderable(limit=9)] == ready[:9]
    counts = catalogue.counts()
    assert sum(counts[status] for status in RENDERABLE) == len(ready)
    assert sum(catalogue.counts(show="agm").values()) == 30
    assert counts[Status.OMITTED] == 0


def plan(connection: Connection, statement: Executable) -> str:
    """How the database would answer a statement."""
    kind = connection.dialect.name
    dialect = sqlite.dialect() if kind == "sqlite" else postgresql.dialect()
    words = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))  # type: ignore[attr-defined]
    explain = "EXPLAIN QUERY PLAN " if kind == "sqlite" else "EXPLAIN "
    return "\n".join(str(row[-1]) for row in connection.exec_driver_sql((explain + words).replace("%", "%%")))


@pytest.mark.parametrize("show", [None, "AGM"])
@pytest.mark.parametrize("statuses", [ALL, RENDERABLE, (Status.FAILED,)])
def test_a_page_is_read_from_an_index_in_order(
    catalogue: Catalogue, engine: Engine, statuses: tuple[Status, ...], show: str | None
) -> None:
    """For each status a range of an index that has its order; no table is scanned."""
    stocked(engine)
    query = page_query(statuses=statuses, show=show, limit=100, after="50 ~ AGM SQ1 SH00100")
    with engine.connect() as connection:
        said = plan(connection, query)
    index = "ix_shots_show_folded_status_rank" if show else "ix_shots_status_rank"
    assert said.count(index) >= len(statuses), said
    scans = [line for line in said.splitlines() if "Seq Scan on shots" in line or line.startswith("SCAN shots")]
    assert not scans, said


def test_counts_are_read_from_an_index(catalogue: Catalogue, engine: Engine) -> None:
    """How many shots stand where is counted in an index, and none of the wide rows is looked at."""
    stocked(engine)
    with engine.connect() as connection:
        for show in (None, "AGM"):
            said = plan(connection, count_query(show))
            assert "COVERING INDEX ix_shots" in said or "Index Only Scan using ix_shots" in said, said


def stocked(engine: Engine) -> None:
    """Twenty thousand shots that nobody submitted, and what PostgreSQL's planner has to know of them."""
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO submissions VALUES (1, 'a', 'b', 'create', '2026-01-02 03:04:05', 1, 0, 0, NULL)")
        )
        series = "generate_series(1, 20000) AS numbers(n)"
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA foreign_keys = OFF"))
            series = "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000) "
            series += "SELECT n FROM numbers)"
        code = (
            "'SH' || substr('00000' || CAST(n AS TEXT), -5)"
            if engine.dialect.name == "sqlite"
            else "'SH' || lpad(n::text, 5, '0')"
        )
        status = "CASE n % 8 WHEN 0 THEN 'ready' WHEN 1 THEN 'failed' WHEN 2 THEN 'retake' ELSE 'approved' END"
        connection.execute(
            text(
                "INSERT INTO shots (submission_id, show, show_folded, code, code_folded, sequence, status, error, "
                "revision, prompt, negative_prompt, frames, handles, rate, model, camera, deliveries, speed, priority, "
                "notes, submitted_by, extra, created_at, updated_at, rank, likeness) "
                f"SELECT 1, 'AGM', 'agm', {code}, lower({code}), 'SQ1', {status}, '', 1, "
                f"'{'the sea ' * 100}', '', 48, 0, '24/1', 'wan', '', '[]', '1/1', 50, '', '', '[]', "
                f"'2026-01-02 03:04:05', '2026-01-02 03:04:05', '50 ~ AGM SQ1 ' || {code}, "
                f"'sh' || CAST(n AS TEXT) FROM {series}"
            )
        )
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE shots"))


def test_a_slate_and_a_misspelt_name_need_no_look_at_every_shot(
    catalogue: Catalogue, engine: Engine, shot: Make
) -> None:
    """Finding by slate, and what is close to a name, are answered from an index as well."""
    stocked(engine)
    catalogue.submit([shot("A_B", sequence="SQ_1")], source="t")
    seen: list[str] = []
    event.listen(catalogue._sessions._engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    assert catalogue.find("AGM_SQ_1_A_B_v001").shot.code == "A_B"
    assert catalogue.find("agm_sq1_sh00042_v001").shot.code == "SH00042"
    with pytest.raises(UnknownShotError, match="AGM/SH00042"):
        catalogue.find("AGM/SH0042")
    with pytest.raises(UnknownShotError, match="SH00042"):
        catalogue.find("SH00042x")
    with pytest.raises(CatalogueError, match="has no take"):
        catalogue.find("AGM_SQ1_SH00042_v007")
    with pytest.raises((UnknownShotError, AmbiguousShotError)):
        catalogue.find("nothing like it")
    assert seen
    assert all("WHERE" in one for one in seen if "FROM shots" in one), seen
