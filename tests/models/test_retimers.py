"""What can be asked of a retimer, as words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.retimers import (
    ANY,
    ENGINES,
    FLOW,
    RIFE_NCNN,
    RIFE_TORCH,
    RetimerWish,
    RetimerWishError,
    Tta,
    Uhd,
    parse_wish,
)

WISHES = st.builds(
    RetimerWish,
    engine=st.sampled_from(["", *ENGINES]),
    device=st.sampled_from(["", "cpu"]),
    model=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True) | st.just(""),
    tta=st.sampled_from(list(Tta)),
    uhd=st.sampled_from(list(Uhd)),
).filter(lambda wish: wish.engine != FLOW or wish.allows(FLOW))


@given(WISHES)
def test_a_wish_is_read_back_from_its_words(wish: RetimerWish) -> None:
    """Whatever is asked for survives the environment of a worker."""
    assert parse_wish(str(wish)) == wish


def test_no_words_are_no_wish() -> None:
    """An unset variable leaves everything to the machine."""
    assert parse_wish("  ") == ANY
    assert str(ANY) == ""


def test_settings_come_in_any_order() -> None:
    """The engine's name may stand last."""
    asked = RetimerWish(RIFE_NCNN, "vulkan:1", "rife-v4.25", Tta.BOTH, Uhd.ON)
    assert parse_wish("uhd=on tta=both model=rife-v4.25 device=vulkan:1 rife-ncnn") == asked


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rive", "rife, rife-torch, rife-ncnn, flow"),
        ("flow tta=temporal", "flow has no weights, no tta and no uhd"),
        ("device=gpu", "cpu, cuda:0 or vulkan:0"),
        ("tta=8", "none, spatial, temporal, both"),
        ("uhd=yes", "auto, on, off"),
        ("model=../x", "rife-4.25"),
        ("speed=2", "no setting 'speed'"),
        ("rife-ncnn device=cuda:0", "does not run on cuda:0"),
        ("rife-torch device=vulkan:0", "does not run on vulkan:0"),
    ],
)
def test_a_word_that_means_nothing_is_refused(words: str, said: str) -> None:
    """With the words that mean something."""
    with pytest.raises(RetimerWishError, match="." if not said else said.replace("(", r"\(")):
        parse_wish(words)


@pytest.mark.parametrize(("size", "halved"), [((1920, 1080), False), ((2048, 1152), False), ((2560, 1440), True)])
def test_large_frames_are_sought_at_half_size(size: tuple[int, int], halved: bool) -> None:
    """From 1440p on, unless somebody says otherwise."""
    assert Uhd.AUTO.halves(*size) is halved
    assert Uhd.ON.halves(*size)
    assert not Uhd.OFF.halves(*size)


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("", "rife-torch rife-ncnn flow"),
        ("uhd=off", "rife-torch rife-ncnn flow"),
        ("rife", "rife-torch rife-ncnn"),
        ("rife-ncnn", "rife-ncnn"),
        ("flow", "flow"),
        ("tta=both", "rife-torch rife-ncnn"),
        ("uhd=on", "rife-torch rife-ncnn"),
        ("model=rife-4.25", "rife-torch rife-ncnn"),
    ],
)
def test_a_wish_names_who_can_fulfil_it(words: str, allowed: str) -> None:
    """A setting that flow does not have keeps flow out: nobody gets it in silence."""
    wish = parse_wish(words)
    assert " ".join(engine for engine in (RIFE_TORCH, RIFE_NCNN, FLOW) if wish.allows(engine)) == allowed


def test_optical_flow_is_an_engine_by_name() -> None:
    """A shot can ask for it though RIFE is there."""
    assert parse_wish(FLOW).engine == FLOW
