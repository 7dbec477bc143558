"""Claims about a plan's LoRAs: found, hashed, ordered, and refused before anything is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from catalogs.shot import LoraUse, Shot
from models.cards import card, generator_spec
from models.lora_cards import lora_file
from models.weights_lock import CACHE
from tasks.errors import PlanError
from tasks.loras import installed, resolve

ONE = generator_spec(card("wan2.1-i2v-14b-720p"))
TWO = generator_spec(card("wan2.2-i2v-a14b"))


def safetensors(fill: int = 1) -> bytes:
    """A sound file with one tensor of four bytes."""
    header = json.dumps({"a.lora_A.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes([fill] * 4)


def put(weights: Path, name: str, *, fill: int = 1, **card_fields: object) -> Path:
    """A LoRA in the weights folder, with a card if fields are given."""
    file = lora_file(weights, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(safetensors(fill))
    if card_fields:
        lines = (f"{field} = {json.dumps(value)}" for field, value in card_fields.items())
        file.with_suffix(".toml").write_text("\n".join(lines))
    return file


def digest(path: Path) -> str:
    """sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shot(loras: Mapping[str, float | None]) -> Shot:
    """A shot that wants these."""
    return Shot("AGM", "SH0010", 48, loras=tuple(LoraUse(name, scale) for name, scale in loras.items()))


def test_a_plan_knows_files_strengths_digests_and_words(tmp_path: Path) -> None:
    """The list's scale counts, else the card's, else 1; digests are of the files; trigger words are the card's."""
    mist = put(tmp_path, "mist", fill=1, trigger="soft mist", scale=0.4)
    rain = put(tmp_path, "rain", fill=2)
    found = resolve(shot({"rain": None, "mist": 0.8}), ONE, tmp_path)
    assert [(one.name, *one.file, one.trigger) for one in found] == [
        ("rain", rain, 1.0, None, (digest(rain),), ""),
        ("mist", mist, 0.8, None, (digest(mist),), "soft mist"),
    ]
    assert [one.sha256 for one in found] == [one.file.sha256 for one in found]
    [own] = resolve(shot({"mist": None}), ONE, tmp_path)
    assert own.file.scale == 0.4


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    """A LoRA beside the plates is hashed too, has a card if one lies beside it, and nothing is written there."""
    outside = put(tmp_path / "plates", "fog", trigger="fog")
    weights = tmp_path / "weights"
    weights.mkdir()
    before = sorted(outside.parent.iterdir())
    [found] = resolve(shot({str(outside): 0.5}), ONE, weights)
    assert (found.name, found.file.path, found.sha256, found.trigger) == (
        str(outside),
        outside,
        (digest(outside),),
        "fog",
    )
    assert sorted(outside.parent.iterdir()) == before
    outside.write_bytes(safetensors(7))
    [again] = resolve(shot({str(outside): 0.5}), ONE, weights)
    assert again.sha256 == (digest(outside),) != found.sha256


def test_hashes_are_remembered(tmp_path: Path) -> None:
    """The weights folder's cache holds the digest afterwards, so that the next plan need not read the file."""
    import os

    mist = put(tmp_path, "mist")
    os.utime(mist, (1, 1))  # one that was just written may change again unnoticed, and is not remembered
    resolve(shot({"mist": 1}), ONE, tmp_path)
    assert digest(mist) in (tmp_path / CACHE).read_text()


def test_the_low_noise_expert_has_its_own_file(tmp_path: Path) -> None:
    """A two-expert model gets both files and their digests; a model of one expert the first alone."""
    high, low = put(tmp_path, "mist", low_noise="low.safetensors"), put(tmp_path, "low", fill=9)
    [two], [one] = (resolve(shot({"mist": 1}), spec, tmp_path) for spec in (TWO, ONE))
    assert (two.file.low_noise, two.sha256) == (low, (digest(high), digest(low)))
    assert (one.file.low_noise, one.sha256) == (None, (digest(high),))


def test_the_profiles_own_comes_first(tmp_path: Path) -> None:
    """A distilled LoRA acts before the shot's, at its card's strength; a shot that names it too decides how much."""
    put(tmp_path, "lightning", scale=0.9), put(tmp_path, "mist")
    draft = replace(ONE, profile="draft", distilled="lightning")
    found = resolve(shot({"mist": 0.5}), draft, tmp_path)
    assert [(one.name, one.file.scale) for one in found] == [("lightning", 0.9), ("mist", 0.5)]
    found = resolve(shot({"mist": 0.5, "lightning": 0.7}), draft, tmp_path)
    assert [(one.name, one.file.scale) for one in found] == [("lightning", 0.7), ("mist", 0.5)]
    assert installed(tmp_path, "lightning")
    assert not installed(tmp_path, "thunder")
    assert not installed(tmp_path, "")


def test_one_that_is_switched_off_is_no_part_of_the_plan(tmp_path: Path) -> None:
    """Scale 0, from list or card, leaves nothing in the plan, not even the words; the file need not be there."""
    put(tmp_path, "mist", scale=0, trigger="mist")
    assert resolve(shot({"gone": 0.0, "mist": None}), ONE, tmp_path) == ()


def test_the_animatic_takes_none(tmp_path: Path) -> None:
    """A preview has no LoRAs, whether they are there or not."""
    preview = generator_spec(card("wan2.1-i2v-14b-720p"), engine="animatic")
    assert resolve(shot({"gone": 1}), preview, tmp_path) == ()


@pytest.mark.parametrize("fault", ["gone", "no low", "other model", "bad card", "pickle", "cut off", "link", "plates"])
def test_one_that_cannot_act_is_refused_with_the_remedy(fault: str, tmp_path: Path) -> None:
    """The error names the shot, the LoRA, what is wrong and what to do, before anything is loaded."""
    file = put(tmp_path, "mist")
    words, spec, name = {"gone": "put back"}, ONE, "mist"
    if fault == "gone":
        file.unlink()
    elif fault == "no low":
        put(tmp_path, "mist", low_noise="low.safetensors")
        words, spec = {fault: "low-noise expert"}, TWO
    elif fault == "other model":
        put(tmp_path, "mist", models=["wan2.1-vace-14b"])
        words = {fault: "wan2.1-vace-14b, not for wan2.1-i2v-14b-720p"}
    elif fault == "bad card":
        put(tmp_path, "mist", strength=2)
        words = {fault: "no such field"}
    elif fault == "pickle":
        file.write_bytes(b"PK\x03\x04" + bytes(300))
        words = {fault: "dailies weights convert"}
    elif fault == "cut off":
        file.write_bytes(safetensors()[:-1])
        words = {fault: "download it again"}
    elif fault == "link":
        file.rename(tmp_path.parent / "out.safetensors")
        file.symlink_to(tmp_path.parent / "out.safetensors")
        words = {fault: "copy the file itself"}
    else:
        outside = tmp_path.parent / f"{tmp_path.name}-plates" / "mist.safetensors"
        outside.parent.mkdir()
        outside.write_bytes(b"PK\x03\x04" + bytes(300))
        name, words = str(outside), {fault: "dailies weights convert"}
    with pytest.raises(PlanError) as caught:
        resolve(shot({name: 1}), spec, tmp_path)
    said = str(caught.value)
    assert said.startswith("AGM/SH0010: ")
    assert "mist" in said
    assert words[fault] in said
    assert ";" in said
