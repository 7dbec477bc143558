"""Claims about deliveries: how they are written, told apart, and refused where they cannot be made."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.formats import GRADED, LEVELS, SEQUENCES, delivery_complaints
from catalogs.shot import DELIVERY_OPTIONS, EXTRAS, QUALITIES, Delivery

RATE = Fraction(24)

kinds = st.sampled_from([(kind, option) for kind, options in DELIVERY_OPTIONS.items() for option in options])
deliveries = st.builds(
    lambda kind, quality, extras: Delivery(*kind, quality, tuple(word for word in EXTRAS if word in extras)),
    kinds,
    st.sampled_from(["", "review", "master"]),
    st.sets(st.sampled_from(EXTRAS)),
)


def codes(text: str, size: tuple[int, int] | None = (1280, 720), rate: Fraction = RATE) -> list[str]:
    return [found.code for found in delivery_complaints([Delivery.parse(text)], size=size, rate=rate)]


@given(deliveries)
def test_a_delivery_survives_being_written_and_read(delivery: Delivery) -> None:
    """As people write it, and as catalogues hold it, it is the same delivery again."""
    assert Delivery.parse(str(delivery)) == delivery
    assert Delivery.parse(delivery.whole) == delivery
    assert delivery.whole.startswith(f"{delivery.kind}:{delivery.option}")


def test_words_stand_in_any_order_and_case() -> None:
    """Kind first, then whatever comes first to mind; `client` is the default and changes nothing."""
    wanted = Delivery("webm", "av1", "review", ("silent", "burnin"))
    for words in permutations(("AV1", "Review", "silent", "burnin")):
        assert Delivery.parse(":".join(("WebM", *words))) == wanted
    assert Delivery.parse("h265:client") == Delivery.parse("h265") == Delivery("h265", "main10")


def test_what_old_catalogues_hold_is_read() -> None:
    """Their `kind:option` means what it meant."""
    for text in ("h265:main10", "prores:hq", "webm:vp9", "h264:high", "png:16"):
        assert Delivery.parse(text) == Delivery(*text.split(":"))
        assert Delivery.parse(text).whole == text


@pytest.mark.parametrize(
    "text", ["avi", "", "h265:prores", "webm:hq", "prores:hq:lt", "h264:review:master", "hq:prores"]
)
def test_what_is_no_delivery_is_refused_with_what_is(text: str) -> None:
    """An unknown kind or word, two options, two qualities."""
    with pytest.raises(ValueError, match=r"use|choose"):
        Delivery.parse(text)


@given(deliveries)
def test_a_quality_is_for_kinds_that_have_one(delivery: Delivery) -> None:
    """ProRes, PNG and EXR take none; no other complaint is about that."""
    found = [one.code for one in delivery_complaints([delivery], size=(1280, 720), rate=RATE)]
    assert ("E340" in found) == (bool(delivery.quality) and delivery.kind not in GRADED)
    assert ("E341" in found) == ("silent" in delivery.extras and delivery.kind in SEQUENCES)
    review = delivery.kind == "h264" or delivery.quality == "review"
    words = [word for word in ("slate", "burnin") if word in delivery.extras and not review]
    assert found.count("E342") == len(words)


@given(deliveries)
def test_every_complaint_is_a_sentence_with_a_remedy(delivery: Delivery) -> None:
    """Whatever is asked, at a size and rate that nothing reaches: every code's words are all filled in."""
    for size in ((8192, 8192), (640, 361), None):
        for complaint in delivery_complaints([delivery], size=size, rate=Fraction(240)):
            assert complaint.refuses
            assert str(delivery) in str(complaint)
            assert "; " in str(complaint)
            assert "{" not in str(complaint)


def test_remedies_can_be_followed() -> None:
    """What a burnt-in delivery is told to be instead is one that is not refused."""
    [complaint] = delivery_complaints([Delivery.parse("webm:av1:burnin")], size=(1280, 720), rate=RATE)
    for text in str(complaint.words["others"]).split(" or "):
        assert codes(text) == []
        assert "burnin" in text


def test_sizes_and_rates_of_the_standards() -> None:
    """UHD and 4K at 60 pass everywhere; 8K passes in H.265 and ProRes, not in the review copy; 17 by 17 K nowhere."""
    everything = ["h265", "prores", "webm", "webm:av1", "h264", "png", "exr"]
    for text in everything:
        assert codes(text, (3840, 2160), Fraction(60)) == []
        assert codes(text, (2160, 3840), Fraction(60000, 1001)) == []
        assert codes(text, (16, 16), Fraction(1)) == []
    assert [codes(text, (7680, 4320), Fraction(60)) for text in everything] == [[], [], [], [], ["E343"], [], []]
    assert codes("h264", (4096, 2160), Fraction(60)) == []
    assert codes("h264", (4096, 2160), Fraction(61)) == ["E344"]
    assert codes("h265", (8192, 8192)) == codes("webm", (8192, 8192)) == ["E343"]
    assert codes("prores", (8192, 8192)) == codes("exr", (8192, 8192)) == []


@given(st.sampled_from([f"{kind}:{option}" for kind, option in LEVELS]), st.integers(2, 4096), st.integers(2, 4096))
def test_the_rate_that_a_message_names_is_the_limit(text: str, half_width: int, half_height: int) -> None:
    """Where a size is made at all, it is made at the named rate and not above."""
    size = (2 * half_width, 2 * half_height)
    found = delivery_complaints([Delivery.parse(text)], size=size, rate=Fraction(10**9))
    if found[0].code == "E344":
        most = int(str(found[0].words["remedy"]).split()[1])
        assert codes(text, size, Fraction(most)) == []
        assert codes(text, size, Fraction(most + 1)) == ["E344"]
    else:
        assert codes(text, size, Fraction(1)) == ["E343"]


def test_odd_sides_are_refused_where_chroma_is_halved() -> None:
    """4:2:0 needs both even, ProRes its width, PNG and EXR neither; the model's own size is not judged here."""
    assert [codes(text, (640, 361)) for text in ("h265", "webm", "h264", "prores", "png")] == [["E343"]] * 3 + [[], []]
    assert codes("prores", (641, 360)) == ["E343"]
    assert codes("exr", (641, 361)) == []
    assert codes("h264", None, Fraction(240)) == []
    assert QUALITIES[0] == "client"
