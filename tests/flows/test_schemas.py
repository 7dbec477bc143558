"""What is published fits the JSON Schemas that come with the package, and what is broken does not."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from rendering import House
from shipped_schemas import complaints, validator

from catalogs.store import open_catalogue

GONE = object()

BROKEN: list[tuple[tuple[str | int, ...], Any]] = [
    (("surplus",), 1),
    (("digital_source_type",), "trainedAlgorithmicMedia"),
    (("sidecars", 0, "kind"), "txt"),
    (("slate",), ""),
    (("take", "key"), GONE),
    (("take", "version"), 0),
    (("shot", "rate"), 24),
    (("shot", "plate", "sha256"), "no digest"),
    (("plan", "windows"), []),
    (("plan", "windows", 0, "segment"), [0]),
    (("plan", "native_rate"), "16"),
    (("engine", "licence"), GONE),
    (("engine", "versions", "ffmpeg"), GONE),
    (("engine", "windows", 0, "rolls", 0, "seed"), -1),
    (("join", "windows", 0, "gain"), [1.0, 1.0]),
    (("retime", "sha256"), "x"),
    (("master", "kind"), "clip"),
    (("deliverables", 0, "sha256"), "AB" * 32),
    (("deliverables", 0, "path"), "/srv/film.mp4"),
    (("deliverables", 0, "rate"), "23.976"),
    (("deliverables", 0, "argv"), []),
    (("deliverables", 0, "colour"), "red"),
    (("seams", 0, "likeness"), "good"),
    (("seconds", "encode"), -1.0),
    (("finished",), "yesterday"),
]
"""Where, and what stands there instead; GONE for nothing."""


def broken(document: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """The document with one thing changed."""
    changed = copy.deepcopy(document)
    place = changed
    for step in path[:-1]:
        place = place[step]
    if value is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


def test_manifests_of_rendered_shots_fit_and_broken_ones_do_not(house: House) -> None:
    """A short shot, and one of two windows with an anchor and metadata, fit; broken in any way they do not."""
    house.submit(
        {"shot": "SH0010"},
        {
            "shot": "SH0020",
            "frames": "90",
            "fps": "16",
            "resolution": "96x64",
            "deliveries": "webm png",
            "anchors": f"2s={house.plate}",
            "due": "2026-12-24",
            "Reel Colour": "green",
            "source_type": "compositeSynthetic",
        },
    )
    reports = house.json("render")["shots"]
    assert [report["error"] for report in reports] == ["", ""]
    manifests = [json.loads(Path(report["manifest"]).read_text()) for report in reports]
    assert [complaints("manifest", one) for one in manifests] == [[], []]
    [chained] = [one for one in manifests if one["shot"]["code"] == "SH0020"]
    assert len(chained["seams"]) == 1
    assert chained["digital_source_type"].endswith("/compositeSynthetic")
    [beside] = chained["sidecars"]
    assert (beside["path"], beside["of"]) == (
        "AGM_SQ010_SH0020_v001_16p_webm.xmp",
        "AGM_SQ010_SH0020_v001_16p_webm.webm",
    )
    for path, value in BROKEN:
        assert complaints("manifest", broken(chained, path, value)), f"{path} may be {value!r}"
    with open_catalogue(f"sqlite:///{house.home / 'catalogue.sqlite'}") as catalogue:
        known = [file for one in catalogue.shots() if one.take for file in one.take.deliverables]
    assert sorted(file.path for file in known) == sorted(
        house.home / "deliveries" / "AGM" / "SQ010" / one["shot"]["code"] / "v001" / file["path"]
        for one in manifests
        for file in one["deliverables"]
    )
    assert all(file.path.exists() for file in known)
    findings = json.loads(Path(reports[0]["manifest"]).with_name("findings.json").read_text())
    assert complaints("findings", findings) == []


@pytest.mark.parametrize(
    "change",
    [
        {"severity": "fatal"},
        {"frame_in": -1},
        {"code": "No Code"},
        {"limit": 3.0},
        {"opinion": "ugly"},
    ],
)
def test_findings_that_are_none_do_not_fit(change: dict[str, Any]) -> None:
    """A finding has a public code, one of three severities, frames from 0, and words for value and limit."""
    good = {
        "code": "seam",
        "severity": "issue",
        "frame_in": 0,
        "frame_out": 2,
        "value": "jump 4",
        "limit": "3",
        "subject": "",
    }
    assert complaints("findings", {"findings": [good]}) == []
    assert complaints("findings", {"findings": [{**good, **change}]})


def test_the_schemas_agree_on_a_finding() -> None:
    """Manifest and findings.json describe a finding with the same words."""
    manifest, findings = validator("manifest").schema, validator("findings").schema
    assert manifest["$defs"]["finding"] == findings["$defs"]["finding"]
