"""Loads a diffusion model from local files: a diffusers folder, a single-file transformer, a GGUF transformer.

Knows: which class each part of a pipeline has, original key names, where parts are put (device, precision, offload).
Does not know: requests, frames, the denoising loop. Nothing is fetched, nothing is guessed: the architecture's numbers
come from the card, or from the folder's own config. Every weight file passes the caller's check before it is opened.
Memory: the parts as placed, and while loading one tensor beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.cards import Card
from models.interface import EngineError, EngineUnavailable, OutOfMemory
from models.memory import Rung
from models.original_names import CLIP, UMT5, renamed
from models.single_files import config_folder, empty_model, keep_precise, read_json, same_numbers, single_state

Check = Callable[[Path], None]
"""Called with every weight file before it is opened; raises EngineError for one that must not be."""

PARTS: Final[Mapping[str, Mapping[str, str]]] = {
    "WanImageToVideoPipeline": {
        "transformer": "WanTransformer3DModel",
        "vae": "AutoencoderKLWan",
        "text_encoder": "UMT5EncoderModel",
        "image_encoder": "CLIPVisionModel",
    },
    "WanPipeline": {
        "transformer": "WanTransformer3DModel",
        "vae": "AutoencoderKLWan",
        "text_encoder": "UMT5EncoderModel",
    },
    "WanVACEPipeline": {
        "transformer": "WanVACETransformer3DModel",
        "vae": "AutoencoderKLWan",
        "text_encoder": "UMT5EncoderModel",
    },
    "CogVideoXImageToVideoPipeline": {
        "transformer": "CogVideoXTransformer3DModel",
        "vae": "AutoencoderKLCogVideoX",
        "text_encoder": "T5EncoderModel",
    },
}
"""The class of each part, by pipeline: the pipelines whose conditioning models/conditions.py knows."""
SCHEDULERS: Final = (
    "UniPCMultistepScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "CogVideoXDDIMScheduler",
    "CogVideoXDPMScheduler",
)
"""Schedulers whose whole state is known to be saved and restored."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's files lie on this machine."""

    folder: Path
    """A whole diffusers folder, or the companion of a single-file transformer (VAE, encoders, tokenizer)."""
    transformer: Path | None = None
    """Single file (.safetensors or .gguf) used instead of the folder's transformer; the first expert of two."""
    transformer_2: Path | None = None
    """Likewise for the low-noise expert."""
    vae: Path | None = None
    """Single .safetensors used instead of the folder's VAE; its config stays in the folder."""
    text_encoder: Path | None = None
    """Likewise, in the names of transformers or of Wan's own code."""
    image_encoder: Path | None = None
    """Likewise."""

    def single(self, part: str) -> Path | None:
        """The single file that takes the place of a part of the folder."""
        found: Path | None = getattr(self, part, None)
        return found

    def files(self, *parts: str) -> list[Path]:
        """The weight files of the parts, in order; of all parts if none is named. Parts that are absent have none."""
        named = parts or ("transformer", "transformer_2", "vae", "text_encoder", "image_encoder")
        found = []
        for part in named:
            single = self.single(part)
            found += [single] if single else sorted((self.folder / part).glob("*.safetensors"))
        return found


@dataclass(frozen=True, slots=True)
class Placement:
    """How a model is put on this machine. Decided before loading, by whoever knows its memory."""

    device: str = "cpu"
    """`cpu`, `cuda`, `cuda:1` ..."""
    dtype: str = ""
    """Of the transformer and text encoder: `bfloat16`, `float16`, `float32`; empty: float32 on the CPU, else bfloat16.
    VAE and image encoder are always float32: VAE rounding adds up over a chain of windows."""
    offload: str = "none"
    """`none`: all on the device. `model`: one part at a time. `group`: the transformer block by block."""
    fp8: bool = False
    """Whether the transformer's matrices are stored in 8 bits and widened at each use."""
    tiling: bool = False
    """Whether the VAE works in tiles."""
    text: str = "dropped"
    """Where prompts are encoded: `cpu`, else on the device. The encoder never stays."""

    @classmethod
    def of(cls, rung: Rung, device: str) -> Placement:
        """A rung of the memory ladder on this device. A GGUF file needs nothing said: it is what it is."""
        return cls(device, rung.dtype, rung.offload, rung.fp8, rung.tiling, rung.text)

    @property
    def precision(self) -> str:
        """`dtype`, or its default for the device."""
        return self.dtype or ("float32" if self.device == "cpu" else "bfloat16")


def parts_of(card: Card) -> Mapping[str, str]:
    """The classes of the card's pipeline. Raises EngineError for a pipeline that this engine does not know."""
    if card.pipeline not in PARTS:
        raise EngineError(
            f"{card.name}: the pipeline {card.pipeline or '(none)'!r} is not one of {', '.join(PARTS)}; "
            "correct the card, or choose another model"
        )
    return PARTS[card.pipeline]


@contextmanager
def explained(what: str, paths: Iterable[Path]) -> Iterator[None]:
    """Turn what the libraries raise on bad files into an EngineError that names the files."""
    try:
        yield
    except EngineError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        names = ", ".join(str(path) for path in paths)
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EngineError(
            f"{what} cannot be loaded from {names}: {first}; verify the files with `dailies weights verify`"
        ) from error


@contextmanager
def computing(what: str) -> Iterator[None]:
    """Turn what the libraries raise while they compute into EngineErrors: OutOfMemory for that, with what was asked."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        first = str(error).strip().splitlines()[0]
        raise OutOfMemory(f"{what}: the device is out of memory ({first}); use a placement that needs less") from error
    except (ValueError, RuntimeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EngineError(f"{what}: the model failed: {first}") from error


def load_pipeline(card: Card, weights: Weights, placement: Placement, check: Check) -> Any:
    """The diffusers pipeline without its text encoder, placed. Raises EngineUnavailable for what is missing.

    The image encoder is loaded only for a transformer that looks at it.
    """
    _library("transformers")  # first, so that it is quiet when diffusers imports it
    diffusers = _library("diffusers")
    classes = parts_of(card)
    index = read_json(weights.folder / "model_index.json")
    boundary = card.boundary or index.get("boundary_ratio")
    parts: dict[str, Any] = {"tokenizer": None, "text_encoder": None, "scheduler": scheduler(card, weights)}
    parts["transformer"] = _transformer(card, weights, placement, check, part="transformer")
    if boundary:
        parts |= {"boundary_ratio": float(boundary)}
        parts["transformer_2"] = _transformer(card, weights, placement, check, part="transformer_2")
    elif weights.files("transformer_2"):
        raise EngineError(f"{card.name}: two experts and no boundary between them; state `boundary` in the card")
    parts["vae"] = _vae(classes["vae"], weights, placement, check)
    if "image_encoder" in classes:
        numbers = parts["transformer"].config
        sees = numbers.get("image_dim") is not None
        parts["image_encoder"] = _encoder("image_encoder", classes, weights, check, "float32") if sees else None
        # Without channels for mask and condition, the first frame can only be given by expanded timesteps.
        parts["expand_timesteps"] = numbers["in_channels"] == parts["vae"].config["z_dim"]
    elif index.get("expand_timesteps"):
        parts["expand_timesteps"] = True
    pipe = getattr(diffusers, card.pipeline)(**parts)
    _place(pipe, placement)
    return pipe


def load_text_encoder(card: Card, weights: Weights, placement: Placement, check: Check) -> tuple[Any, Any]:
    """Tokenizer, and text encoder on the device. Raises EngineUnavailable for what is missing."""
    transformers = _library("transformers")
    folder = weights.folder / "tokenizer"
    if not folder.is_dir():
        raise EngineUnavailable(f"{card.name}: {folder} is missing; `dailies weights pull {card.name}` fetches it")
    encoder = _encoder("text_encoder", parts_of(card), weights, check, placement.precision)
    encoder = encoder.to("cpu" if placement.text == "cpu" else placement.device)
    with explained("the tokenizer", [folder]):
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True), encoder


def scheduler(card: Card, weights: Weights) -> Any:
    """The folder's scheduler with the card's shift; for Wan without one, UniPC as its authors publish it."""
    diffusers = _library("diffusers")
    path = weights.folder / "scheduler" / "scheduler_config.json"
    config, shift = read_json(path), card.shift
    if not config:
        if not shift or not card.pipeline.startswith("Wan"):
            raise EngineUnavailable(f"{card.name}: {path} is missing; `dailies weights pull {card.name}` fetches it")
        return diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=float(shift)
        )
    name = str(config.get("_class_name"))
    if name not in SCHEDULERS:
        raise EngineError(f"{path}: the scheduler {name!r} is not one of {', '.join(SCHEDULERS)}; use one of them")
    if shift and (field := next((key for key in ("flow_shift", "shift") if key in config), None)):
        config[field] = float(shift)
    with explained("the scheduler", [path]):
        return getattr(diffusers, name).from_config(config)


def _transformer(card: Card, weights: Weights, placement: Placement, check: Check, *, part: str) -> Any:
    diffusers, torch = _library("diffusers"), _library("torch")
    name = parts_of(card)["transformer"]
    cls = getattr(diffusers, name)
    dtype = getattr(torch, placement.precision)
    single = weights.single(part)
    direct = placement.device if placement.offload == "none" else "cpu"
    if single is None:
        files = _folder_files(weights.folder / part, card, check)
        with explained(f"{card.name}: its {part}", files):
            same_numbers(card, weights.folder / part / "config.json")
            return cls.from_pretrained(
                weights.folder / part,
                local_files_only=True,
                use_safetensors=True,
                torch_dtype=dtype,
                low_cpu_mem_usage=True,
                device_map=None if direct == "cpu" else {"": direct},
            ).eval()
    if not hasattr(cls, "from_single_file"):
        raise EngineError(f"{card.name}: {name} is not read from a single file; use its diffusers folder")
    _check_file(single, card, check, (".safetensors", ".gguf"))
    with explained(f"{card.name}: its {part}", [single]), config_folder(card, weights.folder, part, name) as config:
        state = single_state(single)
        empty = empty_model(cls, config, part, state, single)
        quantised = {}
        if single.suffix.lower() == ".gguf":
            quantised = {"quantization_config": diffusers.GGUFQuantizationConfig(compute_dtype=dtype)}
        model = cls.from_single_file(
            dict(state),
            config=str(config),
            subfolder=part,
            torch_dtype=dtype,
            device=direct,
            local_files_only=True,
            **quantised,
        )
        keep_precise(model, empty, state, quantised=bool(quantised))
    return model.eval()


def _vae(name: str, weights: Weights, placement: Placement, check: Check) -> Any:
    diffusers, torch = _library("diffusers"), _library("torch")
    cls, folder = getattr(diffusers, name), weights.folder
    if weights.vae is not None:
        _check_file(weights.vae, None, check, (".safetensors",))
        with explained("the VAE", [weights.vae]):
            vae = cls.from_single_file(
                str(weights.vae), config=str(folder), subfolder="vae", torch_dtype=torch.float32, local_files_only=True
            )
    else:
        files = _folder_files(folder / "vae", None, check)
        with explained("the VAE", files):
            vae = cls.from_pretrained(
                folder / "vae", local_files_only=True, use_safetensors=True, torch_dtype=torch.float32
            )
    if placement.tiling:
        vae.enable_tiling()
    return vae.eval()


def _encoder(part: str, classes: Mapping[str, str], weights: Weights, check: Check, precision: str) -> Any:
    """Text or image encoder: from the folder, or from a single file in either spelling of its names."""
    transformers, torch = _library("transformers"), _library("torch")
    cls, folder, dtype = getattr(transformers, classes[part]), weights.folder / part, getattr(torch, precision)
    single = weights.single(part)
    if single is None:
        files = _folder_files(folder, None, check)
        with explained(f"the {part}", files):
            return cls.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=dtype).eval()
    _check_file(single, None, check, (".safetensors",))
    from safetensors.torch import load_file

    with explained(f"the {part}", [single]):
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        model = cls(getattr(config, "vision_config", config)).to(dtype)
        state = renamed(load_file(single), UMT5 if part == "text_encoder" else CLIP, wanted=set(model.state_dict()))
        model.load_state_dict({key: value.to(dtype) for key, value in state.items()}, strict=True)
    return model.eval()


def _place(pipe: Any, placement: Placement) -> None:
    """Put the parts where they stay; those that move are moved by their user."""
    torch = _library("torch")
    experts = [part for part in (pipe.transformer, getattr(pipe, "transformer_2", None)) if part is not None]
    for expert in experts:
        if placement.fp8:
            expert.enable_layerwise_casting(
                storage_dtype=torch.float8_e4m3fn, compute_dtype=getattr(torch, placement.precision)
            )
        if placement.offload == "group":
            expert.enable_group_offload(
                onload_device=torch.device(placement.device),
                offload_device=torch.device("cpu"),
                offload_type="leaf_level",
                use_stream=placement.device.startswith("cuda"),
            )
        elif placement.offload == "none":
            expert.to(placement.device)
    if placement.offload == "none":
        for part in (pipe.vae, getattr(pipe, "image_encoder", None)):
            if part is not None:
                part.to(placement.device)


def _folder_files(folder: Path, card: Card | None, check: Check) -> list[Path]:
    """The checked weight files of one part of a diffusers folder."""
    files = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not files:
        pickles = [path.name for suffix in ("bin", "pt", "pth", "ckpt") for path in folder.glob(f"*.{suffix}")]
        what = f"holds {pickles[0]} only, a pickle: `dailies weights convert` it" if pickles else "is missing or empty"
        pull = f"; `dailies weights pull {card.name}` fetches it" if card and not pickles else ""
        raise EngineUnavailable(f"{folder} {what}{pull or '; put the safetensors files and config.json there'}")
    for path in files:
        check(path)
    return files


def _check_file(path: Path, card: Card | None, check: Check, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        raise EngineError(f"{path} is none of {', '.join(suffixes)}; `dailies weights convert` makes it one")
    if not path.is_file():
        raise EngineUnavailable(f"{path} does not exist; put {card.name if card else 'the file'} there")
    check(path)


def _library(name: str) -> Any:
    """torch, diffusers or transformers. Raises EngineUnavailable where it is not installed."""
    import importlib

    try:
        library = importlib.import_module(name)
        if name != "torch":  # their bars would stand in the operator's terminal and in logs
            importlib.import_module(f"{name}.utils.logging").disable_progress_bar()
        if name == "transformers":  # warns at import that a picture processor of which we use nothing is a slow one
            importlib.import_module("transformers.utils.logging").set_verbosity_error()
        return library
    except ImportError as error:
        raise EngineUnavailable(
            f"{name} is not installed here; install the GPU set: pip install 'dailies[gpu]'"
        ) from error
