"""Every version of every shot, in cut order, on each database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from versions import deliverable

from catalogs.errors import CatalogueError
from catalogs.footage import Status
from catalogs.shot import Shot
from catalogs.store import Catalogue

Make = Callable[..., Shot]


def test_versions_say_what_their_own_plan_said(catalogue: Catalogue, shot: Make) -> None:
    """A shot that is asked for anew at another length and rate keeps the versions that it had, as they were."""
    asked = shot(handles=4, rate=Fraction(24000, 1001))
    catalogue.submit([asked], source="t")
    first = catalogue.begin_take(
        asked.name, key="k1", plan=lambda version: {"rate": "24000/1001", "frames": 56, "handles": 4}
    )
    catalogue.fail_take(first, error="no", seconds={})
    take = catalogue.begin_take(
        asked.name, key="k2", plan=lambda version: {"rate": "24000/1001", "frames": 56, "handles": 4}
    )
    film = deliverable(Path("/somewhere/else"), "AGM_SH0010_v002", "prores", frames=56, rate=asked.rate)
    manifest = Path("/deliveries/v002/manifest.json")
    catalogue.finish_take(take, manifest=manifest, clips=[], deliverables=[film], findings=[], seconds={})
    catalogue.submit([replace(asked, frames=100, rate=Fraction(25), handles=0)], source="t", mode="update")
    [found] = catalogue.versions(show="agm")
    assert (found.shot.frames, found.status) == (100, Status.READY)
    failed, published = found.versions
    assert [(one.take.version, one.take.status) for one in found.versions] == [(1, Status.FAILED), (2, Status.REVIEW)]
    assert (published.rate, published.frames, published.handles) == (Fraction(24000, 1001), 56, 4)
    assert [one.path for one in published.take.deliverables] == [Path("/deliveries/v002") / film.path.name]
    assert failed.take.deliverables == ()
    assert published.started <= (published.finished or published.started)
    assert published.started.tzinfo is not None


def test_the_order_is_that_of_the_lists(catalogue: Catalogue, shot: Make) -> None:
    """By show and sequence, then as the rows came; a row that changes stays where it was."""
    listed = [shot("SH0020", sequence="B"), shot("SH0010", sequence="B"), shot("SH0030", sequence="A", priority=1)]
    catalogue.submit(listed, source="t")
    catalogue.submit([shot("SH0005", sequence="B"), shot("SH0020", sequence="B", frames=9)], source="t", mode="upsert")
    codes = [one.shot.code for one in catalogue.versions()]
    assert codes == ["SH0030", "SH0020", "SH0010", "SH0005"]
    assert [one.shot.code for one in catalogue.versions(sequence="b")] == codes[1:]


def test_a_name_that_nothing_has_is_told_what_there_is(catalogue: Catalogue, shot: Make) -> None:
    """No show, no sequence; and an empty catalogue."""
    assert catalogue.versions() == []
    with pytest.raises(CatalogueError, match="no show 'X'; the catalogue has no show: submit a shot list"):
        catalogue.versions(show="X")
    catalogue.submit([shot(sequence="SQ1"), shot("SH0020")], source="t")
    with pytest.raises(CatalogueError, match="no sequence 'SQ2'; the catalogue has SQ1, _"):
        catalogue.versions(sequence="SQ2")
