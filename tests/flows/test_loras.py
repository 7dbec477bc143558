"""LoRAs from the shot list to deliverables: on tiny instances of the true architectures, through the command line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from rendering import House, pictures
from tiny_house import install


def put(house: House, name: str, *, seed: int = 1, model: str = "tiny", **card: object) -> Path:
    """A LoRA for an installed tiny model, in its folder, with a card if fields are given."""
    file = house.home / "weights" / "loras" / f"{name}.safetensors"
    file.parent.mkdir(exist_ok=True)
    tiny_models.lora_file(house.home / "weights" / model, file, seed=seed)
    if card:
        file.with_suffix(".toml").write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in card.items()))
    return file


def shot(**changes: str) -> dict[str, str]:
    """A shot of nine frames for the tiny model."""
    return {
        "shot": "SH0010",
        "model": "tiny",
        "prompt": "a slow move over the sea at dawn",
        "resolution": "64x32",
        "frames": "9",
        "fps": "16",
        "deliveries": "h264",
        **changes,
    }


def sha256(path: Path) -> str:
    """Digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifests(house: House, *words: str) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Manifest and digests of decoded frames of everything that is ready, rendered."""
    found = []
    for report in house.json("render", *words)["shots"]:
        assert report["status"] == "review", report["error"]
        path = Path(report["manifest"])
        found.append((json.loads(path.read_text()), pictures(path.parent)))
    return found


@pytest.fixture
def tiny(house: House) -> House:
    """A house in which a tiny Wan2.1 I2V is installed as the model `tiny`."""
    install(house.home / "weights", "wan2.1-i2v", "wan2.1-i2v-14b-720p")
    return house


def test_a_lora_changes_the_shot_that_names_it_and_no_other(tiny: House) -> None:
    """Of three shots that are alike but for their LoRAs, each has pixels of its own; the manifest says why."""
    mist = put(tiny, "mist", trigger="grey noise", models=["tiny"])
    alike = {"seed": "7"}
    tiny.submit(
        shot(**alike),
        shot(shot="SH0020", loras="mist:0.8", **alike),
        shot(shot="SH0030", loras='"loras/mist.safetensors":0.4', **alike),
        shot(shot="SH0040", loras="mist:0", **alike),
    )
    (plain, base), (named, some), (pathed, less), (_, none) = manifests(tiny)
    digests = [next(iter(its.values())) for its in (base, some, less, none)]
    assert digests[0] == digests[3]
    assert len(set(digests[:3])) == 3
    assert plain["engine"]["loras"] == []
    assert named["engine"]["loras"] == [
        {"name": "mist", "path": str(mist), "sha256": [sha256(mist)], "scale": 0.8, "trigger": "grey noise"}
    ]
    assert plain["plan"]["prompt"] == "a slow move over the sea at dawn. The camera slowly pushes in"
    assert named["plan"]["prompt"].endswith("grey noise")
    assert named["plan"]["prompt"] != plain["plan"]["prompt"]
    assert [(one["name"], one["scale"]) for one in pathed["plan"]["loras"]] == [(str(mist.resolve()), 0.4)]
    assert [entry["scale"] for entry in named["shot"]["loras"]] == [0.8]


def test_one_beside_the_plates_leaves_nothing_there(tiny: House) -> None:
    """A LoRA that is named by a path beside the plates acts, and the plates' folder stays as it was."""
    fog = tiny_models.lora_file(
        tiny.home / "weights" / "tiny", tiny.plate.parent / f"{tiny.folder.name}-fog.safetensors"
    )
    tiny.submit(shot(loras=f"{fog.name}:0.5"))
    before = sorted(tiny.plate.parent.iterdir())
    [(manifest, _)] = manifests(tiny)
    assert manifest["engine"]["loras"][0]["path"] == str(fog.resolve())
    assert manifest["engine"]["loras"][0]["sha256"] == [sha256(fog)]
    assert [path.name for path in sorted(tiny.plate.parent.iterdir()) if path not in before] == []


def test_another_strength_is_another_take(tiny: House) -> None:
    """Changing the scale in the list, or the file itself, renders anew; sending the same list again does not."""
    file = put(tiny, "mist", scale=0.5)
    tiny.submit(shot(loras="mist"))
    [(first, before)] = manifests(tiny)
    assert first["engine"]["loras"][0]["scale"] == 0.5
    assert tiny.submit(shot(loras="mist"), mode="update")["unchanged"] == 1
    assert tiny.json("render")["shots"] == []
    assert tiny.submit(shot(loras="mist:0.9"), mode="update")["changed"] == 1
    [(second, after)] = manifests(tiny)
    assert second["slate"] == "AGM_SQ010_SH0010_v002"
    assert set(before.values()) != set(after.values())
    for path in tiny.home.glob("weights/weights.lock.json"):
        path.unlink()  # the file is meant to be another one from here on
    tiny_models.lora_file(tiny.home / "weights" / "tiny", file, seed=2)
    [(third, anew)] = manifests(tiny, "SH0010")
    assert third["engine"]["loras"][0]["sha256"] == [sha256(file)] != second["engine"]["loras"][0]["sha256"]
    assert set(anew.values()) != set(after.values())


def test_both_experts_get_their_own_file(house: House) -> None:
    """On a model of two experts the card's low-noise file acts on the second: other pixels than one file on both."""
    install(house.home / "weights", "wan2.2-i2v-a14b", "wan2.2-i2v-a14b")
    low = put(house, "rain-low", seed=2)
    high = put(house, "rain", low_noise="rain-low.safetensors")
    both = put(house, "both")
    alike = {"seed": "7"}
    house.submit(shot(loras="rain:1", **alike), shot(shot="SH0020", loras="both:1", **alike))
    (apart, one), (_, other) = manifests(house)
    assert high.read_bytes() == both.read_bytes()
    assert apart["engine"]["loras"][0]["sha256"] == [sha256(high), sha256(low)]
    assert set(one.values()) != set(other.values())


def test_a_list_is_refused_for_its_loras_at_once(tiny: House) -> None:
    """Names, files and models that cannot be are said at submission, all together, and nothing is taken in."""
    put(tiny, "mist"), put(tiny, "rain", models=["wan2.1-vace-1.3b"])
    path = tiny.folder / "list.csv"
    path.write_text(
        "shot,model,plate,prompt,frames,loras\n"
        f"S1,tiny,{tiny.plate},sea,9,mits\n"
        f"S2,tiny,{tiny.plate},sea,9,rain:1 fog.pt\n"
        f"S3,tiny,{tiny.plate},sea,9,/etc/x.safetensors mist:99\n"
    )
    errors = tiny.json("submit", str(path), code=2, DAILIES_PLATES=str(tiny.plate.parent))["errors"]
    assert [(error["line"], error["code"]) for error in errors] == [
        (2, "E603"),
        (3, "E609"),
        (3, "E605"),
        (4, "E606"),
        (4, "E602"),
    ]
    assert "did you mean mist?" in errors[0]["remedy"]
    assert tiny.json("shots")["shots"] == []


def test_one_that_went_missing_fails_its_shot_alone(tiny: House) -> None:
    """A LoRA that is gone when its shot is planned fails that shot with the remedy; the others are rendered."""
    file = put(tiny, "mist")
    tiny.submit(shot(loras="mist"), shot(shot="SH0020"))
    file.unlink()
    missing, made = tiny.json("render", code=1)["shots"]
    assert "the LoRA mist is not there; put back" in missing["error"]
    assert made["status"] == "review"


def test_a_preview_keeps_the_loras_for_the_real_thing(tiny: House) -> None:
    """With DAILIES_ENGINE=animatic the list keeps its LoRAs and the preview has none."""
    put(tiny, "mist")
    path = tiny.plate.parent / f"{tiny.folder.name}-list.csv"
    path.write_text(f"show,shot,model,plate,prompt,frames,loras\nAGM,S1,tiny,{tiny.plate},sea,9,mist:0.5\n")
    answer = tiny.json("submit", str(path), DAILIES_ENGINE="animatic")
    assert answer["warnings"] == []
    assert tiny.json("shots")["shots"][0]["loras"] == [{"name": "mist", "scale": 0.5}]
    [report] = tiny.json("render", DAILIES_ENGINE="animatic")["shots"]
    assert json.loads(Path(report["manifest"]).read_text())["engine"].get("loras", []) == []
