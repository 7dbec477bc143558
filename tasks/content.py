"""One file's pictures, looked at while they are decoded for its other checks anyway: looks, samples, keys, findings.

Knows: which frames are looked at how closely. Does not know: files, decoders, what is done about a finding. Memory: as
much as its parts have, whatever the length: a few numbers a frame, a few small pictures, a few thousand single pixels.
"""

from __future__ import annotations

from typing import Final

from av.video.frame import VideoFrame

from catalogs.footage import Finding
from tasks.cuts import AHEAD
from tasks.drift import DriftWatch
from tasks.judge_picture import judge_picture, judge_range
from tasks.judge_plate import judge_plate
from tasks.judge_time import judge_time
from tasks.known import Known
from tasks.limits import Limits
from tasks.looks import Looker
from tasks.pixels import PixelWatch
from tasks.planes import Floats, picture_of
from tasks.samples import Sample, sample_of

SAMPLES: Final = 12
"""Frames of a file that are looked at full size."""

KEYS_PER_SECOND: Final = 2
"""How often colours are followed."""


def sampled(frames: int, count: int = SAMPLES) -> tuple[int, ...]:
    """`count` frames of `frames`, from the first to the last, as evenly as whole numbers are."""
    if frames <= count:
        return tuple(range(frames))
    return tuple(sorted({round(number * (frames - 1) / (count - 1)) for number in range(count)}))


class ContentWatch:
    """Sees every frame of a file, in order. With `content` everything is judged, else its ranges alone."""

    def __init__(self, known: Known, limits: Limits, *, content: bool) -> None:
        self._known, self._limits, self._content = known, limits, content
        self._due = frozenset(sampled(known.frames)) if known.frames else None
        self._seen = 0
        self._size: tuple[int, int] | None = None
        self._samples: list[Sample] = []
        harm = limits["photosensitive"]
        self._looker = Looker(second=known.second, flashes=float(harm["flashes"]), area=float(harm["area"]))
        self._pixels = PixelWatch(contrast=float(limits["dead_pixel"]["contrast"]))
        plate = known.plate
        self._drift = DriftWatch(plate=(plate.luma, plate.colour) if plate else None)
        self._key_step = max(1, known.second // KEYS_PER_SECOND)
        self._keys: list[tuple[int, Floats, Floats]] = []  # that wait until it is known whether there is a cut
        self._last_key = 0

    def see(self, frame: VideoFrame) -> None:
        """The next frame as it was decoded."""
        index, self._seen = self._seen, self._seen + 1
        closely = self._closely(index)
        if not (self._content or closely):
            return
        size = (frame.width, frame.height)
        if self._size is None:
            self._size = size
        if size != self._size:
            # one of another size is a finding of its own; here it counts as a frame, so that all others keep theirs
            frame = frame.reformat(width=self._size[0], height=self._size[1])
        picture = picture_of(frame)
        if self._content:
            self._looker.see(picture)
            if (index % self._key_step == 0 or index == self._known.frames - 1) and self._limits.on(
                "drift", "first_frame"
            ):
                self._keys.append((index, picture.small, picture.colour))
            self._follow(index - AHEAD)
        if closely:
            step = float(self._limits["banding"]["step"])
            self._samples.append(sample_of(index, picture, step=step, content=self._content))
            if self._content and self._limits.on("dead_pixel"):
                self._pixels.see(picture)

    def _follow(self, until: int) -> None:
        """The colours of key frames up to `until`."""
        while self._keys and self._keys[0][0] <= until:
            index, luma, colour = self._keys.pop(0)
            cuts = {*self._looker.cuts, *self._known.cuts}
            self._drift.see(index, luma, colour, anew=any(self._last_key <= cut < index for cut in cuts))
            self._last_key = index

    def _closely(self, index: int) -> bool:
        if self._due is not None:
            return index in self._due
        # of a file whose length nobody knows: every second one frame, and no more than a minute's worth
        return index % self._known.second == 0 and len(self._samples) < 5 * SAMPLES

    def findings(self) -> tuple[Finding, ...]:
        """After the last frame; asked once."""
        if not self._content:
            return tuple(judge_range(self._samples, (0, self._seen), self._limits))
        self._looker.end()
        self._follow(self._seen)
        looks, cuts = self._looker.looks, self._looker.cuts
        return (
            *judge_time(looks, cuts, self._known, self._limits),
            *judge_plate(self._drift, looks, self._looker.first, self._known, self._limits),
            *judge_picture(self._samples, looks, self._pixels.stuck(), cuts, self._known, self._limits),
        )
