"""A cut as a CMX3600 edit decision list, through the adapter of the OpenTimelineIO project.

Knows: what such a list can hold: one rate, eight characters a reel, drop-frame or not. Does not know: files, which
version stands where. Memory: one cut.

What the adapter leaves to its caller is done here: the cut starts at 01:00:00:00 (it counts from 0), the line FCM says
how timecode counts, and reels are short, legal and each its own. A hole is no event: record timecode goes on after it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final
from urllib.parse import unquote

from catalogs.timebase import TIMECODE_RATES, frames_at_hour, has_timecode, is_dropped, rate_display
from tasks.cut import Cut
from tasks.errors import PlanError
from tasks.timeline import Provenance, timeline

REEL: Final = 8
"""Characters of a reel's name in a CMX3600 list."""

_RESERVED: Final = frozenset(("AX", "BL"))
"""Reels with a meaning of their own: an unnamed source, and black."""
_OTHERS: Final = re.compile(r"[^A-Z0-9]")


def edl(cut: Cut, *, provenance: Provenance) -> str:
    """The list as text, events numbered from 001. Raises PlanError, with the shots, for a cut that has no such list."""
    rate = _the_rate(cut)
    made = _hour_later(timeline(cut, provenance=provenance), rate)
    track = made.tracks[0]
    clips = [child for child in track if child.schema_name() == "Clip"]
    if not clips:
        raise PlanError(f"{cut.name} has no clip for an EDL; export otio, which keeps holes, or take --latest")
    for clip, reel in zip(clips, reels([clip.metadata["dailies"] for clip in clips]), strict=True):
        clip.metadata["cmx_3600"] = {"reel": reel}
    from opentimelineio import adapters

    written: str = adapters.write_to_string(made, adapter_name="cmx_3600", rate=float(rate), reelname_len=REEL)
    title, _, events = written.partition("\n")
    counting = "DROP FRAME" if is_dropped(rate) else "NON-DROP FRAME"
    files = [_file_name(clip.media_reference) for clip in clips]
    return f"{title}\nFCM: {counting}\n{_with_sources(events, files)}"


def _file_name(media: Any) -> str:
    """What the file is called, or for a sequence of pictures its folder."""
    url = getattr(media, "target_url", "") or media.target_url_base
    return unquote(url.rstrip("/").rpartition("/")[2])


def _with_sources(events: str, files: Sequence[str]) -> str:
    """Each event followed by the name of its file, whole, where editors' programs look for what eight characters of a
    reel cannot say."""
    lines, rest = [], iter(files)
    for line in events.splitlines():
        lines.append(line)
        if line.startswith("* FROM CLIP:"):
            lines.append(f"* SOURCE FILE: {next(rest)}")
    return "\n".join([*lines, ""])


def _the_rate(cut: Cut) -> Fraction:
    """The one rate of the cut. Raises PlanError if there are several, or one without timecode."""
    if len(cut.rates) > 1:
        by_rate: dict[Fraction, list[str]] = {}
        for entry in cut.entries:
            by_rate.setdefault(entry.rate, []).append(entry.shot.code)
        told = "; ".join(f"{rate_display(rate)} fps: {', '.join(codes)}" for rate, codes in by_rate.items())
        raise PlanError(f"{cut.name} mixes rates, and an EDL has one ({told}); export otio instead")
    rate = cut.rates[0]
    if not has_timecode(rate):
        known = ", ".join(map(rate_display, TIMECODE_RATES))
        raise PlanError(
            f"{cut.name} runs at {rate_display(rate)} fps, which has no timecode ({known} have); export otio"
        )
    return rate


def _hour_later(made: Any, rate: Fraction) -> Any:
    """The adapter writes record timecode from 0, whatever the timeline's start: a gap of an hour moves it."""
    from opentimelineio import opentime, schema

    before = opentime.TimeRange(
        opentime.RationalTime(0, float(rate)), opentime.RationalTime(frames_at_hour(rate), float(rate))
    )
    made.tracks[0].insert(0, schema.Gap(source_range=before))
    return made


def reels(versions: Sequence[Any]) -> tuple[str, ...]:
    """A reel for each version's metadata (`shot`, `version`), in order: A-Z and 0-9, at most eight, each once.

    `SH0010` in version 3 is `SH0010V3` where that fits, else the end of the code, which is where codes differ, and if
    that is taken a number in place of its last characters.
    """
    found: list[str] = []
    for about in versions:
        code, version = _OTHERS.sub("", str(about["shot"]).upper()), f"V{about['version']}"
        wanted = f"{code}{version}" if len(code) + len(version) <= REEL else code[-REEL:]
        reel, number = wanted, 1
        while not reel or reel in found or reel in _RESERVED:
            number += 1
            reel = f"{wanted[: REEL - len(str(number))]}{number}"
        found.append(reel)
    return tuple(found)
