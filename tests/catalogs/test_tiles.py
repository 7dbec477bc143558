"""Claims about what a review sees of the catalogue, on each database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from catalogue_nights import arrived, begun, opened
from versions import deliverable

from catalogs.errors import UnknownShotError
from catalogs.footage import Finding, Severity, Status
from catalogs.shot import Shot
from catalogs.store import Catalogue
from catalogs.tiles import ANY_FINDING, MOST, Wanted

Make = Callable[..., Shot]


def published(catalogue: Catalogue, name: str, *, key: str, findings: Sequence[Finding] = ()) -> int:
    """One more published version of a shot; its number."""
    take = catalogue.begin_take(name, key=key, plan=lambda version: {})
    folder = Path(f"/deliveries/{name}/v{take.version:03d}")
    made = [deliverable(folder, take.code, kind, frames=48, rate=Fraction(24)) for kind in ("h265", "webm")]
    catalogue.finish_take(
        take, manifest=folder / "manifest.json", clips=[], deliverables=made, findings=findings, seconds={}
    )
    return take.version


def finding(code: str, severity: Severity) -> Finding:
    """One result of inspection."""
    return Finding(code, severity, 0, 1, "1", "0")


def test_the_tile_shows_the_newest_version_that_can_be_seen(catalogue: Catalogue, shot: Make) -> None:
    """While a third take fails, the second stays on the page, with its findings and kinds."""
    asked = shot("SH0010", sequence="SQ010", frames=48, handles=8)
    catalogue.submit([asked], source="t")
    [bare] = catalogue.reviews.tiles(Wanted()).tiles
    assert (bare.version, bare.newest, bare.slate, bare.kinds) == (0, 0, "AGM_SQ010_SH0010", ())
    published(catalogue, asked.name, key="a", findings=[finding("black", Severity.ISSUE)])
    found = [finding("flash", Severity.ISSUE), finding("flash", Severity.ISSUE), finding("banding", Severity.FYI)]
    published(catalogue, asked.name, key="b", findings=found)
    failed = catalogue.begin_take(asked.name, key="c", plan=lambda version: {})
    catalogue.fail_take(failed, error="no memory", seconds={})
    [tile] = catalogue.reviews.tiles(Wanted()).tiles
    assert (tile.version, tile.newest, tile.slate) == (2, 3, "AGM_SQ010_SH0010_v002")
    assert (tile.status, tile.error, tile.frames) == (Status.FAILED, "no memory", 64)
    assert tile.findings == {Severity.ISSUE: 2, Severity.FYI: 1}
    assert (tile.codes, tile.kinds) == (("flash",), ("h265", "webm"))
    assert tile.finished is not None
    assert tile.finished.tzinfo is not None


def test_a_review_is_narrowed_to_what_somebody_wants(catalogue: Catalogue, shot: Make) -> None:
    """By show, sequence, status, finding, night and part of the code; each alone and together."""
    catalogue.submit(
        [
            shot("SH0020", sequence="B"),
            shot("SH0010", sequence="B"),
            shot("SH0030", sequence="A"),
            shot("X_1", show="ZED"),
            shot("XA1", show="ZED"),
        ],
        source="t",
    )
    published(catalogue, "AGM/SH0010", key="a", findings=[finding("black", Severity.BLOCKER)])
    published(catalogue, "AGM/SH0030", key="a", findings=[finding("banding", Severity.FYI)])

    def codes(**fields: object) -> list[str]:
        page = catalogue.reviews.tiles(Wanted(**fields))  # type: ignore[arg-type]
        assert page.total == len(page.tiles)
        return [tile.code for tile in page.tiles]

    assert codes() == ["SH0030", "SH0020", "SH0010", "X_1", "XA1"]
    assert codes(show="agm") == ["SH0030", "SH0020", "SH0010"]
    assert codes(sequence="b") == ["SH0020", "SH0010"]
    assert codes(sequence="") == ["X_1", "XA1"]
    assert codes(statuses=(Status.REVIEW,)) == ["SH0030", "SH0010"]
    assert codes(statuses=(Status.REVIEW,), sequence="A") == ["SH0030"]
    assert codes(finding=ANY_FINDING) == codes(finding="black") == ["SH0010"]
    assert codes(finding="flash") == codes(finding="banding") == []
    assert codes(code="h003") == ["SH0030"]
    assert codes(code="x_") == ["X_1"]  # no wildcard of SQL
    assert codes(show="nothing") == []
    shelves = catalogue.reviews.shelves()
    assert shelves.shows == ("AGM", "ZED")
    assert shelves.sequences == (("AGM", "A"), ("AGM", "B"), ("ZED", ""))
    assert shelves.codes == ("black",)


def test_a_night_s_page_has_what_the_night_has_tried(catalogue: Catalogue, shot: Make) -> None:
    """A shot that was never granted is on no night's page."""
    catalogue.submit([shot("A"), shot("B")], source="t")
    batch = opened(catalogue)
    [attempt] = catalogue.nights.grant(batch.name, "reel 01", ["AGM/A"])
    arrived(catalogue, "run", batch.name)
    begun(catalogue, "AGM/A", attempt.fence)
    assert [tile.code for tile in catalogue.reviews.tiles(Wanted(batch=batch.name)).tiles] == ["A"]
    assert catalogue.reviews.tiles(Wanted(batch="another")).total == 0
    assert catalogue.reviews.shelves().batches == (batch.name,)


def test_pages_follow_each_other(catalogue: Catalogue, shot: Make) -> None:
    """Every shot is on one page, and each page says how many there are."""
    catalogue.submit([shot(f"S{number:03d}") for number in range(7)], source="t")
    found = []
    for offset in (0, 3, 6, 9):
        page = catalogue.reviews.tiles(Wanted(limit=3, offset=offset))
        assert page.total == 7
        found += [tile.code for tile in page.tiles]
    assert found == [f"S{number:03d}" for number in range(7)]
    assert catalogue.reviews.tiles(Wanted(limit=MOST + 1)).total == 7


def test_one_shot_with_all_its_versions(catalogue: Catalogue, shot: Make) -> None:
    """As `versions` has it, for the one shot that a page shows."""
    catalogue.submit([shot("A"), shot("B")], source="t")
    for key in ("a", "b"):
        published(catalogue, "AGM/A", key=key)
    found = catalogue.reviews.versions("agm/a")
    assert found == [*catalogue.versions()[0].versions]
    assert [one.take.version for one in found] == [1, 2]
    with pytest.raises(UnknownShotError):
        catalogue.reviews.versions("AGM/C")
