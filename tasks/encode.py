"""Make every deliverable of a shot from its master, in one ffmpeg process.

Knows: masters, planned files, an attempt's folder. Does not know: whether the results are right (tasks.inspect), or
where they will be published. Memory: what the encoders look ahead, about 40 frames each, whatever the length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from catalogs.footage import Master
from tasks import ffmpeg as builders
from tasks import frames
from tasks.captions import Caption, write_captions
from tasks.errors import FfmpegError, MediaError
from tasks.filters import NO_CAPTIONS, Captions
from tasks.keep import fsync_tree
from tasks.nvenc import require
from tasks.presets import NVENC, preset
from tasks.progress import Progress, announce

if TYPE_CHECKING:
    from tasks.plan import PlannedDelivery

NO_TAGS: Final[Mapping[str, Mapping[str, str]]] = {}
AS_USUAL: Final[Mapping[str, str]] = {}


NICENESS: Final = 5
"""How far encoders stand back: an engine that waits for a processor to feed its GPU wastes the dearer machine."""


@dataclass(frozen=True, slots=True)
class EncodeReport:
    """What was made, and how."""

    argv: tuple[str, ...]
    """The command line, with paths reduced to names: the same on every machine."""
    files: Mapping[str, Path]
    """Planned file name -> absolute path, in the order planned; for a sequence the folder."""
    stills: tuple[tuple[int, Path], ...]
    """(frame counted from 0, absolute path of a small PNG), rising."""


def encode_master(
    master: Master,
    planned: Sequence[PlannedDelivery],
    folder: Path,
    *,
    ffmpeg: str,
    width: int,
    height: int,
    slate: str,
    stills: Sequence[int] = (),
    tags: Mapping[str, Mapping[str, str]] = NO_TAGS,
    caption: Caption | None = None,
    conform: str = "",
    timecodes: Mapping[str, str] = AS_USUAL,
) -> EncodeReport:
    """Encode `master` into `folder`, which exists and belongs to this attempt; everything made is flushed to disk.

    `width` and `height` are the delivery size in pixels. `stills` are frames counted from 0; small PNGs of them go to
    `folder/stills`. `tags` are written into files, by container. `caption` is what review copies say, where any has a
    slate or words burnt in. `conform` is the filter that makes working frames of any other file in the place of a
    master (tasks.source). `timecodes` are those of first frames, by file, where they are not
    frame 1001's. Progress is announced in master frames. Nothing planned and no stills: nothing is made. The encoders
    stand back behind whoever feeds a GPU.
    Raises FfmpegError, named with the slate, if ffmpeg fails or is killed; MediaError if the master is missing;
    ValueError for sizes or stills that cannot be.
    """
    chosen = tuple(sorted(set(stills)))
    if chosen and not 0 <= chosen[0] <= chosen[-1] < master.frames:
        raise ValueError(f"{slate}: stills {chosen} are not all among {master.frames} frames")
    if not master.path.is_file():
        raise MediaError(f"{slate}: the master {master.path.name} is missing; render the shot again")
    if not planned and not chosen:
        return EncodeReport((), {}, ())
    if any(delivery.encoder == NVENC for delivery in planned):
        require(ffmpeg)
    files = {delivery.file: folder / delivery.file for delivery in planned}
    for delivery in planned:
        if preset(delivery.kind, delivery.option).sequence:
            files[delivery.file].mkdir(exist_ok=True)
    pictures = folder / "stills"
    if chosen:
        pictures.mkdir(exist_ok=True)
    argv = builders.deliverables_argv(
        ffmpeg,
        master.path,
        [
            builders.Output(
                delivery.kind,
                delivery.option,
                files[delivery.file],
                delivery.quality,
                delivery.extras,
                delivery.encoder,
                timecodes.get(delivery.file, ""),
            )
            for delivery in planned
        ],
        rate=master.rate,
        width=width,
        height=height,
        master_width=master.width,
        master_height=master.height,
        title=slate,
        tags=tags,
        stills=builders.Stills(chosen, pictures) if chosen else None,
        frames=master.frames,
        captions=_captions(planned, caption, folder, ffmpeg=ffmpeg, size=(width, height)),
        conform=conform,
    )

    def on_frame(done: int) -> None:
        announce(Progress(slate, "encode", min(done, master.frames), master.frames))

    frames.run(argv, what=f"{slate}: encode", on_frame=on_frame, nice=NICENESS)
    taken = tuple((frame, pictures / f"{index}.png") for index, frame in enumerate(chosen))
    for path in (*files.values(), *(picture for _, picture in taken)):
        if not path.exists():
            raise FfmpegError(f"{slate}: encode: ffmpeg ended well without writing {path.name}; render the shot again")
        fsync_tree(path)
    on_frame(master.frames)
    return EncodeReport(_named(argv, ffmpeg, folder, master.path), files, taken)


def _captions(
    planned: Sequence[PlannedDelivery], caption: Caption | None, folder: Path, *, ffmpeg: str, size: tuple[int, int]
) -> Captions:
    """The pictures of words that the planned deliveries need, written into `folder/captions`."""
    words = {word for delivery in planned for word in delivery.extras} & {"slate", "burnin"}
    if not words:
        return NO_CAPTIONS
    if caption is None:
        raise ValueError(f"{' and '.join(sorted(words))} asked for, and nothing to say")
    place = folder / "captions"
    place.mkdir(exist_ok=True)
    width, height = size
    return write_captions(
        caption, place, ffmpeg=ffmpeg, width=width, height=height, slate="slate" in words, burnin="burnin" in words
    )


def _named(argv: Sequence[str], ffmpeg: str, folder: Path, master: Path) -> tuple[str, ...]:
    """The command line without the places of this machine."""
    places = {ffmpeg: "ffmpeg", str(master): master.name}
    prefixes = (f"{folder}/", f"{str(folder).replace('%', '%%')}/")
    named = []
    for word in argv:
        word = places.get(word, word)
        for prefix in prefixes:
            word = word.removeprefix(prefix)
        named.append(word)
    return tuple(named)
