"""Windows: every length, every overlap, every rule of a model."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cards import card, generator_spec
from models.interface import GeneratorSpec
from tasks.errors import PlanError
from tasks.windows import Span, dissolve_weights, least_stretch, legal_at_least, snapped, span_windows

WAN = generator_spec(card("wan2.1-i2v-14b-720p"))

lengths = st.integers(1, 2000)
overlaps = st.integers(0, 16)


@given(frames=lengths, overlap=overlaps)
def test_every_window_is_legal_and_they_cover_the_shot(frames: int, overlap: int) -> None:
    """Each window has a length that the model can make, and no frame of the shot is left out."""
    spans = span_windows(frames, spec=WAN, overlap=overlap)
    assert all(WAN.legal(len(span.range)) for span in spans)
    covered = {frame for span in spans for frame in range(span.range.start, span.range.end)}
    assert covered >= set(range(frames))
    assert spans[-1].range.end - frames < WAN.frame_step * (1 if len(spans) == 1 else len(spans))


@given(frames=lengths, overlap=overlaps)
def test_segments_tile_the_shot(frames: int, overlap: int) -> None:
    """Every frame belongs to one segment, and every segment lies in its own window."""
    spans = span_windows(frames, spec=WAN, overlap=overlap)
    owned = [frame for span in spans for frame in range(span.segment.start, span.segment.end)]
    assert owned == list(range(frames))
    assert all(_inside(span) for span in spans)


def _inside(span: Span) -> bool:
    return span.range.start <= span.segment.start and span.segment.end <= span.range.end


@given(frames=lengths, overlap=overlaps)
def test_neighbours_share_exactly_the_overlap(frames: int, overlap: int) -> None:
    """A window starts `overlap` frames before its predecessor ends, and never reaches the one before that."""
    spans = span_windows(frames, spec=WAN, overlap=overlap)
    for before, after in pairwise(spans):
        assert before.range.end - after.range.start == overlap
    for first, third in zip(spans, spans[2:], strict=False):
        assert third.range.start >= first.range.end


@given(frames=lengths, overlap=overlaps)
def test_windows_are_balanced_and_as_few_as_possible(frames: int, overlap: int) -> None:
    """Window lengths differ by one frame step at most, and one window fewer could not cover the shot."""
    spans = span_windows(frames, spec=WAN, overlap=overlap)
    made = [len(span.range) for span in spans]
    assert max(made) - min(made) <= WAN.frame_step
    fewer = len(spans) - 1
    assert fewer == 0 or fewer * WAN.longest_window - (fewer - 1) * overlap < frames


@given(gaps=st.lists(st.integers(1, 60), min_size=1, max_size=8), rest=st.integers(1, 300), shared=st.integers(0, 5))
def test_each_stop_is_the_last_frame_of_a_window(gaps: list[int], rest: int, shared: int) -> None:
    """Between two stops the windows are legal, balanced and as few as possible; together they are the shot exactly."""
    overlap = WAN.frame_step * shared + WAN.frame_offset
    least = least_stretch(overlap, WAN)
    stops = [least * len(gaps[: number + 1]) + 4 * sum(gaps[: number + 1]) for number in range(len(gaps))]
    frames = stops[-1] + 1 + rest
    spans = span_windows(frames, spec=WAN, overlap=overlap, stops=stops)
    assert all(WAN.legal(len(span.range)) for span in spans)
    ends = [span.range.end - 1 for span in spans]
    assert set(stops) <= set(ends)
    assert 0 <= spans[-1].range.end - frames < WAN.frame_step
    owned = [frame for span in spans for frame in range(span.segment.start, span.segment.end)]
    assert owned == list(range(frames))
    assert all(_inside(span) for span in spans)
    assert all(before.range.end - after.range.start == overlap for before, after in pairwise(spans))
    assert all(third.range.start >= first.range.end for first, third in zip(spans, spans[2:], strict=False))
    first = 0
    for stop in (*stops, frames + 3):
        made = [len(span.range) for span in spans if first <= span.range.start and span.range.end - 1 <= stop]
        assert max(made) - min(made) <= WAN.frame_step
        length = min(stop, frames - 1) + 1 - first
        assert len(made) == 1 or (len(made) - 1) * WAN.longest_window - (len(made) - 2) * overlap < length
        first = stop + 1 - overlap


@given(position=st.fractions(-10, 2000, max_denominator=1001), step=st.integers(1, 8), offset=st.integers(1, 8))
def test_a_position_is_snapped_to_the_nearest_end_of_a_window(position: Fraction, step: int, offset: int) -> None:
    """Half a step away at most, except before the first frame that a window can end at."""
    spec = replace(WAN, frame_step=step, frame_offset=offset, longest_window=offset + 40 * step)
    frame = snapped(position, spec)
    assert (frame + 1 - offset) % step == 0
    assert frame >= offset - 1
    assert frame == offset - 1 or abs(frame - position) <= Fraction(step, 2)


@pytest.mark.parametrize(
    ("stops", "overlap", "said"),
    [
        ((64,), 4, "use 4n\\+1 frames"),
        ((64,), 0, "use 4n\\+1 frames"),
        ((63,), 5, "64 is the nearest that can"),
        ((64, 68), 9, "68 is 4 after 64; leave 12"),
        ((64, 32), 5, "32 is -32 after 64"),
        ((4,), 5, "leave 8"),
        ((0,), 1, "leave 4"),
        ((200,), 5, "leaves nothing of 200"),
        ((196, 200), 1, "leaves nothing of 200"),
    ],
)
def test_stops_that_cannot_be_are_refused(stops: tuple[int, ...], overlap: int, said: str) -> None:
    """Off the grid, too near to each other, out of order, at the end: each has its sentence."""
    with pytest.raises(PlanError, match=said):
        span_windows(200, spec=WAN, overlap=overlap, stops=stops)


@given(frames=lengths, step=st.integers(1, 8), offset=st.integers(1, 4), longest=st.integers(0, 30))
def test_any_models_rule_is_kept(frames: int, step: int, offset: int, longest: int) -> None:
    """Rules other than 4n+1 up to 81 give legal windows too."""
    spec: GeneratorSpec = replace(
        WAN, frame_step=step, frame_offset=offset, longest_window=offset + step * (longest + 2)
    )
    spans = span_windows(frames, spec=spec, overlap=1)
    assert all(spec.legal(len(span.range)) for span in spans)
    assert spans[-1].segment.end == frames


@pytest.mark.parametrize("overlap", [41, 80, 81, 100])
def test_an_overlap_that_leaves_nothing_is_refused(overlap: int) -> None:
    """An overlap longer than half a window is refused, with the most that would do."""
    with pytest.raises(PlanError, match="overlap"):
        span_windows(200, spec=WAN, overlap=overlap)


@pytest.mark.parametrize(("frames", "overlap"), [(0, 0), (-1, 0), (10, -1)])
def test_lengths_that_cannot_be_are_refused(frames: int, overlap: int) -> None:
    """No frames and negative overlaps are errors, not empty plans."""
    with pytest.raises(PlanError, match="at least"):
        span_windows(frames, spec=WAN, overlap=overlap)


def test_a_window_too_long_for_the_model_is_refused() -> None:
    """The message names the model and its limit."""
    with pytest.raises(PlanError, match="at most 81 frames"):
        legal_at_least(WAN, 82)


@given(overlap=st.integers(0, 64))
def test_dissolve_weights_have_equal_gain(overlap: int) -> None:
    """The weights of the two windows sum to 1 exactly, rise, and read the same backwards."""
    weights = dissolve_weights(overlap)
    assert len(weights) == overlap
    assert all(0 < weight < 1 for weight in weights)
    assert list(weights) == sorted(weights)
    assert [Fraction(1) - weight for weight in reversed(weights)] == list(weights)
