"""Loads a diffusion model from local files: a diffusers folder, or single files in place of its parts.

Knows: which class each part of a pipeline has, where parts are put (device, precision, offload).
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
from models.installed import Weights
from models.interface import EngineError, EngineUnavailable, KernelFailed, OutOfMemory
from models.memory import Rung
from models.original_names import CLIP, UMT5, encoder_names, transformer_names, vae_names
from models.single_files import agree, config_folder, empty_model, fill, kept_precise, quantised_model, read_json
from models.tensor_files import Piece, pieces
from models.weights import PICKLES

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
"""The class of each part, by pipeline: the pipelines whose conditioning models/condition_kinds.py knows."""
SCHEDULERS: Final = (
    "UniPCMultistepScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "CogVideoXDDIMScheduler",
    "CogVideoXDPMScheduler",
)
"""Schedulers whose whole state is known to be saved and restored."""


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
    def resident(self) -> str:
        """Where a part is loaded to: the device, or the processor's memory if it comes to the device for its turn."""
        return self.device if self.offload == "none" else "cpu"

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
        if ran_out(error):  # the files are not at fault
            raise
        names = ", ".join(str(path) for path in paths)
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EngineError(
            f"{what} cannot be loaded from {names}: {first}; verify the files with `dailies weights verify`"
        ) from error


@contextmanager
def computing(what: str) -> Iterator[None]:
    """Turn what the libraries raise while they compute into EngineErrors: OutOfMemory for that, with what was asked."""
    try:
        yield
    except (ValueError, RuntimeError, MemoryError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        if ran_out(error):
            raise OutOfMemory(f"{what}: out of memory ({first}); free some, or use a smaller model") from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "triton")):
            raise KernelFailed(f"{what}: the compiled model failed: {first}") from error
        raise EngineError(f"{what}: the model failed: {first}") from error


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice: the device's, its libraries' or the processor's own."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # torch's allocator for the processor and CUDA's libraries raise a plain RuntimeError
    signs = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


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
        if sees:
            parts["image_encoder"] = _encoder(
                "image_encoder", classes, weights, check, precision="float32", device=placement.resident
            )
        else:
            parts["image_encoder"] = None
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
    device = "cpu" if placement.text == "cpu" else placement.device
    encoder = _encoder("text_encoder", parts_of(card), weights, check, precision=placement.precision, device=device)
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
    cls, dtype = getattr(diffusers, name), getattr(torch, placement.precision)
    files = _part_files(weights, part, check, card, (".safetensors", ".gguf"))
    what = f"{card.name}: its {part}"
    with explained(what, files), config_folder(card, weights.folder, part, name) as config:
        found = _found(files)
        if card.pipeline.startswith("Wan"):
            found = transformer_names(found)
        if any(path.suffix.lower() == ".gguf" for path in files):
            if not hasattr(cls, "from_single_file"):
                raise EngineError(f"{card.name}: {name} is not read from GGUF; use its diffusers folder")
            return quantised_model(cls, config, part, found, dtype=dtype, device=placement.resident)
        model = empty_model(cls, cls.load_config(config, subfolder=part, local_files_only=True))
        agree(model, found, _named(files))
        stored = _stored(model, placement) if placement.fp8 else {}

        def dtype_of(key: str, empty: Any) -> Any:
            wide = torch.float32 if kept_precise(model, key) else dtype
            return stored.get(key, wide) if empty.is_floating_point() else empty.dtype

        fill(model, found, dtype_of=dtype_of, device=placement.resident)
    return model


def _stored(model: Any, placement: Placement) -> Mapping[str, Any]:
    """Hook the empty model so that its matrices are widened at each use; the types that parameters then are kept in.

    Done before loading: the model never lies on the device, or in memory, in 16 bits.
    """
    torch = _library("torch")
    model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=getattr(torch, placement.precision))
    return {key: value.dtype for key, value in model.state_dict().items() if value.dtype == torch.float8_e4m3fn}


def _vae(name: str, weights: Weights, placement: Placement, check: Check) -> Any:
    diffusers, torch = _library("diffusers"), _library("torch")
    cls = getattr(diffusers, name)
    files = _part_files(weights, "vae", check, None, (".safetensors",))
    with explained("the VAE", files):
        vae = empty_model(cls, cls.load_config(weights.folder, subfolder="vae", local_files_only=True))
        found, wanted = _found(files), set(vae.state_dict())
        if name == "AutoencoderKLWan":
            found = vae_names(found, wanted=wanted, residual_blocks=vae.config.num_res_blocks)
        agree(vae, found, _named(files))
        fill(vae, found, dtype_of=lambda key, empty: torch.float32, device=placement.resident)
    if placement.tiling:
        vae.enable_tiling()
    return vae


def _encoder(
    part: str, classes: Mapping[str, str], weights: Weights, check: Check, *, precision: str, device: str
) -> Any:
    """Text or image encoder, in either spelling of its names."""
    transformers, torch = _library("transformers"), _library("torch")
    cls, dtype = getattr(transformers, classes[part]), getattr(torch, precision)
    files = _part_files(weights, part, check, None, (".safetensors",))
    with explained(f"the {part}", files):
        config = transformers.AutoConfig.from_pretrained(weights.folder / part, local_files_only=True)
        model = empty_model(cls, getattr(config, "vision_config", config))
        found = _found(files)
        _refuse_scaled(found, _named(files))
        rules = UMT5 if part == "text_encoder" else CLIP
        found = encoder_names(found, rules, wanted=set(model.state_dict()))
        agree(model, found, _named(files))

        def dtype_of(key: str, empty: Any) -> Any:
            wide = dtype == torch.float16 and kept_precise(model, key)  # as transformers does it: for float16 alone
            return (torch.float32 if wide else dtype) if empty.is_floating_point() else empty.dtype

        fill(model, found, dtype_of=dtype_of, device=device)
    return model


def _refuse_scaled(found: Mapping[str, Piece], where: str) -> None:
    """Raise EngineError for matrices in 8 bits with factors beside them: left out, they would give noise."""
    if odd := next(
        (key for key in found if key.endswith(("scale_weight", "weight_scale")) or key == "scaled_fp8"), None
    ):
        raise EngineError(f"{where} holds scaled 8-bit matrices ({odd}), which are not read; use the fp16 or bf16 file")


def _place(pipe: Any, placement: Placement) -> None:
    """Parts lie where they stay already; those that come block by block are told so, others are moved by their user."""
    torch = _library("torch")
    if placement.offload != "group":
        return
    for expert in (pipe.transformer, getattr(pipe, "transformer_2", None)):
        if expert is not None:
            expert.enable_group_offload(
                onload_device=torch.device(placement.device),
                offload_device=torch.device("cpu"),
                offload_type="leaf_level",
                use_stream=placement.device.startswith("cuda"),
            )


def _part_files(weights: Weights, part: str, check: Check, card: Card | None, suffixes: tuple[str, ...]) -> list[Path]:
    """The checked weight files of one part: its single file, or those of its folder. Its config must lie there."""
    files = weights.files(part)
    folder = weights.folder / part
    pull = f"; `dailies weights pull {card.name}` fetches it" if card else ""
    if not files:
        pickles = [path.name for path in sorted(folder.glob("*")) if path.suffix.lower() in PICKLES]
        what = f"holds {pickles[0]} only, a pickle: `dailies weights convert` it" if pickles else "is missing or empty"
        remedy = "" if pickles else pull or "; put the safetensors files and config.json there"
        raise EngineUnavailable(f"{folder} {what}{remedy}")
    if card is None and not (folder / "config.json").is_file():  # the transformer's numbers may stand in the card
        raise EngineUnavailable(f"{folder / 'config.json'} is missing; fetch it with the model's other small files")
    for path in files:
        if path.suffix.lower() not in suffixes:
            raise EngineError(f"{path} is none of {', '.join(suffixes)}; `dailies weights convert` makes it one")
        if not path.is_file():
            raise EngineUnavailable(f"{path} does not exist{pull or '; put the file there'}")
        check(path)
    return files


def _found(files: Iterable[Path]) -> dict[str, Piece]:
    """The tensors of all files of a part. Raises EngineError for one that stands in two of them."""
    found: dict[str, Piece] = {}
    for path in files:
        for name, piece in pieces(path).items():
            if name in found:
                raise EngineError(
                    f"the tensor {name} is in {found[name].path.name} and in {path}; leave one of these variants"
                )
            found[name] = piece
    return found


def _named(files: list[Path]) -> str:
    return str(files[0] if len(files) == 1 else files[0].parent)


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
