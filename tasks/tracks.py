"""What a delivered film has beside its pictures: the timecode track, the reel's name, a silent sound track.

Knows: how MOV, MP4 and WebM carry them (PyAV). Does not know: findings, plans. Memory: one packet of sound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.audio.stream import AudioStream

from tasks.ffmpeg import AUDIO_RATE
from tasks.presets import AUDIO

_SILENT: Final = 1e-4
"""Of full scale: loudest sample that a codec may make of silence, -80 dB."""

_PACKET: Final = {"webm": 960}
"""Samples by which decoders disagree about the end of a sound track: WebM's clock of milliseconds cuts the last one."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound track, decoded to its end."""

    codec: str
    rate: int
    """Samples a second."""
    channels: int
    samples: int
    """As many as the container says to play; decoded ones where it does not say."""
    loudest: float
    """Largest sample, of full scale."""

    def __str__(self) -> str:
        return f"{self.codec}, {self.rate} Hz, {self.channels} channels, {self.samples} samples"


@dataclass(frozen=True, slots=True)
class Tracks:
    """What stands beside the pictures."""

    timecode: str = ""
    """Of the first frame; empty if there is none."""
    reel: str = ""
    """What the timecode track calls the reel."""
    sounds: tuple[Sound, ...] = ()


def read_tracks(path: Path) -> Tracks:
    """Read a film's other tracks. What cannot be read is not there: whether the file is whole, tasks.measure says."""
    try:
        with av.open(str(path)) as container:
            timed = [one for one in container.streams if one.type == "data" and "timecode" in one.metadata]
            first = timed[0].metadata if timed else {}
            sounds = tuple(_sound(container, stream) for stream in container.streams.audio)
            # below ten frames a second ffmpeg tells frames in one digit
            timecode = re.sub(r"([:;])(\d)$", r"\g<1>0\2", first.get("timecode", ""))
            return Tracks(timecode, first.get("reel_name", ""), sounds)
    except (av.FFmpegError, OSError, ValueError):
        return Tracks()


def _sound(container: av.container.InputContainer, stream: AudioStream) -> Sound:
    decoded, loudest = 0, 0.0
    container.seek(0)
    for frame in container.decode(stream):
        decoded += frame.samples
        samples = frame.to_ndarray()
        scale = 1.0 if samples.dtype.kind == "f" else 2.0 ** (8 * samples.dtype.itemsize - 1)
        loudest = max(loudest, float(np.abs(samples.astype(np.float64)).max(initial=0.0)) / scale)
    declared = stream.duration * stream.time_base * stream.rate if stream.duration and stream.time_base else decoded
    return Sound(stream.codec_context.codec.canonical_name, stream.rate, stream.channels, round(declared), loudest)


def differences(
    path: Path, *, container: str, frames: int, rate: Fraction, timecode: str, reel: str, silent: bool
) -> Iterator[tuple[str, str, str]]:
    """(code, value, limit) of each track that is not as it must be: codes `timecode`, `reel` and `audio`.

    `frames` at `rate` are how long a silent track is. `container` is ffmpeg's name: mp4, mov or webm.
    """
    found = read_tracks(path)
    for code, value, limit in (("timecode", found.timecode, timecode), ("reel", found.reel, reel)):
        if value != limit:
            yield code, value or "none", limit or "none"
    told = "; ".join(map(str, found.sounds)) or "no sound"
    if not silent:
        if found.sounds:
            yield "audio", told, "no sound"
        return
    due = round(frames * AUDIO_RATE / rate)
    limit = f"{AUDIO[container][0]}, {AUDIO_RATE} Hz, 2 channels, {due} samples"
    if len(found.sounds) != 1:
        yield "audio", told, limit
        return
    sound = found.sounds[0]
    wanted = Sound(AUDIO[container][0], AUDIO_RATE, 2, sound.samples, sound.loudest)
    if sound != wanted or abs(sound.samples - due) > _PACKET.get(container, 1):
        yield "audio", told, limit
    elif sound.loudest > _SILENT:
        yield "audio", f"a sound as loud as {sound.loudest:.4f} of full scale", "silence"
