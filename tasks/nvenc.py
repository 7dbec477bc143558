"""Does NVENC encode H.265 here? One frame is tried, and the answer is kept for as long as this program runs.

Knows: the probe. Does not know: who asks for it (DAILIES_ENCODER), what is encoded.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from tasks.errors import FfmpegError, MachineNotReadyError
from tasks.frames import output_of
from tasks.presets import encoder_flags

_SECONDS: Final = 60.0  # a driver that is loaded for the first time takes its time
_ADDRESS: Final = re.compile(r" ?@ 0x[0-9a-f]+")
_MUXER: Final = ("f", "movflags", "video_track_timescale", "movie_timescale")


def problem(ffmpeg: str) -> str:
    """Why NVENC does not encode one 10-bit frame here; empty if it does. What works is not tried again; what does not
    is: drivers come back, and sessions end."""
    if ffmpeg in _WORKS:
        return ""
    wanted = encoder_flags("h265", "main10", rate=Fraction(24), width=256, encoder="nvenc")
    settings = [part for name, value in wanted.items() if name not in _MUXER for part in (f"-{name}", str(value))]
    # a size that every card takes, and nothing is written
    source = ["-f", "lavfi", "-i", "color=gray:size=256x256:rate=24", "-frames:v", "1"]
    try:
        output_of([ffmpeg, "-nostdin", "-v", "error", *source, *settings, "-f", "null", "-"], timeout=_SECONDS)
    except FfmpegError as error:
        # the first complaint is the cause, and the address in it is nobody's business
        first = next((line for line in str(error).splitlines() if "nvenc" in line), str(error))
        return _ADDRESS.sub("", first.rpartition("[hevc_nvenc")[2].rpartition("]")[2]).strip() or "no reason given"
    _WORKS.add(ffmpeg)
    return ""


_WORKS: Final[set[str]] = set()
"""Each ffmpeg that has encoded a frame by NVENC in this process."""


def require(ffmpeg: str) -> None:
    """Raise MachineNotReadyError with the probe's reason unless NVENC encodes here."""
    if why := problem(ffmpeg):
        raise MachineNotReadyError(
            f"DAILIES_ENCODER asks for nvenc, and it does not encode one frame here: {why}; "
            "use a machine whose NVIDIA card and driver have it, or unset DAILIES_ENCODER for x265",
            transient=True,  # drivers are loaded again, and a card has few sessions, which end
        )
