"""Pulling from a hub: whatever the network does, a file under its name is the right file."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from hub_stub import COMMIT, Stub

from models.headers import WeightsError, WeightsUnavailableError
from models.hub import Pulled, pull
from models.hub_http import Hub
from models.weights import judge
from models.weights_lock import read_lock


def _weights(size: int) -> bytes:
    text = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(i * 7 % 251 for i in range(size))


BIG = _weights(300_000)
FILES = {"model_index.json": b'{"_class_name": "X"}', "transformer/model.safetensors": BIG}


class Named:
    """What pull reads of a card."""

    def __init__(self, **fields: Any) -> None:
        self.name, self.title, self.repository, self.revision = "tiny", "Tiny", "studio/model", COMMIT
        self.files: tuple[Any, ...] = tuple(FileOf(name) for name in FILES)
        for name, value in fields.items():
            setattr(self, name, value)


FileOf = namedtuple("FileOf", ["path", "bytes", "sha256"], defaults=[None, None])


def _pull(stub: Stub, weights: Path, card: Any = None, **hub: Any) -> tuple[Pulled, ...]:
    return pull(card or Named(), weights, hub=Hub(endpoint=stub.endpoint, pause=0.01, **hub))


def _sha(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _left(weights: Path) -> set[str]:
    return {path.relative_to(weights).as_posix() for path in weights.rglob("*") if path.is_file()} - {
        ".partial/pull.lock",
        ".weights.lock",
        ".weights-cache.json",
    }


def test_the_stub_is_a_hub(tmp_path: Path) -> None:
    """The hub's own client downloads from the stub: what is tested here is the real protocol."""
    client = pytest.importorskip("huggingface_hub")
    with Stub(FILES) as stub:
        for name, content in FILES.items():
            path = client.hf_hub_download(
                "studio/model", name, revision=COMMIT, endpoint=stub.endpoint, cache_dir=tmp_path, token=False
            )
            assert Path(path).read_bytes() == content


def test_a_pull_brings_files_and_lock(tmp_path: Path) -> None:
    """Every file lies under its name and is locked with commit and hash; a second pull asks the network nothing."""
    seen: list[tuple[str, int, int]] = []
    with Stub(FILES) as stub:
        hub = Hub(endpoint=stub.endpoint)
        pulled = pull(Named(), tmp_path, hub=hub, progress=lambda *now: seen.append(now))
        assert [file.action for file in pulled] == ["downloaded", "downloaded"]
        stub.seen.clear()
        assert [file.action for file in pull(Named(), tmp_path, hub=hub)] == ["present", "present"]
        assert stub.seen == []
    assert (tmp_path / "tiny/transformer/model.safetensors").read_bytes() == BIG
    locked = read_lock(tmp_path)["tiny/transformer/model.safetensors"]
    assert (locked.bytes, locked.sha256) == (len(BIG), _sha(BIG))
    assert locked.source == f"{stub.endpoint}/studio/model@{COMMIT}/transformer/model.safetensors"
    assert seen[-1] == ("transformer/model.safetensors", len(BIG), len(BIG))
    assert _left(tmp_path) == {"weights.lock.json", *(f"tiny/{name}" for name in FILES)}
    assert judge(tmp_path / "tiny/transformer", weights=tmp_path).files[0].against == "lock"


def test_a_dropped_connection_is_continued(tmp_path: Path) -> None:
    """Two cuts in the middle cost no byte twice: the requests start where the file ends."""
    with Stub({"transformer/model.safetensors": BIG}, drops=2, drop_at=100_000) as stub:
        card = Named(files=(FileOf("transformer/model.safetensors"),))
        assert _pull(stub, tmp_path, card)[0].sha256 == _sha(BIG)
        assert [span for _, span in stub.asked("GET", "/store")] == ["", "bytes=100000-", "bytes=200000-"]


def test_an_interrupted_pull_goes_on_next_time(tmp_path: Path) -> None:
    """When the hub stays away, what came is kept without its name; the next pull asks for the rest alone."""
    card = Named(files=(FileOf("transformer/model.safetensors"),))
    with Stub(FILES, drops=1, drop_at=50_000) as stub:
        hub = Hub(endpoint=stub.endpoint, pause=0.01)

        def stop(name: str, done: int, size: int) -> None:
            if done >= 50_000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pull(card, tmp_path, hub=hub, progress=stop)
        assert not (tmp_path / "tiny/transformer/model.safetensors").exists()
        assert (tmp_path / f".partial/{_sha(BIG)}.part").stat().st_size == 50_000
        stub.seen.clear()
        pull(card, tmp_path, hub=hub)
        assert [span for _, span in stub.asked("GET", "/store")] == ["bytes=50000-"]


def test_a_hub_without_ranges_starts_again(tmp_path: Path) -> None:
    """A server that ignores Range sends the whole file, which is not appended to what was there."""
    with Stub(FILES, drops=1, drop_at=1000, ranges=False) as stub:
        _pull(stub, tmp_path)
    assert (tmp_path / "tiny/transformer/model.safetensors").read_bytes() == BIG


def test_wrong_bytes_are_thrown_away(tmp_path: Path) -> None:
    """A body with another digest is refused with both hashes and gets no name."""
    with Stub(FILES, wrong=True) as stub:
        card = Named(files=(FileOf("transformer/model.safetensors"),))
        with pytest.raises(WeightsError) as caught:
            _pull(stub, tmp_path, card)
    assert _sha(BIG) in str(caught.value)
    assert _sha(BIG[::-1]) in str(caught.value)
    assert _left(tmp_path) == set()


def test_small_files_are_held_against_gits_digest(tmp_path: Path) -> None:
    """A configuration that was tampered with on the way is refused as weights are."""
    with Stub(FILES, wrong=True) as stub, pytest.raises(WeightsError, match="git digest"):
        _pull(stub, tmp_path, Named(files=(FileOf("model_index.json"),)))


def test_the_card_is_held_against_the_hub(tmp_path: Path) -> None:
    """Another size or hash than the card's is refused before a byte is downloaded."""
    name = "transformer/model.safetensors"
    with Stub(FILES) as stub:
        with pytest.raises(WeightsError, match="the card says 5"):
            _pull(stub, tmp_path, Named(files=(FileOf(name, 5),)))
        with pytest.raises(WeightsError, match=f"the card says {'a' * 64}"):
            _pull(stub, tmp_path, Named(files=(FileOf(name, len(BIG), "a" * 64),)))
        assert stub.asked("GET") == []
        _pull(stub, tmp_path, Named(files=(FileOf(name, len(BIG), _sha(BIG)),)))


def test_a_sound_hash_does_not_excuse_a_bad_header(tmp_path: Path) -> None:
    """What the hub serves faithfully and is no safetensors file gets no name."""
    with Stub({"a.safetensors": b"\x80\x02" * 100}) as stub, pytest.raises(WeightsError, match="claims"):
        _pull(stub, tmp_path, Named(files=(FileOf("a.safetensors"),)))
    assert not (tmp_path / "tiny/a.safetensors").exists()


def test_a_branch_is_pinned_by_the_lock(tmp_path: Path) -> None:
    """Without a commit in the card, that of the first pull is the one of the next."""
    with Stub({**FILES, "new.json": b"{}"}) as stub:
        _pull(stub, tmp_path, Named(revision="main", files=(FileOf("model_index.json"),)))
        assert stub.asked("HEAD")[0][0].startswith("/studio/model/resolve/main/")
        stub.seen.clear()
        _pull(stub, tmp_path, Named(revision="", files=(FileOf("new.json"),)))
        assert stub.asked("HEAD")[0][0].startswith(f"/studio/model/resolve/{COMMIT}/")


def test_the_shards_of_an_index_come_with_it(tmp_path: Path) -> None:
    """A card names the index alone: its shards are pulled, locked and found again; one that leads away is refused."""
    index = "transformer/m.safetensors.index.json"
    shard = "m-00001-of-00001.safetensors"
    files = {index: json.dumps({"weight_map": {"a": shard}}).encode(), f"transformer/{shard}": BIG}
    card = Named(files=(FileOf(index),))
    with Stub(files) as stub:
        assert [file.action for file in _pull(stub, tmp_path, card)] == ["downloaded", "downloaded"]
        stub.seen.clear()
        assert [file.action for file in _pull(stub, tmp_path, card)] == ["present", "present"]
        assert stub.seen == []
    assert judge(tmp_path / "tiny/transformer", weights=tmp_path).ok
    away = {index: b'{"weight_map": {"a": "../../../x.safetensors"}}'}
    with Stub(away) as stub, pytest.raises(WeightsError, match="no file of this folder"):
        _pull(stub, tmp_path / "other", card)


def test_the_index_knows_better_than_the_card(tmp_path: Path) -> None:
    """A repository that was cut into other shards since the card was written: its own are pulled and locked."""
    index = "transformer/m.safetensors.index.json"
    now = [f"m-0000{at}-of-00002.safetensors" for at in (1, 2)]
    files = {index: json.dumps({"weight_map": {"a": now[0], "b": now[1]}}).encode(), "transformer/other.json": b"{}"}
    files |= {f"transformer/{shard}": _weights(1000 + at) for at, shard in enumerate(now)}
    before = [f"transformer/m-0000{at}-of-00003.safetensors" for at in (1, 2, 3)]
    card = Named(files=tuple(FileOf(name) for name in (index, *before, "transformer/other.json")))
    with Stub(files) as stub:
        _pull(stub, tmp_path, card)
    assert set(read_lock(tmp_path)) == {f"tiny/{name}" for name in files}
    assert not any((tmp_path / "tiny" / name).exists() for name in before)


def test_the_small_files_come_alone(tmp_path: Path) -> None:
    """Configs, tokenizer and scheduler for weights in single files: no weights, and no index without its shards."""
    small = {"model_index.json": b"{}", "tokenizer/spiece.model": b"words" * 50, "vae/config.json": b"{}"}
    index = {"transformer/m.safetensors.index.json": b'{"weight_map": {"a": "m-00001-of-00001.safetensors"}}'}
    with Stub({**small, **index, "vae/a.safetensors": BIG}) as stub:
        card = Named(files=tuple(FileOf(name) for name in stub.files))
        pulled = pull(card, tmp_path, hub=Hub(endpoint=stub.endpoint, pause=0.01), only_config=True)
        assert {file.path.relative_to(tmp_path / "tiny").as_posix() for file in pulled} == set(small)
        assert set(read_lock(tmp_path)) == {f"tiny/{name}" for name in small}
        assert len(_pull(stub, tmp_path, Named(files=tuple(FileOf(name) for name in small)))) == len(small)


def test_a_file_of_two_models_is_downloaded_once(tmp_path: Path) -> None:
    """The same text encoder in another card is linked to the one that is there."""
    with Stub(FILES) as stub:
        _pull(stub, tmp_path)
        stub.seen.clear()
        pulled = _pull(stub, tmp_path, Named(name="other", files=(FileOf("transformer/model.safetensors"),)))
        assert [file.action for file in pulled] == ["linked"]
        assert stub.asked("GET") == []
    assert judge(tmp_path / "other/transformer/model.safetensors", weights=tmp_path).ok


def test_the_token_is_shown_to_the_hub_alone(tmp_path: Path) -> None:
    """The store that the hub redirects to never sees the access token."""
    with Stub(FILES) as stub:
        _pull(stub, tmp_path, token="secret")
        shown = {path.startswith("/store"): token for path, token in stub.tokens}
    assert shown == {False: "Bearer secret", True: ""}


def test_a_full_disk_is_said_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is not started; the sentence has both figures."""
    usage = shutil.disk_usage(tmp_path)
    with Stub(FILES) as stub:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(WeightsUnavailableError, match="GB free"):
            _pull(stub, tmp_path)
        assert stub.asked("GET") == []


def test_every_refusal_of_the_hub_has_its_sentence(tmp_path: Path) -> None:
    """Missing file, licence, overload, no hub at all, no network, forbidden network: each says what to do."""
    with Stub(FILES) as stub:
        with pytest.raises(WeightsError, match="does not have it"):
            _pull(stub, tmp_path, Named(files=(FileOf("none.safetensors"),)))
        stub.failures = 2
        assert _pull(stub, tmp_path)
        stub.status = 403
        with pytest.raises(WeightsUnavailableError, match="HF_TOKEN"):
            _pull(stub, tmp_path, Named(name="b"))
        stub.status = 503
        with pytest.raises(WeightsUnavailableError, match="HTTP 503"):
            _pull(stub, tmp_path, Named(name="b"))
        stub.status = 200
        with pytest.raises(WeightsError, match=r"no hub|commit ''"):
            _pull(stub, tmp_path, Named(name="b"))
    with pytest.raises(WeightsUnavailableError, match="cannot be reached"):
        _pull(stub, tmp_path, Named(name="b"))
    with pytest.raises(WeightsUnavailableError, match="HF_HUB_OFFLINE"):
        _pull(stub, tmp_path, Named(name="b"), offline=True)
    with pytest.raises(WeightsError, match="no weights to pull"):
        _pull(stub, tmp_path, Named(files=()))


@pytest.mark.parametrize(
    "name", ["../a.safetensors", "/a.safetensors", "a\\b.safetensors", "c:/a.gguf", "a/./b", "a.bin"]
)
def test_a_card_cannot_write_elsewhere(tmp_path: Path, name: str) -> None:
    """A path that leaves the model's folder, or a pickle, is refused before the hub is asked."""
    with Stub(FILES) as stub, pytest.raises(WeightsError, match="not a plain path"):
        _pull(stub, tmp_path, Named(files=(FileOf(name),)))
    assert stub.seen == []


def test_the_environment_is_the_hubs_own() -> None:
    """HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE mean what huggingface_hub says."""
    assert Hub.read({}) == Hub("https://huggingface.co", "", False)
    assert Hub.read({"HF_ENDPOINT": "http://x/", "HF_TOKEN": "t\n", "HF_HUB_OFFLINE": "1"}) == Hub(
        "http://x", "t", True
    )
