"""Interpolator cards, and what brings their weights: every way in which a download can go wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_stub import Stub

from models import fetch as fetching
from models.cards import CardError
from models.fetch import fetch
from models.headers import WeightsError, WeightsUnavailableError
from models.hub_http import Hub
from models.ifnet import ARCHITECTURES
from models.interpolator_cards import (
    InterpolatorCard,
    PublishedFile,
    find_torch,
    interpolator_cards,
    parse_card,
    weights_file,
)
from models.weights import judge
from models.weights_lock import read_lock

CARD = """
title = "RIFE of the studio"
licence = "MIT"
architecture = "4.6"
multiple = 32
sources = ["https://example.org"]
[[files]]
url = "https://example.org/flownet.pkl"
sha256 = "%s"
""" % ("a" * 64)
PATIENT = Hub(pause=0.0)


def test_the_cards_say_what_the_networks_are() -> None:
    """Three versions under MIT, each with a network we have, its multiple, an address over https and a digest."""
    cards = interpolator_cards()
    assert list(cards) == ["rife-4.25", "rife-4.26", "rife-4.6"]
    for name, card in cards.items():
        assert card.name == name
        assert card.licence == "MIT"
        assert card.multiple == ARCHITECTURES[card.architecture].multiple
        assert card.sources
        for file in card.files:
            assert file.url.startswith("https://")
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.name == f"flownet_v{name.removeprefix('rife-')}.pkl"
    assert len({file.sha256 for card in cards.values() for file in card.files}) == 3
    assert {name: card.multiple for name, card in cards.items()} == {"rife-4.25": 64, "rife-4.26": 64, "rife-4.6": 32}


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ('title = "RIFE of the studio"', "title = ", "not TOML"),
        ('licence = "MIT"\n', "", "licence is missing"),
        ('licence = "MIT"', 'license = "MIT"', "license: no such field"),
        ('architecture = "4.6"', 'architecture = "4.7"', "architecture: .* one of: 4.6, 4.25"),
        ("multiple = 32", "multiple = 64", "it must be 32"),
        ("multiple = 32", "multiple = true", "whole number"),
        ("https://example.org/flownet.pkl", "file:///flownet.pkl", "files: "),
        ("flownet.pkl", "", "files: "),
        ("flownet.pkl", "flownet.exe", "files: "),
        ("a" * 64, "a" * 63, "files: "),
        ("[[files]]", "[[files]]\nmirror = 1", "files: "),
        ('["https://example.org"]', "[]", "sources: "),
    ],
)
def test_a_card_that_is_wrong_names_file_and_field(was: str, becomes: str, said: str) -> None:
    """And what is allowed there."""
    assert parse_card("rife-x", CARD).title == "RIFE of the studio"
    assert was in CARD
    with pytest.raises(CardError, match=rf"rife-x\.toml.*{said}"):
        parse_card("rife-x", CARD.replace(was, becomes, 1))


def test_a_card_beside_its_weights_wins(tmp_path: Path) -> None:
    """WEIGHTS/NAME/interpolator.toml; one that is wrong is named with its path."""
    for name in ("rife-4.6", "rife-studio"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "interpolator.toml").write_text(CARD)
    cards = interpolator_cards(tmp_path)
    assert list(cards) == ["rife-4.25", "rife-4.26", "rife-4.6", "rife-studio"]
    assert cards["rife-4.6"].title == "RIFE of the studio"
    assert interpolator_cards()["rife-4.6"].title == "RIFE 4.6"
    (tmp_path / "rife-studio" / "interpolator.toml").write_text("title")
    with pytest.raises(CardError, match=re.escape(str(tmp_path / "rife-studio" / "interpolator.toml"))):
        interpolator_cards(tmp_path)


def test_the_newest_safetensors_are_found(tmp_path: Path) -> None:
    """By number; or those of one card. Folders without the file do not count."""
    assert find_torch(tmp_path / "nowhere") == []
    for name in ("rife-4.6", "rife-4.25", "rife-4.25-own", "rife-v4.26", "rife-4.26", "rife"):
        (tmp_path / name).mkdir()
        if name != "rife-4.26":
            (tmp_path / name / "flownet.safetensors").write_bytes(b"")
    assert find_torch(tmp_path)[0] == tmp_path / "rife-4.25" / "flownet.safetensors"
    assert find_torch(tmp_path, "rife-4.6") == [tmp_path / "rife-4.6" / "flownet.safetensors"]
    assert find_torch(tmp_path, "rife-4.26") == []


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint of RIFE 4.6 as it is published: names with `module.`, and a leftover of the training."""
    torch = pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("published") / "flownet.pkl"
    tensors: dict[str, Any] = {
        f"module.{name}": torch.zeros(shape) for name, shape in ARCHITECTURES["4.6"].shapes().items()
    }
    torch.save({**tensors, "module.teacher.0.weight": torch.zeros(3)}, path)
    return path.read_bytes()


@pytest.fixture
def served(checkpoint: bytes) -> Iterator[tuple[Stub, InterpolatorCard]]:
    """A server that has the checkpoint, and the card that names it."""
    with Stub({"flownet.pkl": checkpoint, "page.pkl": b"<html>"}) as stub:
        yield stub, card_for(f"{stub.endpoint}/store/flownet.pkl", checkpoint)


def card_for(url: str, content: bytes) -> InterpolatorCard:
    file = PublishedFile(url, hashlib.sha256(content).hexdigest())
    return replace(interpolator_cards()["rife-4.6"], files=(file,))


def test_a_pull_brings_safetensors(served: tuple[Stub, InterpolatorCard], tmp_path: Path) -> None:
    """Downloaded, converted, locked with its origin, judged; the pickle is gone, and a second pull asks nobody."""
    stub, card = served
    said: list[tuple[str, int, int]] = []
    (made,) = fetch(card, tmp_path, hub=PATIENT, progress=lambda *words: said.append(words))
    assert (made.path, made.action) == (weights_file(tmp_path, "rife-4.6"), "downloaded")
    entry = read_lock(tmp_path)["rife-4.6/flownet.safetensors"]
    assert entry.source == f"converted from {card.files[0].url} ({card.files[0].sha256})"
    assert entry.sha256 == made.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert judge(made.path, weights=tmp_path).require().files[0].against == "lock"
    assert [path.name for path in made.path.parent.iterdir()] == ["flownet.safetensors"]
    assert [path.name for path in (tmp_path / ".partial").iterdir()] == ["pull.lock"]
    assert said[-1] == ("flownet.pkl", said[-1][2], said[-1][2])
    asked = len(stub.seen)
    (again,) = fetch(card, tmp_path, hub=replace(PATIENT, offline=True))
    assert (again.action, len(stub.seen)) == ("present", asked)


def test_the_published_file_is_kept_where_asked_for(served: tuple[Stub, InterpolatorCard], tmp_path: Path) -> None:
    """Beside what was made of it, byte for byte."""
    made, kept = fetch(served[1], tmp_path, hub=PATIENT, keep=True)
    assert kept.path == made.path.with_name("flownet.pkl")
    assert hashlib.sha256(kept.path.read_bytes()).hexdigest() == served[1].files[0].sha256


def download(card: InterpolatorCard, weights: Path) -> bytes:
    """The file as a pull brings it, before it is converted."""
    part = weights / ".partial" / "file.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    fetching._download(card.files[0], part, hub=PATIENT, progress=lambda *_: None)
    return part.read_bytes()


def test_a_pull_goes_on_where_it_ended(
    served: tuple[Stub, InterpolatorCard], checkpoint: bytes, tmp_path: Path
) -> None:
    """After answers that break off, within one pull and from one to the next; every byte is asked for once."""
    stub, card = served
    stub.drops, stub.drop_at = 2, 1_000_000
    assert download(card, tmp_path / "one") == checkpoint
    assert [span for _, span in stub.asked("GET")] == ["", "bytes=1000000-", "bytes=2000000-"]
    stub.drops, stub.drop_at = 1, 500_000
    download(card, tmp_path / "two")
    assert stub.asked("GET")[-1][1] == "bytes=500000-"
    stub.drops, stub.drop_at = 99, 0
    with pytest.raises(WeightsUnavailableError, match=r"stopped at byte 0 .* pull again"):
        download(card, tmp_path / "three")


def test_a_server_that_cannot_go_on_starts_again(
    served: tuple[Stub, InterpolatorCard], checkpoint: bytes, tmp_path: Path
) -> None:
    """Then the first part is thrown away, not put before the whole."""
    stub, card = served
    stub.drops, stub.drop_at, stub.ranges = 1, 500_000, False
    assert download(card, tmp_path) == checkpoint


def test_a_part_that_is_no_beginning_is_found_out(
    served: tuple[Stub, InterpolatorCard], checkpoint: bytes, tmp_path: Path
) -> None:
    """Its digest is taken again: what was damaged meanwhile is thrown away, and the next pull brings it whole."""
    part = tmp_path / ".partial" / "file.part"
    part.parent.mkdir()
    part.write_bytes(bytes(1000))
    with pytest.raises(WeightsError, match="thrown away"):
        download(served[1], tmp_path)
    assert not part.exists()
    assert download(served[1], tmp_path) == checkpoint
    assert download(served[1], tmp_path) == checkpoint
    assert len(served[0].asked("GET")) == 2, "what is there and right is not asked for"


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ({"wrong": True}, WeightsError, "came with sha256 .* thrown away"),
        ({"status": 404}, WeightsError, "does not have it"),
        ({"status": 503}, WeightsUnavailableError, "HTTP 503.*pull again"),
    ],
)
def test_what_a_server_does_wrong_is_a_sentence(
    served: tuple[Stub, InterpolatorCard], tmp_path: Path, fault: dict[str, Any], kind: type[Exception], said: str
) -> None:
    """And nothing lies where weights are looked for."""
    stub, card = served
    for name, value in fault.items():
        setattr(stub, name, value)
    with pytest.raises(kind, match=said):
        fetch(card, tmp_path, hub=PATIENT)
    assert not weights_file(tmp_path, "rife-4.6").exists()
    assert not read_lock(tmp_path)


def test_no_network_is_a_sentence(served: tuple[Stub, InterpolatorCard], tmp_path: Path) -> None:
    """Forbidden, or a server that is not there."""
    stub, card = served
    with pytest.raises(WeightsUnavailableError, match="HF_HUB_OFFLINE"):
        fetch(card, tmp_path, hub=replace(PATIENT, offline=True))
    assert not stub.seen
    gone = replace(card, files=(replace(card.files[0], url="http://127.0.0.1:9/flownet.pkl"),))
    with pytest.raises(WeightsUnavailableError, match="refused"):
        fetch(gone, tmp_path, hub=PATIENT)


def test_a_full_disk_is_said_before_anything_is_written(
    served: tuple[Stub, InterpolatorCard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is needed and what is free."""
    monkeypatch.setattr(fetching, "SPARE", 1 << 60)
    with pytest.raises(WeightsUnavailableError, match=r"needs 0\.0\d GB more .* make room"):
        fetch(served[1], tmp_path, hub=PATIENT)


def test_a_size_that_the_card_denies_is_refused(served: tuple[Stub, InterpolatorCard], tmp_path: Path) -> None:
    """Before the bytes come."""
    card = served[1]
    wrong = replace(card, files=(replace(card.files[0], bytes=7),))
    with pytest.raises(WeightsError, match="its card says 7"):
        fetch(wrong, tmp_path, hub=PATIENT)


def test_the_token_is_for_the_hub_alone(served: tuple[Stub, InterpolatorCard], tmp_path: Path) -> None:
    """A server that a card names does not see it, even where it stands in for the hub."""
    stub, card = served
    fetch(card, tmp_path, hub=replace(PATIENT, endpoint=stub.endpoint, token="secret"))
    assert stub.tokens
    assert not any(token for _, token in stub.tokens)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    """With the right digest, but tensors of no RIFE, of another version, or none at all."""
    torch = pytest.importorskip("torch")
    path = tmp_path / "other.pkl"
    shapes = ARCHITECTURES["4.25"].shapes()
    for tensors, said in (({"a": torch.zeros(3)}, "no RIFE"), ({n: torch.zeros(s) for n, s in shapes.items()}, "4.25")):
        torch.save(tensors, path)
        with Stub({"other.pkl": path.read_bytes()}) as stub, pytest.raises(WeightsError, match=said):
            fetch(card_for(f"{stub.endpoint}/store/other.pkl", path.read_bytes()), tmp_path / "weights", hub=PATIENT)
        assert not weights_file(tmp_path / "weights", "rife-4.6").exists()
    with Stub({"page.pkl": b"<html>"}) as stub, pytest.raises(WeightsError, match="no torch file"):
        fetch(card_for(f"{stub.endpoint}/store/page.pkl", b"<html>"), tmp_path / "weights", hub=PATIENT)


def test_a_file_of_unknown_origin_is_not_replaced(served: tuple[Stub, InterpolatorCard], tmp_path: Path) -> None:
    """Nor taken for the card's; and one that was changed since it was locked is named."""
    target = weights_file(tmp_path, "rife-4.6")
    target.parent.mkdir()
    target.write_bytes(b"mine")
    with pytest.raises(WeightsError, match="remove it, and pull again"):
        fetch(served[1], tmp_path, hub=PATIENT)
    assert target.read_bytes() == b"mine"
    target.unlink()
    fetch(served[1], tmp_path, hub=PATIENT)
    target.write_bytes(b"changed")
    with pytest.raises(WeightsError, match=r"weights\.lock\.json says"):
        fetch(served[1], tmp_path, hub=PATIENT)
