"""Signed statements: what they say, that a changed byte is found, and certificates that will not do."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import pytest
from certificates import DAY, Wish, issue
from cryptography.x509.oid import ExtendedKeyUsageOID

from catalogs.source_types import MODEL
from tasks import doctor
from tasks.c2pa_sign import FORMATS, Claim, Identity, Input, Signer, sign, sign_beside, signer
from tasks.errors import MachineNotReadyError, StepError
from tasks.marks import Marks, mark
from tasks.xmp import read_xmp

c2pa = pytest.importorskip("c2pa")

CLAIM = Claim(
    "film",
    "5f" * 32,
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    "wan2.1-i2v-14b-720p",
    (Input("plate", "lake.png", "ab" * 32), Input("end plate", "shore.png", "cd" * 32)),
)
UNTRUSTED = "signingCredential.untrusted"
ENCODERS = {".mp4": "libx264", ".mov": "prores_ks", ".webm": "libvpx-vp9"}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Mapping[str, Path]:
    """A tiny film in each container, by ending; the MP4 with its index in front."""
    folder = tmp_path_factory.mktemp("films")
    for ending, encoder in ENCODERS.items():
        source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=24", "-frames:v", "5"]
        front = ["-movflags", "+faststart"] if ending != ".webm" else []
        made = [ffmpeg, "-v", "error", *source, "-c:v", encoder, *front, str(folder / f"film{ending}")]
        subprocess.run(made, check=True)
    return {ending: folder / f"film{ending}" for ending in ENCODERS}


@pytest.fixture(scope="module")
def by(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """A studio with a certificate that an authority issued."""
    return signer(issue(tmp_path_factory.mktemp("studio")), trial=True)


@pytest.fixture
def film(films: Mapping[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a film that may be signed."""

    def copied(ending: str) -> Path:
        path = tmp_path / f"film{ending}"
        path.write_bytes(films[ending].read_bytes())
        return path

    return copied


def found(kind: str, film: bytes, beside: bytes | None = None) -> tuple[str, dict[str, Any], list[str]]:
    """Verdict, statement and complaints of the C2PA library's own reader; not knowing the authority is no complaint."""
    with c2pa.Reader(kind, io.BytesIO(film), beside) as reader:
        document = json.loads(reader.json())
        codes = [one["code"] for one in document.get("validation_status", [])]
        statement = document["manifests"][document["active_manifest"]]
        return reader.get_validation_state(), statement, [code for code in codes if code != UNTRUSTED]


def changed(film: bytes, at: int) -> bytes:
    """The film with one bit turned."""
    other = bytearray(film)
    other[at] ^= 1
    return bytes(other)


def frames(path: Path) -> list[bytes]:
    """Every decoded frame."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


@pytest.mark.parametrize("ending", list(FORMATS))
def test_a_signed_film_says_how_it_came_about(
    film: Callable[[str], Path], films: Mapping[str, Path], by: Signer, ending: str
) -> None:
    """Created by Dailies from these plates by this model, of that kind; and it decodes to the frames that it had."""
    path = film(ending)
    sign(path, by, CLAIM)
    state, statement, complaints = found(FORMATS[ending], path.read_bytes())
    assert (state, complaints) == ("Valid", [])
    assert statement["claim_generator_info"][0]["name"] == "Dailies"
    assert statement["signature_info"]["issuer"] == "Example Studio"
    told = {one["label"]: one["data"] for one in statement["assertions"]}
    [action] = told["c2pa.actions.v2"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", CLAIM.source_type)
    assert action["softwareAgent"]["name"] == "wan2.1-i2v-14b-720p"
    assert told["dailies.take"]["key"] == CLAIM.key
    assert [(one["title"], one["relationship"]) for one in statement["ingredients"]] == [
        ("lake.png", "inputTo"),
        ("shore.png", "inputTo"),
    ]
    assert statement["ingredients"][0]["description"] == f"plate, sha256 {'ab' * 32}"
    assert frames(path) == frames(films[ending])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", list(FORMATS))
def test_a_changed_byte_is_found(film: Callable[[str], Path], by: Signer, ending: str) -> None:
    """In the pictures, in the index and in the XMP that was there before."""
    path = film(ending)
    marks = Marks("AGM_v001", CLAIM.key, MODEL, "wan", CLAIM.inputs, by)
    mark(path, marks)
    whole = path.read_bytes()
    assert found(FORMATS[ending], whole)[0] == "Valid"
    places = [whole.rindex(b"mdat") + 60, whole.index(b"mvhd") + 12]
    if ending == ".mp4":
        assert read_xmp(path) == marks.xmp
        places.append(whole.index(b"trainedAlgorithmicMedia</"))
    for at in places:
        state, _, complaints = found(FORMATS[ending], changed(whole, at))
        assert (state, complaints) == ("Invalid", ["assertion.bmffHash.mismatch"]), at


def test_the_statement_about_a_webm_lies_beside_it(film: Callable[[str], Path], by: Signer, tmp_path: Path) -> None:
    """The film is not touched, and any byte of it that changes is found."""
    path, beside = film(".webm"), tmp_path / "film.c2pa"
    before = path.read_bytes()
    sign_beside(path, beside, by, CLAIM)
    assert path.read_bytes() == before
    state, statement, complaints = found("video/webm", before, beside.read_bytes())
    assert (state, complaints) == ("Valid", [])
    assert statement["title"] == "film"
    for at in (0, len(before) // 2, len(before) - 1):
        assert found("video/webm", changed(before, at), beside.read_bytes())[2] == ["assertion.dataHash.mismatch"]


@pytest.mark.parametrize("kind", ["es256", "es384", "ed25519", "ps256"])
def test_keys_of_every_kind_sign(tmp_path: Path, kind: str) -> None:
    """Elliptic curves and RSA: the algorithm follows from the key."""
    assert signer(issue(tmp_path, Wish(kind=kind)), trial=True).algorithm == kind


WRONG: list[tuple[str, Wish, str]] = [
    ("expired", Wish(starts=-9 * DAY, ends=-DAY), r"signing\.pem expired on 20"),
    ("early", Wish(starts=DAY), r"signing\.pem is not valid before 20"),
    ("by itself", Wish(by_itself=True), r"signing\.pem is signed by itself"),
    ("authority", Wish(authority=True), r"begins with an authority's certificate"),
    ("no purpose", Wish(purpose=None), r"does not say what its key may be used for"),
    ("server", Wish(purpose=ExtendedKeyUsageOID.SERVER_AUTH), r"is not made for signing content"),
    ("curve", Wish(kind="p192"), r"signing\.key is of a kind that C2PA does not take"),
]


@pytest.mark.parametrize(("wish", "said"), [pytest.param(*rest, id=name) for name, *rest in WRONG])
def test_certificates_that_will_not_do_are_named(tmp_path: Path, wish: Wish, said: str) -> None:
    """Each with its file, what is wrong, and what to do."""
    with pytest.raises(MachineNotReadyError, match=rf"{said}.*; correct it, or unset DAILIES_C2PA_CERT"):
        signer(issue(tmp_path, wish))


def test_files_that_are_something_else_are_named(tmp_path: Path) -> None:
    """Missing, not PEM, behind a password, of another certificate."""
    good, other = issue(tmp_path / "a"), issue(tmp_path / "b")
    locked = issue(tmp_path / "c", password=b"secret")
    words = tmp_path / "words.txt"
    words.write_text("no certificate")
    for identity, said in (
        (Identity(tmp_path / "gone.pem", good.key), "CERT: .*gone.pem cannot be read: No such file"),
        (Identity(good.certificate, tmp_path / "gone.key"), "KEY: .*gone.key cannot be read"),
        (Identity(words, good.key), "words.txt holds no certificate"),
        (Identity(good.certificate, words), "words.txt holds no private key"),
        (locked, "has a password"),
        (Identity(good.certificate, other.key), "is not the key of the first certificate in signing.pem"),
    ):
        with pytest.raises(MachineNotReadyError, match=said):
            signer(identity)


def test_without_the_library_the_remedy_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate is configured and c2pa-python is not there."""
    identity = issue(tmp_path)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(MachineNotReadyError, match=r"not installed; pip install 'dailies\[c2pa\]'"):
        signer(identity)


def test_a_file_that_cannot_be_signed_stays_as_it_was(by: Signer, tmp_path: Path) -> None:
    """Something that is no film fails with its name, and nothing is left beside it."""
    path = tmp_path / "film.mp4"
    path.write_bytes(b"no film")
    with pytest.raises(StepError, match=r"film\.mp4 cannot be signed"):
        sign(path, by, CLAIM)
    assert path.read_bytes() == b"no film"
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.mp4"]


def test_doctor_looks_at_the_certificate(tmp_path: Path) -> None:
    """Well, about to expire, expired: each with its remedy."""
    checks = [
        doctor._signer(issue(tmp_path / str(days), Wish(starts=-9 * DAY, ends=days * DAY))) for days in (60, 3, -1)
    ]
    assert [check.status for check in checks] == ["ok", "warning", "missing"]
    assert checks[0].detail.startswith("CN=Signer,O=Example Studio,C=DE, es256, until 20")
    assert "it expires soon" in checks[1].remedy
    assert "expired on" in checks[2].detail
    assert checks[2].remedy.startswith("correct it, or unset")


def test_another_certificate_is_another_mark(by: Signer, tmp_path: Path) -> None:
    """A kept file that was signed by nobody, or by somebody else, is made again."""
    other = signer(issue(tmp_path))
    prints = {Marks("AGM_v001", CLAIM.key, MODEL, "wan", (), one).fingerprint for one in (None, by, other)}
    assert len(prints) == 3
