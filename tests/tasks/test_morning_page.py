"""Claims about foreign text on the report's page: it stays text, and reads as it was."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tasks.morning_page import brief, code, plain, unescaped

READER = MarkdownIt("gfm-like", {"html": True, "linkify": False}).enable("table")

foreign = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="`*_[]()<>!#|~&@:/\\-+.1 \nwhtpsa", max_size=40),
    st.sampled_from(
        [
            "![x](http://a.example/p.png)",
            "<img src=x onerror=alert(1)>",
            "[click](javascript:alert(1))",
            "http://evil.example www.evil.example a@evil.example",
            "| a | b |\n|---|---|",
            "# big\n\n- list",
            "&lt;b&gt; &amp; &#35;",
            "a\\\nb",
            "`` ` ``",
            "\u202egnp.exe",
        ]
    ),
)


@given(foreign)
def test_foreign_text_stays_text(text: str) -> None:
    """Whatever a prompt, an error or a dying process says: set in a line of ours it reads as it was, and is nothing but
    text: no link, picture, markup, code or heading."""
    tokens = READER.parse(f"- said: {plain(text)} end")
    kinds = [token.type for token in tokens]
    assert kinds == [
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
        "inline",
        "paragraph_close",
        "list_item_close",
        "bullet_list_close",
    ]
    children = tokens[3].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    shown = "".join(child.content for child in children)
    kept = "".join(" " if letter.isspace() else letter for letter in text)
    kept = "".join(letter for letter in kept if not unicodedata.category(letter).startswith("C"))
    assert " ".join(shown.split()) == " ".join(f"said: {kept} end".split())


@given(foreign)
def test_bare_addresses_are_no_links(text: str) -> None:
    """What renderers make links of stands nowhere in the source of foreign text: `://`, `www.`, a bare @."""
    assert not re.search(r"(?<!\\)://|\bwww\.|(?<!\\)@", plain(text), flags=re.I)


@given(foreign)
def test_a_name_cannot_leave_its_letters(name: str) -> None:
    """A name in code ends where it should, whatever stands in it."""
    [paragraph] = [token for token in READER.parse(f"x {code(name)} y") if token.type == "inline"]
    assert {child.type for child in paragraph.children or []} <= {"text", "text_special", "code_inline"}


@given(foreign)
def test_unrendered_it_reads_as_it_was(text: str) -> None:
    """Where nothing renders the page, what was escaped is shown without the backslashes that are ours."""
    kept = "".join(" " if letter.isspace() else letter for letter in text)
    kept = "".join(letter for letter in kept if not unicodedata.category(letter).startswith("C"))
    assert unescaped(plain(text)) == " ".join(kept.split())


@pytest.mark.parametrize("name", ["AGM_SQ010_SH0010_v001", "/plates/lake_at_dawn.png", "a_b"])
def test_names_need_no_escape(name: str) -> None:
    """An underscore inside a word is no markup: slates and file names stand in the file as they are."""
    assert plain(name) == name
    assert plain(f"_{name}_") == f"\\_{name}\\_"


def test_quarantine_is_told_in_few_words() -> None:
    """What each death left stands below; a text of another kind stays as it is."""
    long = "its process died 3 times while at it (attempt 1: on a (b), killed; attempt 2: hung); look at its plate"
    assert brief(long) == "its process died 3 times while at it"
    assert brief("the plate is gone (No such file); look at it") == "the plate is gone (No such file); look at it"
