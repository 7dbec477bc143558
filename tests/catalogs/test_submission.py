"""Lists against the catalogue: what differs, what is alike, what is told before it goes in, and never half of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from catalogs.cells import Difference
from catalogs.digests import digest, rank
from catalogs.errors import ListTakenError, ShotListError
from catalogs.footage import Status
from catalogs.shot import Anchor, LoraUse, Plate, Shot
from catalogs.store import Catalogue, open_catalogue
from catalogs.submission import SubmissionResult

Make = Callable[..., Shot]

ROOT = Path(__file__).resolve().parents[2]


def rendered(catalogue: Catalogue, name: str) -> None:
    """The shot has one more take in review."""
    take = catalogue.begin_take(name, key=name, plan=lambda version: {})
    catalogue.finish_take(
        take, manifest=Path("/d/manifest.json"), clips=[], deliverables=[], findings=[], seconds={"generate": 1.0}
    )


def lists(url: str) -> int:
    """How many submissions the catalogue remembers."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM submissions")).scalar()
    engine.dispose()
    return int(found or 0)


def test_a_change_is_told_cell_by_cell(catalogue: Catalogue, shot: Make) -> None:
    """Old and new of every column that differs, metadata by their header, in a dry run as in earnest."""
    plate = Plate("/p/a.png", "a" * 64, 64, 36)
    catalogue.submit([shot("A", plate=plate, metadata=(("Vendor", "x"),)), shot("B")], source="t")
    wanted = shot(
        "A", plate=replace(plate, sha256="b" * 64), frames=50, rate=Fraction(24), metadata=(("Weather", "fog"),)
    )
    for dry_run in (True, False):
        result = catalogue.submit([wanted, shot("C")], source="t", mode="upsert", dry_run=dry_run)
        [change] = result.changes
        assert change.shot == "AGM/A"
        assert change.differences == (
            Difference("plate", "/p/a.png (sha256 aaaaaaaaaaaa, 64x36)", "/p/a.png (sha256 bbbbbbbbbbbb, 64x36)"),
            Difference("frames", "48", "50"),
            Difference("fps", "30", "24"),
            Difference("Vendor", "x", ""),
            Difference("Weather", "", "fog"),
        )
        assert result.absent == (("AGM/B",) if dry_run else ())


def test_what_will_be_rendered_again_is_told_before_it_goes_in(catalogue: Catalogue, shot: Make) -> None:
    """Takes that are out are counted for changes of pixels alone, and told while nothing is written."""
    catalogue.submit([shot("A"), shot("B"), shot("C")], source="t")
    for name in ("A", "B"):
        rendered(catalogue, name)
    wanted = [shot("A", prompt="slower"), shot("B", notes="thanks"), shot("C", prompt="faster")]

    def ready(result: SubmissionResult) -> None:
        assert result.superseded == 1
        assert [(one.shot, one.status, one.takes) for one in result.notices] == [("AGM/A", Status.REVIEW, 1)]
        raise RuntimeError("not today")

    with pytest.raises(RuntimeError, match="not today"):
        catalogue.submit(wanted, source="t", mode="upsert", ready=ready)
    assert [record.shot.prompt for record in catalogue.shots()] == ["", "", ""]
    catalogue.submit(wanted, source="t", mode="upsert")
    assert [record.status for record in catalogue.shots()] == [Status.READY, Status.REVIEW, Status.READY]
    assert [record.revision for record in catalogue.shots()] == [2, 1, 2]


def test_a_change_of_an_omitted_shot_leaves_it_omitted(catalogue: Catalogue, url: str, shot: Make) -> None:
    """It was taken out by somebody, and a list does not know of that; its request is the new one all the same."""
    catalogue.submit([shot("A"), shot("B")], source="t")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE shots SET status = 'omitted' WHERE code = 'A'"))
    engine.dispose()
    catalogue.submit([shot("A", frames=9), shot("B", frames=9)], source="t", mode="update")
    found = {record.shot.code: (record.status, record.shot.frames, record.revision) for record in catalogue.shots()}
    assert found == {"A": (Status.OMITTED, 9, 2), "B": (Status.READY, 9, 2)}


def test_the_same_list_again_writes_nothing(catalogue: Catalogue, url: str, shot: Make) -> None:
    """Not even that it came: nothing changed, and a list that moved its columns about is the same list."""
    one = shot("A", metadata=(("Vendor", "x"), ("Weather", "fog")), loras=(LoraUse("mist", 0.5),))
    catalogue.submit([one], source="t")
    for again in (one, replace(one, metadata=one.metadata[::-1])):
        result = catalogue.submit([again], source="t", mode="upsert")
        assert (result.new, result.changed, result.unchanged) == ((), (), ("AGM/A",))
    assert lists(url) == 1


def test_shots_from_before_digests_are_compared_in_full(catalogue: Catalogue, url: str, shot: Make) -> None:
    """An older catalogue's shots are unchanged where they are, and the next list finds their digests."""
    catalogue.submit([shot("A"), shot("B")], source="t")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE shots SET digest = ''"))
    result = catalogue.submit([shot("A"), shot("B", frames=9)], source="t", mode="upsert")
    assert (result.unchanged, result.changed) == (("AGM/A",), ("AGM/B",))
    with engine.connect() as connection:
        kept = dict(connection.execute(text("SELECT code, digest FROM shots")).all())  # type: ignore[arg-type]
    engine.dispose()
    assert kept == {"A": digest(shot("A")), "B": digest(shot("B", frames=9))}


@pytest.mark.parametrize(("there", "sent"), [("SH010", "SH10"), ("1", "001"), ("sh_0010", "SH0010")])
def test_a_new_shot_that_resembles_one_is_refused(catalogue: Catalogue, shot: Make, there: str, sent: str) -> None:
    """A spreadsheet that ate zeros makes no second shot: the code that is there is named; --allow-new is heard."""
    catalogue.submit([shot(there), replace(shot(sent), show="TUD")], source="t")
    for mode in ("create", "upsert"):
        with pytest.raises(ShotListError) as caught:
            catalogue.submit([shot(sent)], source="l.csv", mode=mode, lines={f"AGM/{sent}": 7})  # type: ignore[arg-type]
        [found] = caught.value.problems
        assert (found.code, found.line) == ("E503", 7)
        assert f"resembles {there}," in found.message
    assert catalogue.submit([shot(sent)], source="t", allow_new=True).new == (f"AGM/{sent}",)
    assert catalogue.submit([shot(sent), shot(there)], source="t").new == ()


def test_a_claim_is_good_for_one_list(catalogue: Catalogue, shot: Make) -> None:
    """What was taken in under a claim is found by it, and nothing is taken in under it again."""
    assert not catalogue.has_taken("c1")
    catalogue.submit([shot("A")], source="t", claim="c1")
    assert catalogue.has_taken("c1")
    with pytest.raises(ListTakenError, match="c1"):
        catalogue.submit([shot("B")], source="t", claim="c1")
    catalogue.submit([shot("A")], source="t", claim="c2")
    assert catalogue.has_taken("c2")


def test_a_list_that_comes_twice_at_once_goes_in_once(catalogue: Catalogue, url: str, shot: Make) -> None:
    """Of two processes' worth of the same list one takes it in, the other finds it there, whoever is faster."""
    shots = [shot(f"SH{number:04}") for number in range(600)]
    found: list[tuple[int, int]] = []

    def send(order: int) -> None:
        with open_catalogue(url) as other:
            result = other.submit(shots[::order], source="t")
            found.append((len(result.new), len(result.unchanged)))

    both = [threading.Thread(target=send, args=(order,)) for order in (1, -1)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(found) == [(0, 600), (600, 0)]
    assert lists(url) == 1
    assert catalogue.counts()[Status.READY] == 600


KILLED = """
import os, signal, sys
from catalogs.shot import Shot
from catalogs.store import open_catalogue
def said(what, done, total):
    if what == "written" and done >= 10_000:
        os.kill(os.getpid(), signal.SIGKILL)
shots = [Shot("AGM", f"SH{number:05}", 48) for number in range(20_000)]
with open_catalogue(sys.argv[1]) as catalogue:
    catalogue.submit(shots, source="t", said=said)
"""


def test_sigkill_in_the_middle_leaves_nothing(catalogue: Catalogue, url: str, shot: Make) -> None:
    """Killed when half of twenty thousand shots are written: none of them is there, and the list goes in afterwards."""
    catalogue.submit([shot("A")], source="t")
    done = subprocess.run([sys.executable, "-c", KILLED, url], cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-800:]
    assert [record.shot.code for record in catalogue.shots()] == ["A"]
    assert lists(url) == 1
    assert len(catalogue.submit([shot(f"SH{number:05}") for number in range(1200)], source="t").new) == 1200


def test_a_digest_knows_every_field(shot: Make) -> None:
    """Whatever of a request changes, its digest does; its spelling and the order of metadata do not."""
    plate = Plate("/p/a.png", "a" * 64, 64, 36)
    one = shot("A", plate=plate, guidance=5.0, anchors=(Anchor(Fraction(1), plate),), metadata=(("a", "b"), ("c", "d")))
    others = {
        "sequence": "S", "plate": None, "end_plate": plate, "prompt": "p", "negative_prompt": "n", "frames": 9,
        "rate": Fraction(24), "handles": 8, "width": 64, "height": 36, "model": "wan", "seed": 0, "steps": 1,
        "guidance": 5.5, "loras": (LoraUse("mist"),), "context": "frame", "overlap": 1, "anchors": (),
        "max_rerolls": 0, "camera": "roll", "deliveries": (), "speed": Fraction(1, 2), "retimer": "any", "priority": 1,
        "due": date(2027, 1, 1), "notes": "x", "submitted_by": "y", "metadata": (),
    }  # fmt: skip
    assert set(others) == set(Shot.__dataclass_fields__) - {"show", "code"}
    found = {digest(replace(one, **{name: value})) for name, value in others.items()}
    assert len(found | {digest(one)}) == len(others) + 1
    assert digest(replace(one, code="a", metadata=one.metadata[::-1])) == digest(one)


def test_ranks_sort_as_shots_are_rendered(shot: Make) -> None:
    """Priority, due date with none last, show, sequence, code: a shorter code never falls behind a longer one."""
    order = [
        shot("Z", priority=1),
        shot("A", due=date(2027, 1, 1)),
        shot("A", due=date(2027, 1, 2)),
        replace(shot("Z"), show="AG"),
        shot("A"),
        shot("A-1"),
        shot("A.1"),
        shot("A1"),
        shot("A_"),
        shot("a"),
        shot("A", sequence="S"),
        shot("A", priority=99, due=date(2026, 1, 1)),
    ]
    ranks = [rank(one) for one in order]
    assert sorted(ranks) == ranks
