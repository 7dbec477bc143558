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
from tasks.windows import Span, dissolve_weights, legal_at_least, span_windows

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
