"""Claims about naming a shot by what reports print: a take's slate finds its shot, or a sentence says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from catalogue_nights import begun, finish

from catalogs.errors import AmbiguousShotError, CatalogueError, UnknownShotError
from catalogs.shot import Shot
from catalogs.store import Catalogue

SHOT = Shot("AGM", "SH0010", 48, sequence="SQ010")


def test_a_slate_names_its_shot(catalogue: Catalogue) -> None:
    """Before its first take v001, later any version that there is; in any case, with blanks around it."""
    catalogue.submit([SHOT, replace(SHOT, code="SH0020", sequence="")], source="t")
    assert catalogue.find(" agm_sq010_sh0010_V001 ").shot == SHOT
    assert catalogue.find("AGM_SH0020_v001").shot.code == "SH0020"
    finish(catalogue, begun(catalogue, SHOT.name))
    assert catalogue.find("AGM_SQ010_SH0010_v001").shot == SHOT
    with pytest.raises(CatalogueError, match=r"AGM/SH0010 has no take v002, its newest take is v001; name the shot as"):
        catalogue.find("AGM_SQ010_SH0010_v002")
    with pytest.raises(CatalogueError, match="AGM/SH0020 has no take v002, it has no take yet"):
        catalogue.find("AGM_SH0020_v002")


def test_a_take_keeps_the_slate_that_was_printed(catalogue: Catalogue) -> None:
    """A shot that moved to another sequence is found by the slate of its old take, and by the one it has now."""
    catalogue.submit([SHOT], source="t")
    finish(catalogue, begun(catalogue, SHOT.name))
    catalogue.submit([replace(SHOT, sequence="SQ020")], source="t", mode="update")
    assert catalogue.find("AGM_SQ010_SH0010_v001").shot.sequence == "SQ020"
    assert catalogue.find("AGM_SQ020_SH0010_v001").shot.sequence == "SQ020"
    with pytest.raises(UnknownShotError):
        catalogue.find("AGM_SQ030_SH0010_v001")


def test_a_slate_of_two_shots_is_refused(catalogue: Catalogue) -> None:
    """Underscores in codes can make two shots share one: both are named; a code that looks like a slate comes first."""
    two = [Shot("A_B", "C", 48), Shot("A", "C", 48, sequence="B"), Shot("AGM", "D_v001", 48), Shot("D", "X", 48)]
    catalogue.submit(two, source="t")
    with pytest.raises(AmbiguousShotError, match="A/C, A_B/C"):
        catalogue.find("A_B_C_v001")
    assert catalogue.find("D_v001").shot.name == "AGM/D_v001"
    with pytest.raises(UnknownShotError, match="no shot 'A_B_D_v001'"):
        catalogue.find("A_B_D_v001")


def test_a_night_takes_slates(catalogue: Catalogue) -> None:
    """`cancel` and `release` know the shot by its slate, and answer with its name."""
    catalogue.submit([SHOT, replace(SHOT, code="SH0020")], source="t")
    nights = catalogue.nights
    batch = nights.open_batch(until=None, wishes={}, plan={}, flow_run="f")
    nights.grant(batch.name, "reel 01", [SHOT.name, "AGM/SH0020"])
    assert nights.cancel(["AGM_SQ010_SH0020_v001"]) == ["AGM/SH0020"]
    nights.quarantine(SHOT.name, error="its process died 2 times")
    assert nights.release(["AGM_SQ010_SH0010_v001"]) == [SHOT.name]
