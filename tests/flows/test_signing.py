"""Deliverables that are signed on their way, and a certificate that is refused before anything is rendered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import DAY, Wish, issue
from rendering import ROOT, House
from shipped_schemas import complaints

from tasks.keep import sha256_of
from tasks.xmp import read_xmp

c2pa = pytest.importorskip("c2pa")


def test_what_is_delivered_is_signed(house: House, tmp_path: Path) -> None:
    """MP4 and MOV hold their statement, WebM has it beside it; hashes and inspection are of the signed files."""
    identity = issue(tmp_path / "studio")
    signing = {"DAILIES_C2PA_CERT": str(identity.certificate), "DAILIES_C2PA_KEY": str(identity.key)}
    house.submit({"shot": "SH0010", "deliveries": "h264 prores webm"})
    [report] = house.json("render", **signing)["shots"]
    assert (report["status"], report["error"]) == ("review", "")
    folder = Path(report["manifest"]).parent
    manifest = json.loads((folder / "manifest.json").read_text())
    assert complaints("manifest", manifest) == []
    assert manifest["signature"]["subject"] == "CN=Signer,O=Example Studio,C=DE"
    assert manifest["findings"] == []
    for entry in (*manifest["deliverables"], *manifest["sidecars"]):
        assert sha256_of(folder / entry["path"]) == entry["sha256"]
    assert [(one["kind"], one["path"]) for one in manifest["sidecars"]] == [
        ("xmp", "AGM_SQ010_SH0010_v001_30p_webm.xmp"),
        ("c2pa", "AGM_SQ010_SH0010_v001_30p_webm.c2pa"),
    ]
    named = {entry["kind"]: folder / entry["path"] for entry in manifest["deliverables"]}
    for kind, media in (("h264", "video/mp4"), ("prores", "video/quicktime"), ("webm", "video/webm")):
        beside = (folder / manifest["sidecars"][1]["path"]).read_bytes() if kind == "webm" else None
        with named[kind].open("rb") as stream, c2pa.Reader(media, stream, beside) as reader:
            assert reader.get_validation_state() == "Valid"
            statement = reader.get_active_manifest()
        told = {one["label"]: one["data"] for one in statement["assertions"]}
        assert told["dailies.take"]["key"] == manifest["take"]["key"]
        assert told["dailies.take"]["inputs"][0]["sha256"] == manifest["shot"]["plate"]["sha256"]
        assert told["c2pa.actions.v2"]["actions"][0]["digitalSourceType"] == manifest["digital_source_type"]
        if kind != "webm":
            assert manifest["digital_source_type"] in read_xmp(named[kind])


def test_an_expired_certificate_stops_before_anything_is_rendered(house: House, tmp_path: Path) -> None:
    """A sentence and exit code 3; the shot is ready as before. One variable without the other likewise."""
    identity = issue(tmp_path / "studio", Wish(starts=-9 * DAY, ends=-DAY))
    house.submit({"shot": "SH0010"})
    done = house.run("render", DAILIES_C2PA_CERT=str(identity.certificate), DAILIES_C2PA_KEY=str(identity.key))
    assert done.returncode == 3
    assert "signing.pem expired on" in done.stderr
    alone = house.run("render", DAILIES_C2PA_KEY=str(identity.key))
    assert alone.returncode == 3
    assert "DAILIES_C2PA_KEY is set and DAILIES_C2PA_CERT is not" in alone.stderr
    assert house.json("shots")["shots"][0]["status"] == "ready"


def test_a_certificate_that_expires_in_the_middle_is_no_defect(house: House, tmp_path: Path) -> None:
    """After the batch has begun the shot fails with the sentence that names file and remedy, and can be rendered again
    with a better one: nobody is told to report it."""
    identity = issue(tmp_path / "studio", Wish(starts=-9 * DAY, ends=-DAY))
    house.submit({"shot": "SH0010"})
    # as the command line would do it, had the certificate still been good when it looked
    script = "import json; from flows.render import run_batch; print(json.dumps(run_batch(['SH0010'])))"
    signing = {"DAILIES_C2PA_CERT": str(identity.certificate), "DAILIES_C2PA_KEY": str(identity.key)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**house.environment, **signing},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    [report] = json.loads(done.stdout.splitlines()[-1])["shots"]
    assert report["status"] == "failed"
    assert "signing.pem expired on" in report["error"]
    assert "report it" not in report["error"]
    [shot] = house.json("shots")["shots"]
    assert (shot["status"], shot["error"]) == ("failed", report["error"])
    assert [one["status"] for one in house.json("render")["shots"]] == ["review"]
