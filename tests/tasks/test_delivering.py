"""What deliverables have beside their pictures, through ffmpeg: timecode, reel, silence, words, half floats."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from catalogs.footage import Master
from catalogs.shot import DELIVERY_OPTIONS, Delivery
from tasks.captions import SHADE, Caption, band_of, strip_frames
from tasks.encode import NICENESS, encode_master
from tasks.errors import FfmpegError, MachineNotReadyError
from tasks.ffmpeg import master_argv
from tasks.frames import FrameWriter
from tasks.inspect import Expectation, inspect_deliverable
from tasks.naming import file_name, lead_frames, reel_name, start_timecode
from tasks.nvenc import problem, require
from tasks.plan import PlannedDelivery
from tasks.tracks import read_tracks
from tasks.transient import is_transient

SLATE = "AGM_SH0010_v001"
WIDTH, HEIGHT, FRAMES = 192, 108, 5
GREY = 40000
EVERY = [f"{kind}:{option}" for kind, options in DELIVERY_OPTIONS.items() for option in options]
FILMS = [text for text in EVERY if not text.startswith(("png", "exr"))]


def master_of(folder: Path, ffmpeg: str, *, rate: Fraction = Fraction(24), frames: int = FRAMES) -> Master:
    """Frames of even grey, each a step brighter than the one before, over and over."""
    path = folder / "master.mkv"
    argv = master_argv(ffmpeg, path, width=WIDTH, height=HEIGHT, rate=rate)
    with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="master") as writer:
        for index in range(frames):
            writer.write(np.full((HEIGHT, WIDTH, 3), GREY + 800 * (index % 20), np.uint16))
    return Master(path, "", 0, frames, rate, WIDTH, HEIGHT)


def caption(master: Master) -> Caption:
    return Caption(SLATE, "AGM", "SH0010", "v001", date(2026, 11, 22), master.frames, master.rate)


def made(master: Master, folder: Path, ffmpeg: str, *texts: str) -> dict[str, tuple[Path, Expectation]]:
    """Each delivery's file, and what it must be."""
    folder.mkdir()
    wanted = [Delivery.parse(text) for text in texts]
    planned = [
        PlannedDelivery(one.kind, one.option, file_name(one, begin=SLATE), "", one.quality, one.extras)
        for one in wanted
    ]
    report = encode_master(
        master, planned, folder, ffmpeg=ffmpeg, width=WIDTH, height=HEIGHT, slate=SLATE, caption=caption(master)
    )
    lead = {one: lead_frames(one.extras) for one in wanted}
    return {
        text: (
            report.files[plan.file],
            Expectation(
                one.kind,
                one.option,
                master.frames + lead[one],
                master.rate,
                WIDTH,
                HEIGHT,
                timecode=start_timecode(one.kind, one.extras, master.rate),
                reel=reel_name(one.kind, SLATE, master.rate),
                silent="silent" in one.extras,
                lead=lead[one],
            ),
        )
        for text, one, plan in zip(texts, wanted, planned, strict=True)
    }


def luma(path: Path) -> list[np.ndarray]:
    """8-bit code values of the luma of every frame, full range."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray").astype(float) for frame in container.decode(video=0)]


def test_every_option_is_what_it_says(tmp_path: Path, ffmpeg: str) -> None:
    """Each kind and option of the shot list is made in one go, and inspection has nothing against any of them."""
    found = made(master_of(tmp_path, ffmpeg), tmp_path / "out", ffmpeg, *EVERY)
    assert {text: inspect_deliverable(*one)[1] for text, one in found.items()} == dict.fromkeys(EVERY, ())


@pytest.mark.parametrize("words", ["review", "master", "silent", "review:slate:burnin:silent"])
def test_every_film_of_variable_rate_takes_every_word(words: str, tmp_path: Path, ffmpeg: str) -> None:
    """H.265, H.264, VP9 and AV1 in all qualities, with sound, words and slate."""
    texts = [f"{text}:{words}" for text in ("h265", "h264", "webm", "webm:av1")]
    found = made(master_of(tmp_path, ffmpeg), tmp_path / "out", ffmpeg, *texts)
    assert {text: inspect_deliverable(*one)[1] for text, one in found.items()} == dict.fromkeys(texts, ())


@pytest.mark.parametrize(
    ("rate", "label"),
    [
        (Fraction(24), "00:00:41:17"),
        (Fraction(24000, 1001), "00:00:41:17"),
        (Fraction(25), "00:00:40:01"),
        (Fraction(30000, 1001), "00:00:33;11"),
        (Fraction(60000, 1001), "00:00:16;41"),
        (Fraction(60), "00:00:16:41"),
        (Fraction(48000, 1001), "00:00:20:41"),
        (Fraction(15), ""),
        (Fraction(25, 2), ""),
    ],
)
def test_the_timecode_track_begins_at_1001(rate: Fraction, label: str, tmp_path: Path, ffmpeg: str) -> None:
    """Read back from the file: drop-frame where the rate has it, none where editors have none; MOV names the reel."""
    found = made(master_of(tmp_path, ffmpeg, rate=rate), tmp_path / "out", ffmpeg, "prores", "h265", "h264")
    for text, (path, wanted) in found.items():
        tracks = read_tracks(path)
        assert tracks.timecode == label
        assert tracks.reel == (SLATE if text == "prores" and label else "")
        assert inspect_deliverable(path, wanted)[1] == ()


def test_other_timecode_and_another_reel_are_found(tmp_path: Path, ffmpeg: str) -> None:
    """Each by its own code; and a track where none is wanted."""
    path, wanted = made(master_of(tmp_path, ffmpeg), tmp_path / "out", ffmpeg, "prores")["prores"]

    def codes(**other: object) -> list[tuple[str, str, str]]:
        findings = inspect_deliverable(path, replace(wanted, **other))[1]  # type: ignore[arg-type]
        return [(one.code, one.value, one.limit) for one in findings]

    assert codes(timecode="00:00:41:18") == [("timecode", "00:00:41:17", "00:00:41:18")]
    assert codes(reel="A001") == [("reel", SLATE, "A001")]
    assert codes(timecode="", reel="")[0] == ("timecode", "00:00:41:17", "none")
    assert codes(timecode=None, reel="") == []
    assert [code for code, *_ in codes(silent=True)] == ["audio"]


@pytest.mark.parametrize("text", ["h265", "prores", "h264", "webm", "webm:av1"])
def test_a_silent_track_lasts_as_long_as_the_picture(text: str, tmp_path: Path, ffmpeg: str) -> None:
    """One stereo track of 48 kHz, silent, of 101 frames at 23.976: 202202 samples; where none is wanted it is found."""
    rate, frames = Fraction(24000, 1001), 101
    master = master_of(tmp_path, ffmpeg, rate=rate, frames=frames)
    path, wanted = made(master, tmp_path / "out", ffmpeg, f"{text}:silent")[f"{text}:silent"]
    [sound] = read_tracks(path).sounds
    assert (sound.rate, sound.channels, sound.loudest) == (48000, 2, 0.0)
    assert abs(sound.samples - 202202) <= (960 if text.startswith("webm") else 0)
    assert inspect_deliverable(path, wanted)[1] == ()
    assert [one.code for one in inspect_deliverable(path, replace(wanted, silent=False))[1]] == ["audio"]
    longer = replace(wanted, frames=frames + 2)
    assert {one.code for one in inspect_deliverable(path, longer)[1]} == {"count", "audio"}


def test_a_slate_precedes_the_picture(tmp_path: Path, ffmpeg: str) -> None:
    """One frame more, a frame earlier in timecode, dark with grey letters; the picture follows untouched."""
    master = master_of(tmp_path, ffmpeg)
    found = made(master, tmp_path / "out", ffmpeg, "h264:master", "h264:master:slate")
    plain, slated = (luma(path) for path, _ in found.values())
    assert len(slated) == len(plain) + 1
    for before, after in zip(plain, slated[1:], strict=True):
        assert abs(before.mean() - after.mean()) < 1
    assert np.median(slated[0]) < 40
    assert 150 < slated[0].max() <= 255 * 0.8 + 5
    assert read_tracks(found["h264:master:slate"][0]).timecode == "00:00:41:16"


def test_burnt_in_words_change_from_frame_to_frame(tmp_path: Path, ffmpeg: str) -> None:
    """Letters of at most 80 % on a shaded band at the lower edge; above it nothing changes."""
    master = master_of(tmp_path, ffmpeg)
    found = made(master, tmp_path / "out", ffmpeg, "h264:master", "h264:master:burnin")
    plain, burnt = (luma(path) for path, _ in found.values())
    rows = band_of(caption(master), width=WIDTH, height=HEIGHT).rows
    for before, after in zip(plain, burnt, strict=True):
        assert np.abs(before[:-rows] - after[:-rows]).max() <= 3
        band = after[-rows:]
        assert abs(np.median(band) - before.mean() * (1 - SHADE)) < 3
        assert band.max() <= 255 * 0.8 + 3
    assert np.abs(burnt[1][-rows:] - burnt[2][-rows:]).max() > 60


def test_the_band_says_number_and_timecode(tmp_path: Path, ffmpeg: str) -> None:
    """Frames whose digits agree look the same; the slate's name stands still, and no ink is brighter than 80 %."""
    words = caption(master_of(tmp_path, ffmpeg, frames=3))
    strips = list(strip_frames(words, band_of(words, width=640, height=360), width=640))
    assert len(strips) == 3
    assert all(strip.shape == (36, 640, 3) for strip in strips)
    assert max(int(strip[:18].max()) for strip in strips) <= round(0.8 * 65535)
    left = [strip[18:, :200] for strip in strips]
    assert (left[0] == left[1]).all()
    assert left[0].max() > 60000  # thin strokes of small letters cover nearly all of a pixel
    assert (strips[0] != strips[1]).any()


def test_half_floats_hold_light(tmp_path: Path, ffmpeg: str) -> None:
    """EXR values are the plate's by sRGB's curve, to a 2000th; names are numbered from 1001."""
    path, _ = made(master_of(tmp_path, ffmpeg), tmp_path / "out", ffmpeg, "exr")["exr"]
    names = sorted(file.name for file in path.iterdir())
    assert names == [f"{SLATE}.{number}.exr" for number in range(1001, 1001 + FRAMES)]
    for index, name in enumerate(names):
        with av.open(str(path / name), format="exr_pipe") as container:
            frame = next(container.decode(video=0))
        rows = np.frombuffer(frame.planes[0], np.float16).reshape(HEIGHT, -1)[:, :WIDTH]
        value = (GREY + 800 * index) / 65535
        assert np.abs(rows - ((value + 0.055) / 1.055) ** 2.4).max() < 1 / 2000


def test_a_cut_exr_is_found(tmp_path: Path, ffmpeg: str) -> None:
    """Its last lines would be shown as black; the offsets tell. So do other pictures among them."""
    path, wanted = made(master_of(tmp_path, ffmpeg), tmp_path / "out", ffmpeg, "exr")["exr"]
    file = path / f"{SLATE}.1003.exr"
    content = file.read_bytes()
    for kept in (len(content) - 1, len(content) // 2, 20, 0):
        file.write_bytes(content[:kept])
        assert "truncated" in [one.code for one in inspect_deliverable(path, wanted)[1]]
    file.write_bytes(content)
    assert inspect_deliverable(path, wanted)[1] == ()
    file.rename(file.with_suffix(".png"))
    assert {one.code for one in inspect_deliverable(path, wanted)[1]} == {"count"}


def test_two_deliveries_of_one_kind_have_two_names() -> None:
    """Words that are no defaults stand in the name; contract names stay for the defaults."""
    names = [file_name(Delivery.parse(text), begin="S_24p") for text in ("prores", "prores:hq", "prores:4444", "exr")]
    assert names == ["S_24p_prores.mov", "S_24p_prores.mov", "S_24p_prores_4444.mov", "S_24p_exr"]
    assert file_name(Delivery.parse("webm:burnin:review:av1"), begin="S") == "S_webm_av1_review_burnin.webm"


def test_nvenc_is_refused_with_the_probes_reason(tmp_path: Path, ffmpeg: str) -> None:
    """Where card or driver is not there, encoding stops before anything is written, and says what the probe said."""
    why = problem(ffmpeg)
    if not why:
        pytest.skip("this machine has NVENC")
    assert "\n" not in why
    assert "0x" not in why
    with pytest.raises(MachineNotReadyError, match="does not encode one frame here") as refused:
        require(ffmpeg)
    assert why in str(refused.value)
    master = master_of(tmp_path, ffmpeg)
    planned = [PlannedDelivery("h265", "main10", "a.mp4", "", encoder="nvenc")]
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(MachineNotReadyError):
        encode_master(master, planned, folder, ffmpeg=ffmpeg, width=WIDTH, height=HEIGHT, slate=SLATE)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("text", ["h265", "webm", "prores"])
def test_a_full_disk_is_named_and_passes(text: str, tmp_path: Path, ffmpeg: str) -> None:
    """Writing to a full device ends with the system's words and the slate, and may be tried again."""
    one = Delivery.parse(text)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a").symlink_to("/dev/full")
    master = master_of(tmp_path, ffmpeg, frames=40)
    with pytest.raises(FfmpegError, match=f"{SLATE}: encode") as failed:
        encode_master(
            master,
            [PlannedDelivery(one.kind, one.option, "a", "")],
            folder,
            ffmpeg=ffmpeg,
            width=WIDTH,
            height=HEIGHT,
            slate=SLATE,
        )
    assert "the disk is full" in str(failed.value)
    assert is_transient(failed.value)


def test_encoders_stand_back(tmp_path: Path, ffmpeg: str) -> None:
    """The encode runs five steps nicer than whoever started it, as a program and, on Linux, as a session."""
    told = tmp_path / "nice"
    spy = tmp_path / "ffmpeg"
    spy.write_text(f'#!/bin/sh\nnice > "{told}"; cat /proc/self/autogroup >> "{told}"\nexec "{ffmpeg}" "$@"\n')
    spy.chmod(0o755)
    folder = tmp_path / "out"
    folder.mkdir()
    planned = [PlannedDelivery("h264", "high", "a.mp4", "")]
    encode_master(
        master_of(tmp_path, ffmpeg), planned, folder, ffmpeg=str(spy), width=WIDTH, height=HEIGHT, slate=SLATE
    )
    own, *session = told.read_text().splitlines()
    assert NICENESS > 0
    assert int(own) == min(19, os.nice(0) + NICENESS)
    assert all(line.endswith(f" nice {NICENESS}") for line in session)
