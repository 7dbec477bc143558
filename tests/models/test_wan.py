"""Claims about the diffusion engine: every model renders, as diffusers itself would, at full depth, or is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from tiny_engines import HEIGHT, WIDTH, asked, same, tiny_engine, tiny_folder

from models.diffusion import Placement
from models.interface import BadPicture, ClipRequest, EngineError, Frame, OutOfMemory
from models.pixels import judged, video_tensor
from models.plate import read_plate

MODELS = list(tiny_models.ARCHITECTURES)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_renders_as_diffusers_would(name: str, window: ClipRequest) -> None:
    """A tiny instance of each architecture gives the frames of diffusers' own pipeline, to 4 of 65535 levels."""
    engine, request = tiny_engine(name), asked(name, window)
    made = list(engine.generate(request, []))
    assert len(made) == 9
    assert {(frame.shape, frame.dtype.name) for frame in made} == {((HEIGHT, WIDTH, 3), "uint16")}
    assert all(frame.std() > 1000 for frame in made)
    expected = stock_frames(name, engine, request)
    difference = np.abs(np.stack(made).astype(int) - expected)
    assert difference.max() <= 4


def stock_frames(name: str, engine: Any, request: ClipRequest) -> Any:
    """(frames, height, width, 3) levels by the stock pipeline, given the same embeddings and pictures."""
    import diffusers
    import torch

    pipe = getattr(diffusers, tiny_models.ARCHITECTURES[name][0]).from_pretrained(
        tiny_folder(name), local_files_only=True, text_encoder=None, tokenizer=None
    )
    pipe.set_progress_bar_config(disable=True)
    words = engine.encode_prompts([request.prompt, request.negative_prompt])
    given: dict[str, Any] = {"prompt_embeds": words[0], "negative_prompt_embeds": words[1]}
    plate = torch.from_numpy(read_plate(request.plate).astype(np.float32) / 65535) if request.plate else None
    if plate is not None:
        plate = plate.permute(2, 0, 1)[None]
    if name == "wan2.1-vace":
        assert plate is not None
        video, mask = torch.full((1, 9, 3, HEIGHT, WIDTH), 0.5), torch.ones(1, 9, 3, HEIGHT, WIDTH)
        for at in (0, 8):
            video[0, at], mask[0, at] = plate[0], 0.0
        given |= {"video": video, "mask": mask}
    elif plate is not None:
        given["image"] = plate
        given |= {"last_image": plate} if request.end_plate else {}
        if "image" in (kept := next(iter(engine._conditions.values()), {})):
            pipe.encode_image = lambda *_: kept["image"]  # its own goes through 8 bits
    if name == "cogvideox-i2v":
        given["use_dynamic_cfg"] = False
    output = pipe(
        **given,
        height=HEIGHT,
        width=WIDTH,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        output_type="pt",
    ).frames
    return np.rint(output[0].permute(0, 2, 3, 1).double().numpy() * 65535).astype(int)


@pytest.mark.parametrize(("name", "count"), [("wan2.1-i2v", 1), ("wan2.1-vace", 5), ("wan2.2-ti2v-5b", 5)])
def test_context_is_pinned_and_conditions_the_rest(name: str, count: int, window: ClipRequest) -> None:
    """The first frames are the context bit for bit, and other context gives other frames after it."""
    engine = tiny_engine(name)
    before = list(engine.generate(window, []))
    after = list(engine.generate(window, before[-count:]))
    other = list(engine.generate(window, [frame[::-1].copy() for frame in before[-count:]]))
    assert same(after[:count], before[-count:])
    assert not any(np.array_equal(a, b) for a, b in zip(after[count:], other[count:], strict=True))
    assert len(after) == 9


def test_a_window_that_need_not_arrive_yet(window: ClipRequest) -> None:
    """A first-and-last-frame model also makes the windows of a long shot before its last."""
    assert len(list(tiny_engine("wan2.1-flf2v").generate(window, []))) == 9


def test_the_end_plate_is_seen(window: ClipRequest) -> None:
    """The same window with and without an end plate differs."""
    engine = tiny_engine("wan2.1-fun-inp")
    assert not same(list(engine.generate(window, [])), list(engine.generate(asked("wan2.1-fun-inp", window), [])))


def test_a_plate_free_shot_of_the_small_model(window: ClipRequest) -> None:
    """TI2V 5B makes a shot without a plate where its card allows it."""
    engine = tiny_engine("wan2.2-ti2v-5b", changes={"needs_plate": False})
    assert len(list(engine.generate(replace(window, plate=None), []))) == 9


@pytest.mark.parametrize("continued", [False, True], ids=["plate", "context"])
def test_pictures_enter_the_model_at_full_depth(continued: bool, window: ClipRequest) -> None:
    """What the VAE encodes has more than 256 levels: no picture passes through 8 bits."""
    engine = tiny_engine("wan2.1-i2v")
    engine.load()
    seen: list[Any] = []
    encode = engine._pipe.vae.encode
    engine._pipe.vae.encode = lambda video: seen.append(video) or encode(video)  # type: ignore[func-returns-value]
    plate = read_plate(window.plate) if window.plate else None
    list(engine.generate(window, [plate] if continued else []))
    assert len(seen[0][0, :, 0].unique()) > 2000


def test_frames_leave_the_model_at_full_depth(window: ClipRequest) -> None:
    """A frame has thousands of levels, and they are not those of 8 bits widened to 16."""
    frame = list(tiny_engine("wan2.1-t2v").generate(asked("wan2.1-t2v", window), []))[3]
    assert len(np.unique(frame)) > 2000
    assert np.count_nonzero(frame % 257) > frame.size / 2


def test_sixteen_bits_survive_the_way_into_the_model_and_back() -> None:
    """Every one of the 65536 levels comes back as it was."""
    from models.pixels import frames_of

    ramp = np.repeat(np.arange(65536, dtype=np.uint16).reshape(256, 256, 1), 3, axis=2)
    assert same(list(frames_of(judged(video_tensor([ramp])), 0)), [ramp])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 8}, r"4n\+1 frames, up to 81; 8"),
        ({"frames": 85}, r"4n\+1 frames, up to 81; 85"),
        ({"width": 72}, r"steps of 32; 72x32"),
        ({"plate": None}, r"give the shot a plate"),
        ({"end_plate": Path("end.png")}, r"cannot arrive at an end plate"),
        ({"prompt": " "}, r"needs a prompt"),
        ({"steps": -1}, r"-1 steps"),
    ],
    ids=["rounding", "long", "size", "plate", "end plate", "prompt", "steps"],
)
def test_what_the_card_forbids_is_refused_before_anything_is_loaded(
    change: dict[str, Any], message: str, window: ClipRequest
) -> None:
    """diffusers would round or ignore these; the engine says what the model can do."""
    engine = tiny_engine("wan2.1-i2v", check=lambda _: pytest.fail("a file was opened"))
    with pytest.raises(EngineError, match=message):
        engine.generate(replace(window, **change), [])


def test_learned_positions_mean_one_size(window: ClipRequest) -> None:
    """CogVideoX 5B I2V knows the places of one picture size: another is refused with the sizes there are."""
    with pytest.raises(EngineError, match=r"64x32 only; 96x64"):
        tiny_engine("cogvideox-i2v").generate(replace(window, width=96, height=64), [])


def test_what_the_image_encoder_sees_reaches_the_picture(window: ClipRequest) -> None:
    """Other weights for the keys of the still give other frames: its stream of the cross-attention is not empty."""
    import torch

    engine = tiny_engine("wan2.1-i2v")
    before = list(engine.generate(window, []))
    with torch.no_grad():
        for name, weight in engine._pipe.transformer.named_parameters():
            if "add_k_proj.weight" in name:
                weight.mul_(-3.0)
    assert not same(before, list(engine.generate(window, [])))


def test_running_out_of_memory_is_told_apart(window: ClipRequest) -> None:
    """The caller can take the next rung: the error has a class of its own."""
    import torch

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate 20 GiB")

    engine = tiny_engine("wan2.1-i2v")
    engine.load()
    engine._pipe.transformer.forward = full
    with pytest.raises(OutOfMemory, match="20 GiB"):
        list(engine.generate(window, []))


def test_running_out_of_memory_while_loading_is_no_fault_of_the_files(
    window: ClipRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told apart there too, on the device and on the processor, so that a thriftier way is tried."""
    import torch

    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ):

        def full(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        monkeypatch.setattr("models.diffusion.fill", full)
        with pytest.raises(OutOfMemory, match="memory"):
            list(tiny_engine("wan2.1-i2v").generate(window, []))


@pytest.mark.parametrize(("name", "count"), [("wan2.1-i2v", 9), ("cogvideox-i2v", 2), ("wan2.1-t2v", 1)])
def test_more_context_than_the_model_takes_is_refused(name: str, count: int, window: ClipRequest) -> None:
    """The error names both numbers."""
    context: list[Frame] = [np.zeros((HEIGHT, WIDTH, 3), np.uint16)] * count
    with pytest.raises(EngineError, match=rf"at most \d frames.*{count} were given"):
        tiny_engine(name).generate(asked(name, window), context)


@pytest.mark.parametrize(
    ("fault", "message"),
    [("nan", r"not finite in 1 of 5 frames, first in frame 2"), ("flat", r"constant"), ("still", r"5 times the same")],
)
def test_a_faulty_picture_is_named(fault: str, message: str) -> None:
    """Values that are not finite, one colour, or one frame for all: each is told apart."""
    import torch

    video = torch.rand(1, 3, 5, 8, 8) * 2 - 1
    if fault == "nan":
        video[0, 0, 2, 1, 1] = float("nan")
    elif fault == "flat":
        video[:] = torch.linspace(-1, 1, 5).view(1, 1, 5, 1, 1)
    else:
        video[:] = video[:, :, :1].clone()
    with pytest.raises(BadPicture, match=message):
        judged(video)


def test_a_black_window_never_leaves_the_engine(window: ClipRequest, tmp_path: Path) -> None:
    """The error comes before the first frame, and the checkpoint that would only repeat it is gone."""
    engine = tiny_engine("wan2.1-i2v")
    engine.load()
    decode = engine._pipe.vae.decode
    engine._pipe.vae.decode = lambda *given, **named: (decode(*given, **named)[0] * 0,)
    with pytest.raises(BadPicture, match="constant"):
        next(engine.generate(replace(window, state=tmp_path), []))
    assert list(tmp_path.iterdir()) == []


def test_one_load_and_the_same_pixels_again(window: ClipRequest) -> None:
    """Two windows open every file once; an engine made anew gives the same frames and has the same version."""
    opened: list[Path] = []
    engine = tiny_engine("wan2.1-i2v", check=opened.append)
    first, second = list(engine.generate(window, [])), list(engine.generate(window, []))
    assert len(opened) == len(set(opened)) == 4
    again = tiny_engine("wan2.1-i2v")
    assert same(first, second)
    assert same(first, list(again.generate(window, [])))
    assert engine.version == again.version != tiny_engine("wan2.1-t2v").version
    assert not same(first, list(again.generate(replace(window, seed=2), [])))


PLACEMENTS = [
    Placement(dtype="bfloat16"),
    Placement(tiling=True),
    Placement(fp8=True, dtype="bfloat16"),
    Placement(offload="model"),
]


@pytest.mark.parametrize("placement", PLACEMENTS, ids=["bfloat16", "tiles", "fp8", "offload"])
def test_other_placements_render(placement: Placement, window: ClipRequest) -> None:
    """VAE tiles, 8-bit storage and taking turns on the device go through the same engine."""
    assert len(list(tiny_engine("wan2.2-i2v-a14b", placement=placement).generate(window, []))) == 9
