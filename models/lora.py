"""LoRA on a loaded model: put on and taken off between windows, the base weights untouched.

Knows: low-rank pairs in diffusers' and trainers' key names, both experts of a two-expert model. Does not know: cards,
trigger words. The change is added beside each layer (`out + scale * up(down(x))`) rather than merged into it: taking it
off restores the base bit for bit, and works on GGUF and 8-bit layers.
Memory: the pairs of the files in use, on the device.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models.interface import EngineError, EngineUnavailable, Lora


class Pair(NamedTuple):
    """What a LoRA does to one linear layer: out + strength * up(down(x)) + strength * bias."""

    down: Any
    """(rank, inputs)."""
    up: Any
    """(outputs, rank)."""
    bias: Any | None
    """(outputs,); some distilled LoRAs have one."""
    strength: float
    """alpha / rank where the file states alpha, else 1."""


class LoraSwitch:
    """The LoRAs that act on one pipeline now."""

    def __init__(self, pipe: Any, check: Callable[[Path], None]) -> None:
        self._pipe = pipe
        self._check = check
        self._now: tuple[Lora, ...] = ()
        self._hooks: list[Any] = []
        self._read: dict[Path, Mapping[str, Pair]] = {}

    def apply(self, wanted: Sequence[Lora]) -> None:
        """Make exactly these act. Raises EngineError for a file that does not fit, and then none acts."""
        acting = tuple(Lora(*lora) for lora in wanted if lora[1] != 0)
        if acting == self._now:
            return
        self._off()
        try:
            for lora in acting:
                self._put(self._pipe.transformer, lora.path, lora.scale)
                if (second := getattr(self._pipe, "transformer_2", None)) is not None:
                    self._put(second, lora.low_noise or lora.path, lora.scale)
        except BaseException:
            self._off()
            raise
        self._now = acting
        used = {path for lora in acting for path in (lora.path, lora.low_noise)}
        self._read = {path: pairs for path, pairs in self._read.items() if path in used}
        if (compiler := sys.modules.get("torch._dynamo")) is not None:
            compiler.reset()  # a compiled block does not look for new hooks

    def _off(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._now = [], ()

    def _put(self, model: Any, path: Path, scale: float) -> None:
        for name, pair in self._pairs(path).items():
            try:
                layer = model.get_submodule(name)
            except AttributeError:
                raise EngineError(f"{path} changes {name}, which this model has not; it was made for another") from None
            shape = (getattr(layer, "out_features", None), getattr(layer, "in_features", None))
            if shape != (its := (pair.up.shape[0], pair.down.shape[1])):
                raise EngineError(f"{path}: {name} is {its[0]}x{its[1]}, the model's is {shape[0]}x{shape[1]}")
            self._hooks.append(layer.register_forward_hook(_beside(pair, pair.strength * scale)))

    def _pairs(self, path: Path) -> Mapping[str, Pair]:
        """Pairs by layer. Raises EngineError for a file that is not a LoRA of linear layers."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if path in self._read:
            return self._read[path]
        if path.suffix.lower() != ".safetensors":
            raise EngineError(f"the LoRA {path} is not .safetensors; `dailies weights convert` makes it one")
        if not path.is_file():
            raise EngineUnavailable(f"the LoRA {path} does not exist; put it there, or correct the shot list")
        self._check(path)
        try:
            state = dict(self._pipe.lora_state_dict(load_file(path)))
        except (ValueError, KeyError, OSError, RuntimeError, SafetensorError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise EngineError(f"{path} is no LoRA that is understood here: {first}; export it again") from error
        state = {key.removeprefix("transformer."): value for key, value in state.items()}
        found, used = {}, set()
        for key, down in state.items():
            name = key.removesuffix(".lora_A.weight")
            if name == key:
                continue
            up = state.get(f"{name}.lora_B.weight")
            if up is None or down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
                raise EngineError(f"{path}: {name} has no pair of matrices of one rank; export it again")
            alpha = state.get(f"{name}.alpha")
            strength = float(alpha) / down.shape[0] if alpha is not None else 1.0
            found[name] = Pair(down, up, state.get(f"{name}.lora_B.bias"), strength)
            used |= {key, f"{name}.lora_B.weight", f"{name}.lora_B.bias", f"{name}.alpha"}
        if strange := sorted(set(state) - used):
            raise EngineError(
                f"{path}: {strange[0]} is no low-rank pair of a linear layer; such a LoRA is not supported"
            )
        if not found:
            raise EngineError(f"{path} holds no low-rank pairs; is it a LoRA?")
        self._read[path] = found
        return found


def _beside(pair: Pair, strength: float) -> Callable[[Any, Any, Any], Any]:
    """A forward hook that adds the pair's output; the pair moves to the layer's device once."""
    from torch.nn.functional import linear

    held: dict[tuple[Any, Any], tuple[Any, Any, Any]] = {}

    def added(layer: Any, inputs: Any, output: Any) -> Any:
        del layer
        kind = (output.device, output.dtype)
        if kind not in held:
            held.clear()
            bias = None if pair.bias is None else (pair.bias * strength).to(*kind)
            held[kind] = (pair.down.to(*kind), (pair.up * strength).to(*kind), bias)
        down, up, bias = held[kind]
        return output + linear(linear(inputs[0].to(output.dtype), down), up, bias)

    return added
