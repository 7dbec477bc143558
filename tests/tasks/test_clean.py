"""Claims about what may be deleted: only what is over, only what is old, nothing twice."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from catalogs.footage import Status
from tasks.clean import ATTEMPTS, DAY, EVIDENCE, OMITTED, PUBLISHED, Cleaning, Found, Standing, plan_cleaning

WORK = Path("/home/work")
OVER = (Status.REVIEW, Status.APPROVED, Status.OMITTED)


def take(shot: str = "AGM/SH0010", key: str = "k", *, age: float = 30.0, size: int = 100) -> Found:
    return Found(WORK / shot / key, shot, "take", size, -age * DAY)


def left(shot: str = "AGM/SH0010", key: str = "k", *, age: float = 30.0, size: int = 10) -> Found:
    return Found(WORK / shot / key / "attempts" / "a1", shot, "attempt", size, -age * DAY)


def stands(status: Status = Status.APPROVED, *, taken: bool = False, published: bool = True) -> Standing:
    return Standing(status, taken, published, 60.0)


def plan(
    found: list[Found], standing: Standing | None = None, *, days: float = 7.0, gone: tuple[str, ...] = ()
) -> Cleaning:
    standings = {"AGM/SH0010": standing} if standing else {}
    return plan_cleaning(found, standings, gone=gone, now=0.0, older_than=days * DAY)


@given(st.sampled_from(Status), st.booleans(), st.booleans(), st.floats(0, 60), st.floats(0, 60), st.booleans())
def test_only_what_is_over_and_old_goes(
    status: Status, taken: bool, published: bool, age: float, days: float, known: bool
) -> None:
    """Whatever stands how: something goes exactly if its shot is in review or approved with its version there, or
    omitted, nobody has it, the catalogue knows it, and nothing was written for so long."""
    found = plan(
        [take(age=age), left(age=age)], stands(status, taken=taken, published=published) if known else None, days=days
    )
    over = known and not taken and status in OVER and age >= days
    whole = over and (published or status is Status.OMITTED)
    kinds = [one.kind for one in found.doomed]
    assert kinds == ([OMITTED if status is Status.OMITTED else PUBLISHED] if whole else [ATTEMPTS] if over else [])
    assert bool(found.kept) == (not whole)
    assert found.generate_seconds == (60.0 if PUBLISHED in kinds else 0.0)


def test_what_an_attempt_left_goes_from_a_folder_that_stays() -> None:
    """A take that was used lately stays; what an attempt left in it weeks ago goes. No byte is counted twice."""
    found = plan([take(age=1), left(age=30)], stands())
    assert [(one.kind, one.found.bytes) for one in found.doomed] == [(ATTEMPTS, 10)]
    assert found.kept == {"written in the last 7 days": (1, 100)}
    whole = plan([take(), left()], stands())
    assert [(one.kind, one.found.bytes) for one in whole.doomed] == [(PUBLISHED, 100)]


def test_evidence_goes_when_its_run_is_over() -> None:
    """Of two runs that left their last words long ago, one is still listed as at work: its file stays."""
    files = [Found(Path(f"/home/batches/hung/{run}.txt"), "", "evidence", 5, -30 * DAY) for run in ("a", "b")]
    found = plan(files, gone=("a",))
    assert [(one.kind, one.found.path.stem) for one in found.doomed] == [(EVIDENCE, "a")]


def test_what_stays_says_why() -> None:
    """One reason for each of the many, with how much it is."""
    others = {"AGM/A": stands(Status.READY), "AGM/B": stands(taken=True), "AGM/C": stands(published=False)}
    found = plan_cleaning([take(name) for name in (*others, "AGM/D")], others, gone=(), now=0.0, older_than=0.0)
    assert found.doomed == ()
    assert found.kept == {
        "the shot is ready": (1, 100),
        "a render or the open batch has the shot": (1, 100),
        "its published version is not where the catalogue says": (1, 100),
        "not a shot of this catalogue": (1, 100),
    }
