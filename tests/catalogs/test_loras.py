"""Claims about the loras column: how it is spelt, what it may name, where its paths may lead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalogs.loras import MOST_LORAS, InstalledLora, Loras
from catalogs.shot import LoraUse

NAMES = (
    st.text("abcXYZ019._-+ äß", min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda name: name and not name.lower().endswith((".pt", ".bin")))
)
SCALES = st.none() | st.integers(-1000, 1000).map(lambda hundredths: hundredths / 100)


@pytest.fixture
def loras(desk: Any) -> Loras:
    """What the desk's rules say, with the list's folder first."""
    rules = desk.rules.loras
    return Loras(rules.installed, (desk.folder.resolve(), *(folder.resolve() for folder in rules.folders)))


def read(loras: Loras, text: str, model: str = "t2v") -> list[Any]:
    """The cell's LoRAs, or the codes of what is wrong with it."""
    found, wrong = loras.read(text, model=model)
    return [one.code for one in wrong] or [(use.name, use.scale) for use in found]


@pytest.mark.parametrize(
    "cell",
    [
        'mist:0.8 "film look":-1',
        'mist:0.8,"film look":-1.0',
        'mist:.8;"film look":-1.',
        ' mist:+0.80 | "film look":-1 ,',
        'mist:0.8\n\t"film look":-1',
    ],
)
def test_several_stand_side_by_side(loras: Loras, cell: str) -> None:
    """Blanks, commas, semicolons and | separate; quotes hold blanks together; a scale may have a sign."""
    assert read(loras, cell) == [("mist", 0.8), ("film look", -1.0)]


def test_a_scale_may_be_left_out(loras: Loras) -> None:
    """Without a scale the card decides, which is not the same as 1; 0 is a scale."""
    assert read(loras, "mist") == [("mist", None)]
    assert read(loras, "mist:0") == read(loras, "mist:-0") == [("mist", 0.0)]
    assert str(loras.read("mist:-0", model="t2v")[0][0]) == "mist:0"


@given(st.lists(st.tuples(NAMES, SCALES), min_size=1, max_size=5, unique_by=lambda pair: pair[0].casefold()))
@example([("8", 0.5)])
def test_what_is_written_in_quotes_is_what_is_read(pairs: list[tuple[str, float | None]]) -> None:
    """Any names and scales, quoted and separated, come back as they are."""
    here = Path(__file__).parent
    files = {name: InstalledLora(here / f"{name}.safetensors") for name, _ in pairs}
    cell = " ".join(f'"{name}"' + ("" if scale is None else f":{scale}") for name, scale in pairs)
    found, wrong = Loras(files, (here,)).read(cell, model="m")
    # none of the files is there: what was read shows in what is missed
    assert [one.words["lora"] for one in wrong] == [name for name, _ in pairs]
    assert found == ()


@given(st.text(max_size=80) | st.text('"a:C\\/.,;|8- \n', max_size=40))
@example('"')
@example('a"b"')
@example(",\u00a0,mist,\u00a0")
def test_no_cell_makes_the_reader_raise(text: str) -> None:
    """Any text at all gives LoRAs or reasons, and something of the two."""
    found, wrong = Loras({}, (Path(__file__).parent,)).read(text, model="m")
    assert not found
    assert {one.code for one in wrong} <= {"E601", "E602", "E603", "E604", "E605", "E606", "E607"}
    assert wrong


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("mist:", "E601"),
        (":0.8", "E601"),
        ('"":0.8', "E601"),
        ("mist:0.8:1", "E601"),
        ("mist:٢", "E601"),
        ("mist:1e3", "E601"),
        ("mist:nan", "E601"),
        ('"mist', "E601"),
        ('"mist"0.8', "E601"),
        (",;", "E601"),
        ("mist:-10.01", "E602"),
        ("mist:999999999", "E602"),
        ("Mist", "E603"),
        ("fog", "E603"),
        ("mist.pt:0.5", "E605"),
        ("mist.gguf", "E605"),
        ("weights/mist", "E605"),
        ("https://example.com/mist.safetensors", "E604"),
        ("n" * 3000 + ".safetensors", "E604"),
        ("../../mist.safetensors", "E606"),
        ("rain:0.5", "E609"),
    ],
)
def test_a_wrong_cell_has_its_code(loras: Loras, cell: str, expected: str) -> None:
    """One thing that is wrong gives one code."""
    assert read(loras, cell) == [expected]


def test_a_decimal_comma_is_explained(loras: Loras) -> None:
    """`mist:0,8` is two words, of which the second has no name: the message says what a scale looks like."""
    _, wrong = loras.read("mist:0,8", model="t2v")
    assert [(one.code, "decimal point" in str(one.words)) for one in wrong] == [("E601", True)]


def test_everything_wrong_comes_at_once(desk: Any) -> None:
    """A cell with four mistakes gives four sentences, each naming its LoRA, and no shot."""
    result = desk.one(model="t2v", prompt="p", loras="mits:0.8 /etc/x.safetensors look.ckpt mist:77")
    assert [one.code for one in result.problems] == ["E603", "E606", "E605", "E602"]
    assert "did you mean mist? installed: film look, mist, rain" in str(result.problems[0].remedy)
    assert "dailies weights convert" in result.problems[2].remedy
    assert "77" in result.problems[3].message
    assert result.shots == ()


def test_a_message_is_one_line(desk: Any) -> None:
    """A name of a thousand letters, or of two lines, does not bury the sentence."""
    result = desk.one(model="t2v", prompt="p", loras='"a\nb" ' + "n" * 3000 + ' "c\td.pt" x:' + "y" * 3000)
    assert [one.code for one in result.problems] == ["E603", "E603", "E605", "E601"]
    for one in result.problems:
        assert len(str(one).removeprefix(one.file).splitlines()) == 1
        assert len(str(one).removeprefix(one.file)) < 700


def test_a_drives_colon_is_no_scale(loras: Loras, desk: Any) -> None:
    """`C:\\looks\\mist.safetensors` is one path; only what follows the last colon and is a number is a scale."""
    found, wrong = loras.read(r'"C:\my looks\mist.safetensors":0.8 D:/mist.safetensors', model="t2v")
    assert found == ()
    assert [one.words["lora"] for one in wrong] == [r"C:\my looks\mist.safetensors", "D:/mist.safetensors"]
    assert {one.code for one in wrong} == {"E604"}
    odd = desk.folder / "a:0.5.safetensors"
    odd.write_bytes(b"x")
    assert read(loras, f"{odd}:0.25") == [(str(odd.resolve()), 0.25)]
    assert read(loras, str(odd)) == [(str(odd.resolve()), None)]


def test_a_path_starts_with_the_plates_or_with_the_weights(loras: Loras, desk: Any) -> None:
    """A relative path is the list's folder's, else the weights folder's; it is kept absolute, a name as it is."""
    (desk.folder / "fog.safetensors").write_bytes(b"x")
    weights = loras.folders[1]
    assert read(loras, "fog.safetensors:2") == [(str(desk.folder.resolve() / "fog.safetensors"), 2.0)]
    assert read(loras, "loras/mist.safetensors") == [(str(weights / "loras" / "mist.safetensors"), None)]
    assert read(loras, f"{weights}/loras/../loras/mist.safetensors") == read(loras, "loras/mist.safetensors")


def test_one_file_is_named_once(loras: Loras) -> None:
    """A LoRA is the same one under its name, its path and another spelling of its path."""
    assert read(loras, "mist mist:0.5") == ["E608"]
    assert read(loras, "mist loras/mist.safetensors:0.5") == ["E608"]
    assert read(loras, "loras/mist.safetensors loras/./mist.safetensors") == ["E608"]


def test_a_path_stays_inside_its_folders(desk: Any, loras: Loras, tmp_path: Path) -> None:
    """Links are followed and must end inside; that holds for installed LoRAs too, and a circle leads nowhere."""
    outside = tmp_path / "secret.safetensors"
    outside.write_bytes(b"x")
    (desk.folder / "out.safetensors").symlink_to(outside)
    (desk.folder / "in.safetensors").symlink_to(loras.installed["mist"].path)
    (desk.folder / "loop.safetensors").symlink_to(desk.folder / "loop.safetensors")
    (desk.folder / "door").symlink_to(tmp_path)
    cells = ("out.safetensors", "door/secret.safetensors", "../secret.safetensors", str(outside), "loop.safetensors")
    assert [read(loras, cell) for cell in cells] == [["E606"]] * 4 + [["E604"]]
    assert read(loras, "in.safetensors") == [(str(loras.installed["mist"].path.resolve()), None)]
    loras.installed["mist"].path.unlink()
    loras.installed["mist"].path.symlink_to(outside)
    assert read(loras, "mist") == ["E606"]


def test_a_link_of_a_hubs_cache_keeps_its_ending(loras: Loras) -> None:
    """A link to a file that is named by its digest is kept as a link: the loader goes by the ending."""
    blobs, snapshot = loras.folders[1] / "models--a" / "blobs", loras.folders[1] / "models--a" / "snapshots"
    blobs.mkdir(parents=True)
    snapshot.mkdir()
    (blobs / "abcdef").write_bytes(b"x")
    (snapshot / "fog.safetensors").symlink_to(blobs / "abcdef")
    assert read(loras, "models--a/snapshots/fog.safetensors") == [(str(snapshot / "fog.safetensors"), None)]


def test_a_pipe_is_no_lora(desk: Any, loras: Loras) -> None:
    """A pipe or a folder is refused without being opened, so nothing waits."""
    os.mkfifo(desk.folder / "pipe.safetensors")
    (desk.folder / "folder.safetensors").mkdir()
    assert read(loras, "pipe.safetensors") == read(loras, "folder.safetensors") == ["E607"]


def test_there_is_a_limit(desk: Any, loras: Loras) -> None:
    """A shot takes MOST_LORAS and not one more."""
    for number in range(MOST_LORAS + 1):
        (desk.folder / f"l{number}.safetensors").write_bytes(b"x")
    files = [f"l{number}.safetensors" for number in range(MOST_LORAS + 1)]
    assert len(read(loras, " ".join(files[:-1]))) == MOST_LORAS
    assert read(loras, " ".join(files)) == ["E601"]


def test_a_model_without_loras_keeps_the_cell(desk: Any) -> None:
    """The animatic says that it takes none, and the cell stays with the shot as metadata, unread."""
    result = desk.one(loras="nobody:knows:this")
    assert [one.code for one in result.warnings] == ["W301"]
    assert result.shots[0].loras == ()
    assert result.shots[0].metadata == (("loras", "nobody:knows:this"),)


def test_a_model_with_loras_gets_them(desk: Any) -> None:
    """What the cell says becomes the shot's request, and no metadata."""
    [shot] = desk.one(model="t2v", prompt="p", loras="mist:0.8").shots
    assert shot.loras == (LoraUse("mist", 0.8),)
    assert shot.metadata == ()
    [shot] = desk.one(model="wan", prompt="p", loras="").shots
    assert shot.loras == ()
