"""A cut as an OpenTimelineIO timeline. Nothing is read or written here.

Knows: how frames, rates, handles and files become clips, gaps and media references. Does not know: which version
stands where (tasks.cut), EDLs (tasks.edl), the catalogue. Memory: a few kilobytes a clip.

A file's first frame is frame 1001 of its shot, handles included, where its timecode track or the numbers of its
pictures say so, and frame 0 where nothing does (WebM, and rates without timecode): what a program that opens the file
counts. `available_range` is the file, `source_range` the part between the handles, in the count of the file that the
clip shows; each reference names the frame number of its first frame. A review copy may begin with a slate. OTIO keeps
rates as floating point numbers: 24000/1001 is the nearest of them, and stands as `N/D` in the metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from catalogs.footage import Deliverable
from catalogs.timebase import FIRST_FRAME, frames_at_hour, rate_text
from catalogs.versions import Version
from tasks.cut import Cut, Entry, slate_of
from tasks.naming import is_numbered

START_HOUR: Final = 1
"""Hour of timecode at which a cut begins, so that there is room before it."""

Provenance = Mapping[str, Mapping[str, Any]]
"""By slate, what a manifest says of how a version was made (tasks.disclosure.provenance)."""


def timeline(cut: Cut, *, provenance: Provenance) -> Any:
    """The cut as one video track of an `opentimelineio.schema.Timeline`."""
    from opentimelineio import opentime, schema

    made = schema.Timeline(
        name=cut.name,
        global_start_time=opentime.RationalTime(frames_at_hour(cut.rates[0], START_HOUR), float(cut.rates[0])),
        metadata={"dailies": {"show": cut.show, "sequence": cut.sequence, "rates": [rate_text(r) for r in cut.rates]}},
    )
    track = schema.Track(name="V1", kind=schema.TrackKind.Video)
    for entry in cut.entries:
        track.append(_gap(entry) if entry.version is None else _clip(entry, entry.version, provenance))
    made.tracks.append(track)
    return made


def lead_of(version: Version, deliverable: Deliverable) -> int:
    """Frames of a file before those planned: its slate."""
    return max(0, deliverable.frames - version.frames)


def first_frame(version: Version, deliverable: Deliverable) -> int:
    """What a program that opens the file counts its first frame as: 1001 less the slate, or 0 where nothing says so."""
    return FIRST_FRAME - lead_of(version, deliverable) if is_numbered(deliverable.kind, version.rate) else 0


def _clip(entry: Entry, version: Version, provenance: Provenance) -> Any:
    from opentimelineio import opentime, schema

    assert entry.deliverable is not None
    rate = float(entry.rate)
    shown = first_frame(version, entry.deliverable) + lead_of(version, entry.deliverable) + version.handles
    clip = schema.Clip(
        name=entry.slate,
        source_range=opentime.TimeRange(opentime.RationalTime(shown, rate), opentime.RationalTime(entry.frames, rate)),
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
    told = {
        "dailies": {
            "kind": deliverable.kind,
            "sha256": deliverable.sha256,
            "bytes": deliverable.bytes,
            "first_frame": FIRST_FRAME - lead_of(version, deliverable),
        }
    }
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
