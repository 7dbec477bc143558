"""Command lines are values: what matters in them is claimed here without running anything."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.shot import DELIVERY_OPTIONS, EXTRAS
from catalogs.timebase import DELIVERY_RATES
from tasks.ffmpeg import Output, Stills, clip_argv, cover_crop, deliverables_argv, master_argv
from tasks.filters import Captions
from tasks.presets import CRF, MIN_TIMESCALE, NVENC_CQ, PRESETS, encoder_flags, preset, tile_columns, timescale

KINDS = [(kind, options[0], Path(f"/out/{kind}")) for kind, options in DELIVERY_OPTIONS.items()]


def build(
    kinds: list[tuple[str, str, Path]] = KINDS,
    *,
    size: tuple[int, int] = (640, 360),
    master: tuple[int, int] = (640, 360),
    rate: Fraction = Fraction(24),
    stills: Stills | None = None,
) -> list[str]:
    return deliverables_argv(
        "ffmpeg",
        Path("/in/master.mkv"),
        kinds,
        rate=rate,
        width=size[0],
        height=size[1],
        master_width=master[0],
        master_height=master[1],
        title="AGM_SH0010_v001",
        stills=stills,
    )


def graph_of(argv: list[str]) -> str:
    return argv[argv.index("-filter_complex") + 1]


def flags_of(argv: list[str], target: str) -> dict[str, str]:
    """The output options before `target`."""
    end = argv.index(target)
    start = max(index for index, word in enumerate(argv[:end]) if word == "-map")
    words = argv[start:end]
    return dict(zip(words[::2], words[1::2], strict=True))


def test_one_decode_and_one_conversion_for_each_pixel_format() -> None:
    """Six deliverables and the stills come from one input; VP9 and H.264 share their 8-bit pictures."""
    argv = build(stills=Stills((0, 5), Path("/out/stills")))
    assert argv.count("-i") == 1
    graph = graph_of(argv)
    assert graph.count("zscale=") == 4
    assert graph.count("format=yuv420p[") == 1
    assert "split=6" in graph
    assert "select=eq(n\\,0)+eq(n\\,5)" in graph
    assert "480:270" in graph


def test_every_registered_delivery_has_a_preset() -> None:
    """Whatever a shot list may ask for can be encoded."""
    assert set(PRESETS) == {(kind, option) for kind, options in DELIVERY_OPTIONS.items() for option in options}


@pytest.mark.parametrize("rate", DELIVERY_RATES)
def test_rates_stay_exact(rate: Fraction) -> None:
    """Every rate stands as N/D, before the input and in the graph."""
    argv = build(rate=rate)
    assert argv[argv.index("-r") + 1] == f"{rate.numerator}/{rate.denominator}"
    assert argv.index("-r") < argv.index("-i")
    assert f"settb={rate.denominator}/{rate.numerator}" in graph_of(argv)
    assert flags_of(argv, "/out/h265")["-fps_mode"] == "passthrough"


@given(st.fractions(min_value=1, max_value=240, max_denominator=1001))
def test_a_frame_lasts_whole_ticks(rate: Fraction) -> None:
    """On a track's clock k/rate is a whole number of ticks, and the clock is fine enough for editors."""
    ticks = timescale(rate)
    assert (ticks / rate).denominator == 1
    assert ticks >= MIN_TIMESCALE


def test_colour_is_converted_and_tagged_in_the_graph() -> None:
    """Every video branch says range, matrix, primaries and curve; PNG keeps the plate's own."""
    graph = graph_of(build())
    assert "transfer=linear:transferin=iec61966-2-1" in graph
    for word in ("range=limited", "matrix=709", "chromal=left"):
        assert graph.count(word) == 3, word
    assert graph.count("color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv") == 3
    assert "color_trc=iec61966-2-1:colorspace=gbr:range=pc" in graph
    assert "dither=ordered" in graph
    assert "write_colr" not in " ".join(build())


def test_conversions_do_not_depend_on_the_number_of_cores() -> None:
    """Each conversion runs in one slice, and each encoder names its threads."""
    argv = build(size=(320, 180))
    graph = graph_of(argv)
    assert graph.count("threads=1") == graph.count("zscale=")
    assert "frame-threads=2" in flags_of(argv, "/out/h265")["-x265-params"]
    for kind in ("prores", "webm", "h264"):
        assert flags_of(argv, f"/out/{kind}")["-threads"] == "4"


def test_each_kind_has_the_flags_that_players_need() -> None:
    """hvc1 for QuickTime, apl0 for editors, 8 bits for browsers, an index in front, numbers from 1001."""
    argv = build()
    h265, prores, webm = (flags_of(argv, f"/out/{kind}") for kind in ("h265", "prores", "webm"))
    h264, png = flags_of(argv, "/out/h264"), flags_of(argv, "/out/png/AGM_SH0010_v001.%04d.png")
    assert (h265["-tag:v"], h265["-pix_fmt"], h265["-profile:v"]) == ("hvc1", "yuv420p10le", "main10")
    assert (prores["-vendor"], prores["-pix_fmt"], prores["-profile:v"]) == ("apl0", "yuv422p10le", "3")
    assert (webm["-b:v"], webm["-row-mt"], webm["-pix_fmt"], webm["-tile-columns"]) == ("0", "1", "yuv420p", "1")
    assert (h264["-pix_fmt"], h264["-bf"], h264["-profile:v"]) == ("yuv420p", "0", "high")
    assert (png["-pix_fmt"], png["-start_number"]) == ("rgb48be", "1001")
    for flags in (h265, prores, h264):
        assert "+faststart" in flags["-movflags"]
    for flags in (h265, prores, webm, h264, png):
        assert flags["-map_metadata"] == "-1"
        assert flags["-metadata"] == "title=AGM_SH0010_v001"
        assert flags["-fflags"] == flags["-flags:v"] == "+bitexact"


def test_ffmpeg_neither_asks_nor_hides() -> None:
    """No terminal, errors end it, progress goes to stdout."""
    argv = build()
    assert {"-nostdin", "-xerror", "-nostats", "-y"} <= set(argv)
    assert argv[argv.index("-progress") + 1] == "pipe:1"


def test_a_percent_sign_in_a_folder_is_not_a_number() -> None:
    """`50%d` as a folder name stays a folder name."""
    argv = build([("png", "16", Path("/o/50%d"))], stills=Stills((0,), Path("/o/50%d")))
    assert "/o/50%%d/AGM_SH0010_v001.%04d.png" in argv
    assert "/o/50%%d/%d.png" in argv


def test_another_delivery_size_is_made_once() -> None:
    """One crop and one Lanczos resize serve every format; the master's own size needs neither."""
    graph = graph_of(build(size=(320, 320), master=(640, 360)))
    assert graph.count("crop=") == 1
    assert "crop=360:360:140:0:exact=1" in graph
    assert graph.count("zscale=320:320") == 1
    assert "crop" not in graph_of(build(size=(320, 180)))
    same = graph_of(build())
    assert "crop" not in same
    assert "zscale=640" not in same


@given(*(st.integers(2, 4096) for _ in range(4)))
def test_the_crop_is_centred_inside_and_of_the_right_shape(w: int, h: int, into_w: int, into_h: int) -> None:
    """The crop lies inside the picture, touches two opposite edges and has the shape asked for, to the pixel."""
    width, height, x, y = cover_crop(w, h, into=(into_w, into_h))
    assert 0 <= x <= x + width <= w
    assert 0 <= y <= y + height <= h
    assert width == w or height == h
    assert abs((w - width) - 2 * x) <= 1
    assert abs((h - height) - 2 * y) <= 1
    exact = w * into_h / into_w if width == w else h * into_w / into_h
    made = height if width == w else width
    assert abs(made - max(1, exact)) <= 0.5 or (width, height) == (w, h)


@given(st.integers(2, 8192))
def test_tiles_are_never_narrower_than_256(width: int) -> None:
    """VP9 tiles hold at least 256 columns wherever there is more than one."""
    columns = 2 ** tile_columns(width)
    assert columns == 1 or width // columns >= 256


def test_what_cannot_be_encoded_is_refused() -> None:
    """Odd sizes where chroma is halved, unknown kinds, and nothing at all."""
    with pytest.raises(ValueError, match="even"):
        build(size=(639, 360))
    with pytest.raises(ValueError, match="even"):
        build([("h264", "high", Path("/o"))], size=(640, 361))
    assert build([("prores", "hq", Path("/o"))], size=(640, 361))
    assert build([("png", "16", Path("/o"))], size=(639, 361))
    with pytest.raises(ValueError, match="no preset"):
        build([("h265", "main8", Path("/o"))])
    with pytest.raises(ValueError, match="no preset"):
        preset("gif", "89a")
    with pytest.raises(ValueError, match="nothing to encode"):
        build([])
    assert "-progress" in build([], stills=Stills((0,), Path("/o")))


def test_flags_are_the_same_every_time() -> None:
    """Building is pure: two calls agree, and a rate below one frame a second still has keyframes."""
    assert build() == build()
    assert encoder_flags("h265", "main10", rate=Fraction(1, 4), width=64)["g"] == 1


@pytest.mark.parametrize("argv_of", [clip_argv, master_argv])
def test_working_files_are_lossless_full_range_rgb(argv_of) -> None:  # type: ignore[no-untyped-def]
    """Clips and masters are 12-bit RGB at the exact rate, without dates."""
    argv = argv_of("ffmpeg", Path("/o.mkv"), width=64, height=48, rate=Fraction(30000, 1001))
    assert argv[argv.index("-framerate") + 1] == "30000/1001"
    assert argv.count("gbrp12le") == 2
    assert argv[argv.index("-color_range") + 1] == "pc"
    assert "+bitexact" in argv


def test_the_defaults_of_old_lists_keep_their_flags() -> None:
    """`client` is what was delivered before there were qualities: 15, 18 and 14."""
    argv = build()
    assert [flags_of(argv, f"/out/{kind}")["-crf"] for kind in ("h265", "webm", "h264")] == ["15", "18", "14"]


def with_words(*outputs: Output, rate: Fraction = Fraction(24), frames: int = 0) -> list[str]:
    return deliverables_argv(
        "ffmpeg",
        Path("/in/master.mkv"),
        outputs,
        rate=rate,
        width=640,
        height=360,
        master_width=640,
        master_height=360,
        title="T",
        frames=frames,
        captions=Captions(Path("/c/slate.png"), Path("/c/burnin.mkv"), 18),
    )


def test_words_share_their_pictures() -> None:
    """Review copies with the same words have one band and one slate; a plain one beside them has neither."""
    argv = with_words(
        Output("h264", "high", Path("/out/a"), "", ("slate", "burnin")),
        Output("webm", "vp9", Path("/out/b"), "review", ("slate", "burnin")),
        Output("webm", "av1", Path("/out/c"), "review", ("burnin",)),
        Output("h264", "high", Path("/out/d")),
    )
    graph = graph_of(argv)
    assert argv.count("-i") == 3
    assert (graph.count("maskedmerge"), graph.count("concat")) == (2, 1)
    assert (graph.count("format=yuv420p["), graph.count("format=yuv420p10le[")) == (2, 1)
    starts = [flags_of(argv, f"/out/{name}").get("-timecode") for name in "abcd"]
    assert starts == ["00:00:41:16", None, None, "00:00:41:17"]


def test_silence_is_as_long_as_the_picture() -> None:
    """To the sample: 24024 of them for 15 frames at 29.97, the slate counted."""
    for extras, frames in ((("silent",), 15), (("silent", "slate"), 14)):
        argv = with_words(Output("h264", "high", Path("/o"), "", extras), rate=Fraction(30000, 1001), frames=frames)
        assert "anullsrc=r=48000:cl=stereo,atrim=end_sample=24024" in argv


def test_the_stated_rate_control_is_the_real_one() -> None:
    """The table of docs/deliveries.md has every encoder's numbers, and its tables name every option."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "deliveries.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    stated = {row[0]: row[2:] for row in rows if len(row) == 5 and row[0].startswith("`")}
    wanted = {f"`{kind}:{option}`": rates for (kind, option), rates in CRF.items()}
    wanted["`h265:main10` with NVENC"] = NVENC_CQ
    assert stated == {
        name: [str(rates[quality]) for quality in ("review", "client", "master")] for name, rates in wanted.items()
    }
    options = {row[0]: row[1] for row in rows if len(row) == 4}
    for kind, names in DELIVERY_OPTIONS.items():
        assert options[f"`{kind}`"] == ", ".join(f"`{name}`" for name in names)
    assert {f"`{word}`" for word in EXTRAS} <= {row[0] for row in rows}


@given(st.sampled_from(sorted(CRF)), st.sampled_from(["", "review", "master"]))
def test_a_better_quality_has_a_lower_number(kind: tuple[str, str], quality: str) -> None:
    """master below client below review, and what is asked is what the encoder is told."""
    rates = CRF[kind]
    assert rates["master"] < rates["client"] < rates["review"]
    flags = encoder_flags(*kind, rate=Fraction(24), width=640, quality=quality)
    assert flags["crf"] == rates[quality or "client"]
