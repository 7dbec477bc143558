"""What is written into every deliverable about what it is: title and comment, XMP, a signature.

Knows: which container carries what, and when a kept file has to be made again because it says something else.
Does not know: how a packet is built (tasks.xmp), how a signature is made. Memory: one packet.

    H.265, H.264 (MP4)   title, comment, XMP in a box at the end, a C2PA statement where a certificate is configured
    ProRes (MOV)         title, comment, XMP in the user data, likewise
    WebM                 title, comment; XMP beside it (`..._webm.xmp`), and the statement (`..._webm.c2pa`)
    PNG                  XMP in each picture
    EXR                  nothing

The comment names the take by its content key. It cannot be the manifest's own hash: the manifest holds the hashes of
the files, so it is written after them, and either would change the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from catalogs.source_types import MODEL, MOVED, SCHEME
from models.cards import ANIMATIC
from tasks.c2pa_sign import FORMATS, SIDECAR, Claim, Input, Signer, sign, sign_beside, statement
from tasks.errors import MediaError, StepError
from tasks.keep import Kept, bytes_of, sha256_of
from tasks.plan import TakePlan, content_key
from tasks.xmp import VERSION, packet, put_in_mp4, put_in_png

NOTE: Final = "marks"
"""Under which a kept file's receipt says what was written into it."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What a take's files say about themselves."""

    slate: str
    key: str
    """Content key of the take."""
    source_type: str
    """A term of catalogs.source_types."""
    software: str = ""
    """Who made the pictures: the model's card, or animatic."""
    inputs: tuple[Input, ...] = ()
    """What they were made from."""
    signer: Signer | None = None
    """Who signs; None if nobody does."""

    @property
    def comment(self) -> str:
        """Slate and content key: what leads from a file to its manifest."""
        return f"Dailies {self.slate} take {self.key}"

    @property
    def xmp(self) -> str:
        """The packet."""
        return packet(source_type=self.source_type, title=self.slate, identifier=self.key)

    @property
    def address(self) -> str:
        """The source type as XMP, C2PA and the manifest write it."""
        return SCHEME + self.source_type

    @property
    def fingerprint(self) -> str:
        """Changes with everything that would be written; not with a signature's own chance."""
        signed = {"statement": statement(self.claim("")), "certificate": self.signer.fingerprint} if self.signer else {}
        return content_key(step="marks", version=VERSION, comment=self.comment, xmp=self.xmp, **signed)

    @property
    def signature(self) -> dict[str, str] | None:
        """Who signs, as the manifest writes it."""
        if self.signer is None:
            return None
        return {
            "certificate": self.signer.fingerprint,
            "subject": self.signer.subject,
            "algorithm": self.signer.algorithm,
        }

    def claim(self, file: str) -> Claim:
        """What is signed about a file of that name."""
        return Claim(file, self.key, self.address, self.software, self.inputs)

    @property
    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """By container as ffmpeg names it, the tags that it is to write."""
        return {
            "mp4": {"comment": self.comment},
            "mov": {"comment": self.comment, "xmp": self.xmp},
            "webm": {"comment": self.comment},
        }


def marks_of(plan: TakePlan, signer: Signer | None = None) -> Marks:
    """What the files of a take say: the source type that its shot names, else what is true of its engine."""
    moved = plan.spec.engine == ANIMATIC
    stills = [("plate", plan.shot.plate), ("end plate", plan.shot.end_plate)]
    stills += [("anchor", anchor.plate) for anchor in plan.shot.anchors]
    return Marks(
        plan.slate,
        plan.key,
        plan.shot.source_type or (MOVED if moved else MODEL),
        ANIMATIC if moved else plan.spec.name,
        tuple(Input(role, Path(still.path).name, still.sha256) for role, still in stills if still is not None),
        signer,
    )


def is_marked(kept: Kept | None, marks: Marks) -> bool:
    """Whether a kept file is there and says what it should."""
    return kept is not None and kept.notes.get(NOTE) == marks.fingerprint


def mark(path: Path, marks: Marks) -> Mapping[str, Any]:
    """Write into a fresh encode, in an attempt's folder, what ffmpeg did not. Returns notes for its receipt.

    A file that is broken gets neither mark nor note: inspection says what is wrong with it, and it is made again.
    Raises StepError if the disk refuses or the file cannot be signed.
    """
    try:
        if path.is_dir():
            for picture in sorted(path.glob("*.png")):
                put_in_png(picture, marks.xmp)
        elif path.suffix == ".mp4":
            put_in_mp4(path, marks.xmp)
        # last: what is signed is the whole file
        if marks.signer is not None and path.suffix in FORMATS:
            sign(path, marks.signer, marks.claim(path.name))
    except MediaError:
        return {}
    except OSError as error:
        raise StepError(
            f"{marks.slate}: cannot write into {path.name}: {error.strerror or error}; mend the disk and render again"
        ) from error
    return {NOTE: marks.fingerprint}


def write_sidecars(files: Sequence[Kept], folder: Path, marks: Marks) -> list[Kept]:
    """What lies beside files that have no place for it, written into an attempt's folder, under its final names."""
    made = []
    for kept in files:
        name = kept.path.name
        if kept.path.suffix not in SIDECAR:
            continue
        packet_file = folder / kept.path.with_suffix(".xmp").name
        packet_file.write_text(marks.xmp, encoding="utf-8")
        made.append(_beside(packet_file, "xmp", name))
        if marks.signer is not None:
            signed = folder / kept.path.with_suffix(".c2pa").name
            sign_beside(kept.path, signed, marks.signer, marks.claim(name))
            made.append(_beside(signed, "c2pa", name))
    return made


def _beside(path: Path, kind: str, of: str) -> Kept:
    return Kept(path, sha256_of(path), bytes_of(path), {"kind": kind, "of": of})


def sidecar_json(kept: Kept) -> dict[str, Any]:
    """A sidecar as the manifest writes it."""
    return {
        "path": kept.path.name,
        "kind": kept.notes["kind"],
        "of": kept.notes["of"],
        "sha256": kept.sha256,
        "bytes": kept.bytes,
    }
