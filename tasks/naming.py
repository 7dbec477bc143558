"""What a deliverable's file is called, and what its content key is made of. Pure.

Knows: kinds, endings, the words of a delivery. Does not know: shots, plans, folders.

    {slate}_{rate}_{kind}                       a kind as it is without a word: AGM_SH0010_v001_24p_prores.mov
    {slate}_{rate}_{kind}_{word}_{word}...      with every word that is no default: ..._24p_prores_4444.mov

Two different deliveries therefore never share a name, and one whose words are all defaults keeps the short one.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from catalogs.shot import Delivery, Shot
from catalogs.timebase import FIRST_FRAME, has_timecode, timecode

EXTENSIONS: Final[Mapping[str, str]] = {
    "h265": ".mp4",
    "prores": ".mov",
    "webm": ".webm",
    "h264": ".mp4",
    "png": "",
    "exr": "",
}

_TIMED: Final = (".mp4", ".mov")
"""Endings of containers that have a timecode track; WebM has none."""


def file_name(delivery: Delivery, *, begin: str) -> str:
    """The final name; `begin` is slate and rate, `AGM_SH0010_v001_24p`."""
    return "_".join((begin, delivery.kind, *delivery.special)) + EXTENSIONS[delivery.kind]


def lead_frames(extras: tuple[str, ...]) -> int:
    """Frames in the file before the picture's first one: the slate."""
    return 1 if "slate" in extras else 0


def start_timecode(kind: str, extras: tuple[str, ...], rate: Fraction) -> str:
    """Timecode of the file's first frame, `00:00:41:17` for frame 1001 at 24; empty where the container has none."""
    if EXTENSIONS[kind] not in _TIMED or not has_timecode(rate):
        return ""
    return timecode(FIRST_FRAME - lead_frames(extras), rate)


def is_numbered(kind: str, rate: Fraction) -> bool:
    """Whether a file says which frame number its first frame has: by its timecode track, or its pictures' names."""
    return not EXTENSIONS[kind] or bool(start_timecode(kind, (), rate))


def reel_name(kind: str, slate: str, rate: Fraction) -> str:
    """What the timecode track names as the reel: the slate. Only QuickTime's track has room for it."""
    return slate if EXTENSIONS[kind] == ".mov" and has_timecode(rate) else ""


def special_facts(delivery: Delivery, shot: Shot, *, encoder: str = "") -> dict[str, Any]:
    """What of a shot's delivery goes into its content key beside kind and option: nothing where nothing is special."""
    facts: dict[str, Any] = {}
    if delivery.quality:
        facts["quality"] = delivery.quality
    if delivery.extras:
        facts["extras"] = delivery.extras
    if "slate" in delivery.extras and (told := (shot.notes, shot.submitted_by, shot.handles)) != ("", "", 0):
        facts["slate"] = told  # what else stands on it is in the file's name, or another master's
    if start := start_timecode(delivery.kind, delivery.extras, shot.rate):
        facts["timecode"] = start
    if encoder:
        facts["encoder"] = encoder
    return facts
