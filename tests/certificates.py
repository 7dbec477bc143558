"""A small certificate authority for tests. Helpers, no tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tasks.c2pa_sign import Identity

DAY = timedelta(days=1)
KINDS = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
    "p192": lambda: ec.generate_private_key(ec.SECP192R1()),
}


@dataclass(frozen=True)
class Wish:
    """What a certificate is to be."""

    kind: str = "es256"
    starts: timedelta = -DAY
    ends: timedelta = 60 * DAY
    purpose: Any = ExtendedKeyUsageOID.EMAIL_PROTECTION
    authority: bool = False
    by_itself: bool = False


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Studio"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(signs, False, False, False, False, not signs, not signs, False, False)


def issue(folder: Path, wish: Wish | None = None, *, password: bytes = b"") -> Identity:
    """A chain of two certificates and the key of the first, in a folder of their own."""
    wish = wish or Wish()
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    root_key, key = KINDS["es256"](), KINDS[wish.kind]()
    hashing = None if wish.kind == "ed25519" and wish.by_itself else hashes.SHA256()
    root = (
        x509.CertificateBuilder()
        .subject_name(_name("Root"))
        .issuer_name(_name("Root"))
        .public_key(root_key.public_key())
        .serial_number(1)
        .not_valid_before(now - 90 * DAY)
        .not_valid_after(now + 90 * DAY)
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(_usage(signs=False), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), False)
        .sign(root_key, hashes.SHA256())
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name("Signer"))
        .issuer_name(_name("Signer" if wish.by_itself else "Root"))
        .public_key(key.public_key())
        .serial_number(2)
        .not_valid_before(now + wish.starts)
        .not_valid_after(now + wish.ends)
        .add_extension(x509.BasicConstraints(wish.authority, None), True)
        .add_extension(_usage(signs=True), True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
    )
    if wish.purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([wish.purpose]), False)
    leaf = builder.sign(key if wish.by_itself else root_key, hashing)
    identity = Identity(folder / "signing.pem", folder / "signing.key")
    pem = serialization.Encoding.PEM
    identity.certificate.write_bytes(leaf.public_bytes(pem) + root.public_bytes(pem))
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    identity.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, hidden))
    return identity
