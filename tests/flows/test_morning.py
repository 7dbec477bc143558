"""Claims about the night's contact sheet: it tells viewers what every sheet tells them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.morning import night_sheet, noticed, notices_of
from flows.settings import Settings
from tasks import sheet
from tasks.engines import ANIMATIC, DRAFT, NOTICES


def done(settings: Settings, plate: Path, code: str, notices: list[str]) -> dict[str, Any]:
    """A finished shot's entry, its still, and its manifest."""
    stills = settings.work / "AGM" / code / "key" / "stills"
    stills.mkdir(parents=True)
    (stills / "0001.png").write_bytes(plate.read_bytes())
    manifest = settings.deliveries / code / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"notices": notices}))
    return {
        "show": "AGM",
        "shot": code,
        "slate": f"AGM_{code}_v001",
        "outcome": "done",
        "seconds": {"generate": 60.0, "encode": 66.0},
        "manifest": str(manifest),
    }


def amber(path: Path) -> int:
    """Pixels of the colour that notices are written in, above the stills."""
    with Image.open(path) as image:
        head = np.asarray(image.convert("RGB").crop((0, 0, image.width, 126))).astype(int)
        return int((np.abs(head - (232, 176, 92)).max(axis=-1) < 40).sum())


def test_a_night_of_animatics_says_so_on_its_sheet(
    tmp_path: Path, plate_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The badge of the shots' own sheets stands on the night's; the number beside a slate says that it is the time of
    rendering; a sheet of a model's shots has no badge."""
    said: list[dict[str, Any]] = []
    draw = sheet.batch_sheet

    def seen(shots: Any, target: Path, **words: Any) -> None:
        said.append({"details": [detail for _, detail, _ in shots], **words})
        draw(shots, target, **words)

    monkeypatch.setattr(sheet, "batch_sheet", seen)
    settings = Settings.read({"DAILIES_HOME": str(tmp_path)})
    drawn = [done(settings, plate_path, code, [NOTICES[ANIMATIC], NOTICES["flow"]]) for code in ("SH0010", "SH0020")]
    made = done(settings, plate_path, "SH0030", [])
    report = {"batch": "2026-11-21", "summary": "2 of 2 shots done"}
    for name, entries in (("drawn", drawn), ("made", [made]), ("both", [*drawn, made])):
        assert night_sheet({**report, "shots": entries}, settings, tmp_path / f"{name}.jpg")
    assert [one["badge"] for one in said] == [NOTICES[ANIMATIC], "", f"2 of 3 shots: {NOTICES[ANIMATIC]}"]
    assert [one["tags"] for one in said] == [{}, {}, {0: "animatic", 1: "animatic"}]
    assert said[0]["details"] == ["render 2 min"] * 2
    assert NOTICES["flow"] in said[0]["caption"]
    assert amber(tmp_path / "drawn.jpg") > 100
    assert amber(tmp_path / "both.jpg") > 100
    assert amber(tmp_path / "made.jpg") == 0


def test_the_loudest_notice_comes_first() -> None:
    """The animatic before the draft, whoever says it first; how many say it, unless all do; words of one shot alone are
    counted."""
    animatic, draft = NOTICES[ANIMATIC], NOTICES[DRAFT]
    assert notices_of([[draft], [draft, animatic], [draft, "made at 640x360 instead of 1280x720"]]) == [
        f"1 of 3 shots: {animatic}",
        draft,
        "1 of 3 shots have a notice on their own sheets.",
    ]
    assert notices_of([[], []]) == []


def test_a_manifest_that_is_gone_says_nothing(tmp_path: Path) -> None:
    """None, a path without a file, a file that is none: a sheet is made all the same."""
    (tmp_path / "broken.json").write_text("{")
    for manifest in (None, str(tmp_path / "none.json"), str(tmp_path / "broken.json")):
        assert noticed(manifest) == []
