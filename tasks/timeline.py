"""A cut as an OpenTimelineIO timeline. Nothing is read or written here.

Knows: how frames, rates, handles and files become clips, gaps and media references. Does not know: which version
stands where (tasks.cut), EDLs (tasks.edl), the catalogue. Memory: a few kilobytes a clip.

A file's first frame is frame 1001 of its shot, handles included, which is what its timecode track and the numbers of
its pictures say. `available_range` is the file, `source_range` the part between the handles. A review copy may begin
with a slate, which is then frame 1000. OTIO keeps rates as floating point numbers: 24000/1001 is the nearest of them,
and stands as `N/D` in the metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from catalogs.footage import Deliverable
from catalogs.timebase import FIRST_FRAME, rate_text
from catalogs.versions import Version
from tasks.cut import Cut, Entry, slate_of

START_HOUR: Final = 1
"""Hour of timecode at which a cut begins, so that there is room before it."""

DROP_FRAME: Final = (Fraction(30000, 1001), Fraction(60000, 1001))
"""Rates whose timecode leaves out numbers, to stay with the clock (SMPTE ST 12-1)."""

Provenance = Mapping[str, Mapping[str, Any]]
"""By slate, what a manifest says of how a version was made (tasks.disclosure.provenance)."""


def hour(rate: Fraction, hours: int = START_HOUR) -> int:
    """Frames at which timecode of `rate` reads that hour: 86400 at 24 and 23.976, 107892 at 29.97 (drop-frame)."""
    nominal = round(rate)
    frames = hours * 3600 * nominal
    if rate in DROP_FRAME:
        # two numbers in each minute but every tenth, four at 59.94
        frames -= hours * (60 - 6) * (nominal // 15)
    return frames


def timeline(cut: Cut, *, provenance: Provenance) -> Any:
    """The cut as one video track of an `opentimelineio.schema.Timeline`."""
    from opentimelineio import opentime, schema

    made = schema.Timeline(
        name=cut.name,
        global_start_time=opentime.RationalTime(hour(cut.rates[0]), float(cut.rates[0])),
        metadata={"dailies": {"show": cut.show, "sequence": cut.sequence, "rates": [rate_text(r) for r in cut.rates]}},
    )
    track = schema.Track(name="V1", kind=schema.TrackKind.Video)
    for entry in cut.entries:
        track.append(_gap(entry) if entry.version is None else _clip(entry, entry.version, provenance))
    made.tracks.append(track)
    return made


def first_frame(version: Version, deliverable: Deliverable) -> int:
    """Number of a file's first frame: 1001, or less if it has frames before those planned, as a slate is."""
    return FIRST_FRAME - max(0, deliverable.frames - version.frames)


def _clip(entry: Entry, version: Version, provenance: Provenance) -> Any:
    from opentimelineio import opentime, schema

    assert entry.deliverable is not None
    rate = float(entry.rate)
    clip = schema.Clip(
        name=entry.slate,
        source_range=opentime.TimeRange(
            opentime.RationalTime(FIRST_FRAME + version.handles, rate), opentime.RationalTime(entry.frames, rate)
        ),
        metadata={"dailies": _about(entry, version, provenance)},
    )
    default = schema.Clip.DEFAULT_MEDIA_KEY
    references = {default: media(version, entry.deliverable)}
    for other in version.take.deliverables:
        if other != entry.deliverable:
            # two of a kind differ in the words that their names end with: `h264_review`
            stem = other.path.stem
            key = other.kind if other.kind not in references else stem[stem.rindex(f"_{other.kind}") + 1 :]
            references[key] = media(version, other)
    clip.set_media_references(references, default)
    return clip


def media(version: Version, deliverable: Deliverable) -> Any:
    """A deliverable as a media reference: a file, or for a folder of pictures their numbered sequence."""
    from opentimelineio import opentime, schema

    rate, first = float(version.rate), first_frame(version, deliverable)
    available = opentime.TimeRange(opentime.RationalTime(first, rate), opentime.RationalTime(deliverable.frames, rate))
    told = {"dailies": {"kind": deliverable.kind, "sha256": deliverable.sha256, "bytes": deliverable.bytes}}
    if deliverable.kind in ("png", "exr"):
        return schema.ImageSequenceReference(
            target_url_base=f"{file_url(deliverable.path)}/",
            name_prefix=f"{slate_of(version)}.",
            name_suffix=f".{deliverable.kind}",
            start_frame=first,
            frame_step=1,
            rate=rate,
            frame_zero_padding=4,
            available_range=available,
            metadata=told,
        )
    return schema.ExternalReference(target_url=file_url(deliverable.path), available_range=available, metadata=told)


def file_url(path: Path) -> str:
    """`file:///...` with everything percent-encoded that a URL cannot hold (RFC 8089); reads back to the same path."""
    return path.as_uri()


def _gap(entry: Entry) -> Any:
    from opentimelineio import opentime, schema

    rate = float(entry.rate)
    whole = opentime.TimeRange(opentime.RationalTime(0, rate), opentime.RationalTime(entry.frames, rate))
    gap = schema.Gap(name=entry.slate, source_range=whole)
    gap.metadata["dailies"] = {"show": entry.shot.show, "sequence": entry.shot.sequence, "shot": entry.shot.code}
    gap.markers.append(
        schema.Marker(
            name=f"{entry.slate}: {entry.why}",
            marked_range=whole,
            color=schema.MarkerColor.RED,
            metadata={"dailies": {"shot": entry.shot.code, "why": entry.why}},
        )
    )
    return gap


def _about(entry: Entry, version: Version, provenance: Provenance) -> dict[str, Any]:
    take = version.take
    return {
        "show": take.show,
        "sequence": entry.shot.sequence,
        "shot": take.code,
        "version": take.version,
        "slate": entry.slate,
        "status": take.status.value,
        "rate": rate_text(version.rate),
        "frames": entry.frames,
        "handles": version.handles,
        "findings": [{**asdict(one), "severity": one.severity.value} for one in take.findings],
        "manifest": file_url(take.manifest) if take.manifest else "",
        "provenance": dict(provenance.get(entry.slate, {})),
    }
