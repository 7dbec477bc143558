"""C2PA: a signed statement of how a file came about, which breaks when a byte of it changes.

Knows: certificates, what a claim says, the C2PA library (c2pa-python, an extra). Does not know: shots, plans, trust
lists: whether a reader trusts the signer is between the reader and the authority that issued the certificate. Memory:
the library streams files; a claim is a few kilobytes.

The library judges a certificate while it signs, that is after hours of rendering. So what can be wrong with it is
looked for before, and `signer` with `trial` signs a picture of 64 pixels to be sure.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tasks.errors import MachineNotReadyError, StepError

FORMATS: Final = {".mp4": "video/mp4", ".mov": "video/quicktime"}
"""Containers that hold their statement, by ending, and their media types."""

SIDECAR: Final = {".webm": "video/webm"}
"""Containers that cannot: the statement lies beside them as `.c2pa`."""

VERSION: Final = "1"
"""Raise it when the same facts would make another statement."""

INSTALL: Final = "pip install 'dailies[c2pa]', or unset DAILIES_C2PA_CERT and DAILIES_C2PA_KEY to deliver unsigned"

_PURPOSES: Final = {
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.36": "documentSigning",
    "1.3.6.1.4.1.62558.2.1": "C2PA claim signing",
}
"""Extended key usages of which a signer's certificate needs one (C2PA specification 2.2, 14.5.1)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Where the studio's certificate and key lie."""

    certificate: Path
    """PEM: the signer's certificate first, then those that issued it. Absolute."""
    key: Path
    """PEM, PKCS #8, without a password. Absolute."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate that was looked at, with its key."""

    identity: Identity
    fingerprint: str
    """sha256 of the signer's certificate, hex."""
    subject: str
    """Whose it is."""
    algorithm: str
    """es256, es384, es512, ps256 or ed25519."""
    until: datetime
    """When it expires; aware."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file that the pictures were made from."""

    role: str
    """plate, end plate or anchor."""
    name: str
    """Its name, without folders."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What is signed."""

    title: str
    """The file's name."""
    key: str
    """Content key of the take."""
    source_type: str
    """Address of IPTC's term."""
    software: str
    """Who made the pictures: the model's card, or animatic."""
    inputs: tuple[Input, ...]


def signer(identity: Identity, *, trial: bool = False, now: datetime | None = None) -> Signer:
    """The certificate and its key, if files can be signed with them; with `trial` a tiny picture is.

    Raises MachineNotReadyError, saying which file and what is wrong with it, or what to install.
    """
    if find_spec("c2pa") is None:
        raise MachineNotReadyError(f"DAILIES_C2PA_CERT is set, and c2pa-python is not installed; {INSTALL}")
    chain = _chain(identity.certificate)
    key = _key(identity.key)
    found = _judged(identity, chain, key, now or datetime.now(UTC))
    if trial:
        _try(found)
    return found


def _chain(path: Path) -> Sequence[Any]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise _wrong("CERT", path, f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise _wrong("CERT", path, "holds no certificate in PEM form") from error


def _key(path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise _wrong("KEY", path, f"cannot be read: {error.strerror or error}") from error
    except TypeError as error:
        raise _wrong("KEY", path, "has a password; a night has nobody to type it: store it without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _wrong("KEY", path, "holds no private key in PEM form") from error


def _judged(identity: Identity, chain: Sequence[Any], key: Any, now: datetime) -> Signer:
    """What C2PA demands of a signer's certificate (specification 2.2, 14.5.1), as far as a file can show it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    first, path = chain[0], identity.certificate
    if first.public_key() != key.public_key():
        raise _wrong("KEY", identity.key, f"is not the key of the first certificate in {path.name}")
    if now < first.not_valid_before_utc:
        raise _wrong("CERT", path, f"is not valid before {first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
    if now >= first.not_valid_after_utc:
        raise _wrong("CERT", path, f"expired on {first.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if first.issuer == first.subject:
        raise _wrong("CERT", path, "is signed by itself; C2PA wants one that an authority issued")
    try:
        if first.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise _wrong("CERT", path, "begins with an authority's certificate; the signer's comes first")
    except x509.ExtensionNotFound:
        pass
    try:
        usage = first.extensions.get_extension_for_class(x509.KeyUsage).value
        purposes = {one.dotted_string for one in first.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value}
    except x509.ExtensionNotFound as error:
        raise _wrong("CERT", path, "does not say what its key may be used for") from error
    if not usage.digital_signature or not purposes & set(_PURPOSES):
        wanted = " or ".join(_PURPOSES.values())
        raise _wrong("CERT", path, f"is not made for signing content: it needs digitalSignature, and {wanted}")
    return Signer(
        identity,
        first.fingerprint(hashes.SHA256()).hex(),
        first.subject.rfc4514_string(),
        _algorithm(identity, key),
        first.not_valid_after_utc,
    )


def _algorithm(identity: Identity, key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey):
        names = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        if key.curve.name in names:
            return names[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    raise _wrong("KEY", identity.key, "is of a kind that C2PA does not take; use P-256, P-384, P-521, Ed25519 or RSA")


def _wrong(which: str, path: Path, what: str) -> MachineNotReadyError:
    return MachineNotReadyError(
        f"DAILIES_C2PA_{which}: {path} {what}; correct it, or unset DAILIES_C2PA_CERT and DAILIES_C2PA_KEY to deliver "
        "unsigned"
    )


def _try(by: Signer) -> None:
    from c2pa import C2paError
    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    picture.seek(0)
    claim = Claim("trial.png", "", "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCreation", "Dailies", ())
    try:
        _signed(picture, io.BytesIO(), "image/png", by, claim)
    except (C2paError, OSError) as error:
        raise _wrong("CERT", by.identity.certificate, f"cannot sign ({error})") from error


def sign(path: Path, by: Signer, claim: Claim) -> None:
    """Put the statement into an MP4 or MOV, in an attempt's folder. Raises StepError; the file is then as it was."""
    signed = path.with_name(f".signed-{path.name}")
    try:
        with path.open("rb") as source, signed.open("w+b") as target:
            _signed(source, target, FORMATS[path.suffix], by, claim)
        os.replace(signed, path)
    except Exception as error:  # the library has its own tree of errors, and is no import of this module
        raise _failed(path, error) from error
    finally:
        signed.unlink(missing_ok=True)


def sign_beside(path: Path, target: Path, by: Signer, claim: Claim) -> None:
    """Write the statement about a file that cannot hold it to `target`. Raises StepError."""
    try:
        # the library hands the file through as well; nobody wants it
        with path.open("rb") as source, open(os.devnull, "w+b") as nowhere:
            target.write_bytes(_signed(source, nowhere, SIDECAR[path.suffix], by, claim, embed=False))
    except Exception as error:  # see sign
        raise _failed(path, error) from error


def _failed(path: Path, error: Exception) -> StepError:
    return StepError(f"{path.name} cannot be signed: {error}; `dailies doctor` looks at the certificate")


def _signed(source: Any, target: Any, kind: str, by: Signer, claim: Claim, *, embed: bool = True) -> bytes:
    """Signs from stream to stream; the statement itself is returned. Raises C2paError, OSError."""
    from c2pa import Builder, C2paSignerInfo
    from c2pa import Signer as Native

    pair = C2paSignerInfo(by.algorithm, by.identity.certificate.read_bytes(), by.identity.key.read_bytes(), None)
    builder = Builder(json.dumps(statement(claim)))
    if not embed:
        builder.set_no_embed()
    return bytes(builder.sign(Native.from_info(pair), kind, source, target))


def statement(claim: Claim) -> dict[str, Any]:
    """What the library is given: created by whom, from what, of which kind; and what leads to our manifest."""
    return {
        "title": claim.title,
        "claim_generator_info": [{"name": "Dailies", "version": installed("dailies")}],
        "ingredients": [
            {
                "title": one.name,
                "relationship": "inputTo",
                "instance_id": f"sha256:{one.sha256}",
                "description": f"{one.role}, sha256 {one.sha256}",
            }
            for one in claim.inputs
        ],
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.created",
                            "digitalSourceType": claim.source_type,
                            "softwareAgent": {"name": claim.software},
                        }
                    ]
                },
            },
            {
                "label": "dailies.take",
                "data": {
                    "key": claim.key,
                    "inputs": [{"role": one.role, "name": one.name, "sha256": one.sha256} for one in claim.inputs],
                },
            },
        ],
    }
