"""LoRA on a loaded model: put on and taken off between windows, the base weights untouched.

Knows: where a change goes, both experts of a two-expert model. Does not know: cards, trigger words, how files spell
names (`lora_files`). The change is added beside each layer (`out + up(down(x))`) rather than merged into it: taking it
off restores the base bit for bit, and works on GGUF and 8-bit layers.
Memory: the pairs of the files in use, in the host's memory as read and on the device as used.

Every layer that can be changed gets one hook when the model is loaded, and the hook stays: it looks at what stands
beside its layer. So a swap changes attributes and no code, and blocks that torch.compile has compiled stay compiled:
without a LoRA, and with one of each rank, they are compiled once.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from models.interface import EngineError, EngineUnavailable, Lora
from models.lora_files import FIRST, SECOND, Changes, Pair, layer_size, read_lora
from models.weights_lock import file_sha256

_SLOT: Final = "_lora_beside"
"""Attribute of a layer that holds what is added to its output: None, or (down, up, bias) with the strength in them."""

LAYOUTS: Final = 6
"""Ways for LoRAs to lie on a block (which layers, which ranks) that compiled code is kept for. The compiler gives up at
eight versions of one block and runs it uncompiled from then on: a quiet loss of speed for the rest of the night."""


Stamp = tuple[int, int, int] | None
"""Size, time of change and inode of a file; None if it is not there."""


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


class LoraSwitch:
    """The LoRAs that act on one pipeline now."""

    def __init__(self, pipe: Any, check: Callable[[Path], None], *, device: str = "cpu", dtype: str = "") -> None:
        """`device` and `dtype` are those in which the transformer computes; `check` is called with every file before it
        is opened, and raises EngineError for one that must not be."""
        self._pipe, self._check, self._device, self._dtype = pipe, check, device, dtype
        self._now: tuple[tuple[Lora, ...], Mapping[Path, Stamp]] = ((), {})
        self._changed: list[Any] = []
        self._read: dict[Path, tuple[Stamp, Mapping[str, Changes]]] = {}
        self._layouts: set[Any] = {()}
        for part in (FIRST, SECOND):
            if (model := self._part(part)) is not None:
                for layer in model.modules():
                    _ready(layer)

    def apply(self, wanted: Sequence[Lora]) -> None:
        """Make exactly these act. Raises EngineError for a file that does not fit, and then none acts."""
        acting = tuple(Lora(*lora) for lora in wanted if lora[1] != 0)
        used = {path: _stamp(path) for lora in acting for path in (lora.path, lora.low_noise) if path is not None}
        if (acting, used) == self._now:
            return
        self._read = {path: its for path, its in self._read.items() if used.get(path, its[0]) == its[0]}
        self._off()
        try:
            for part in (FIRST, SECOND):
                if self._part(part) is not None:
                    self._put(part, acting)
        except BaseException:
            self._off()
            raise
        self._now = (acting, used)
        if acting:  # a shot without any between two that share theirs does not cost reading them again
            self._read = {path: its for path, its in self._read.items() if path in used}

    def _off(self) -> None:
        for layer in self._changed:
            setattr(layer, _SLOT, None)
        self._changed, self._now = [], ((), {})

    def _part(self, part: str) -> Any:
        return getattr(self._pipe, part, None)

    def _put(self, part: str, acting: Sequence[Lora]) -> None:
        """Put all LoRAs on one part. Several on one layer become one: it costs two multiplications, however many."""
        model = self._part(part)
        wanted: dict[str, list[tuple[Pair, float]]] = defaultdict(list)
        for lora in acting:
            for name, pair in self._changes(lora, part).items():
                wanted[name].append((pair, lora.scale))
        fresh = False
        for name, pairs in wanted.items():
            layer = model.get_submodule(name)
            fresh |= _ready(layer)
            setattr(layer, _SLOT, self._together(pairs, layer))
            self._changed.append(layer)
        self._keep_compiled(wanted, forget=fresh)

    def _changes(self, lora: Lora, part: str) -> Changes:
        """What a LoRA does to a part. Raises EngineError for a file that cannot be taken."""
        found = self._file(lora.path, *lora.sha256[:1])
        if lora.low_noise is not None and SECOND in found:
            raise EngineError(f"{lora.path} changes both experts itself; take low_noise out of its card")
        if part == SECOND and lora.low_noise is not None:
            low = self._file(lora.low_noise, *lora.sha256[1:])
            return low.get(SECOND, low[FIRST])
        # a file of one part acts on both experts; a file of both, on each as it says
        return found.get(part, found[FIRST] if SECOND not in found else {})

    def _file(self, path: Path, sha256: str = "") -> Mapping[str, Changes]:
        if path in self._read:
            return self._read[path][1]
        if path.suffix.lower() != ".safetensors":
            raise EngineError(f"the LoRA {path} is not .safetensors; `dailies weights convert` makes it one")
        if not path.is_file():
            raise EngineUnavailable(f"the LoRA {path} does not exist; put it there, or correct the shot list")
        stamp = _stamp(path)
        self._check(path)
        if sha256 and (now := file_sha256(path)) != sha256:
            raise EngineError(
                f"the LoRA {path} was {sha256} when the shot was planned and is {now} now; render the shot again"
            )
        found: Mapping[str, Changes] = {FIRST: {}, **read_lora(path, self._part)}
        if _stamp(path) != stamp:
            raise EngineError(f"the LoRA {path} changed while it was read; render the shot again")
        self._read[path] = stamp, found
        return found

    def _together(self, pairs: Sequence[tuple[Pair, float]], layer: Any) -> tuple[Any, Any, Any]:
        """Changes of one layer as one: ranks side by side, strengths in `up` and bias."""
        import torch

        outputs, inputs = layer_size(layer) or (0, ())
        downs, ups, bias = [], [], None
        for pair, scale in pairs:
            down = None if pair.down is None else pair.down.to(self._device).float()
            up = None if pair.up is None else pair.up.to(self._device).float()
            if down is not None and up is None:
                up = torch.eye(outputs, device=self._device).reshape(outputs, outputs, *[1] * (len(inputs) - 1))
            if down is not None and up is not None:
                downs.append(down)
                ups.append(up * (pair.strength * scale))
            if pair.bias is not None:
                added = pair.bias.to(self._device).float() * scale
                bias = added if bias is None else bias + added
        dtype = self._dtype_of(layer)
        if not downs:
            return None, None, None if bias is None else bias.to(dtype)
        made = (torch.cat(downs).to(dtype), torch.cat(ups, 1).to(dtype))
        return (*made, None if bias is None else bias.to(dtype))

    def _dtype_of(self, layer: Any) -> Any:
        """The type that a layer computes in: its weights', unless they are stored in fewer bits."""
        import torch

        own = getattr(getattr(layer, "weight", None), "dtype", None)
        if own in (torch.float32, torch.float16, torch.bfloat16):
            return own
        return getattr(torch, self._dtype or "float32")

    def _keep_compiled(self, wanted: Mapping[str, Sequence[tuple[Pair, float]]], *, forget: bool) -> None:
        """Throw compiled code away only where it would be wrong or the compiler would give up."""
        if (compiler := sys.modules.get("torch._dynamo")) is None:
            return
        blocks: dict[str, list[Any]] = defaultdict(list)
        for name, pairs in wanted.items():
            ranks = tuple(0 if pair.down is None else int(pair.down.shape[0]) for pair, _ in pairs)
            biased = any(pair.bias is not None for pair, _ in pairs)
            stack, _, rest = name.partition(".")
            number, _, layer = rest.partition(".")
            blocks[f"{stack}.{number}"].append((stack, layer, sum(ranks), biased))
        self._layouts |= {tuple(sorted(layout)) for layout in blocks.values()}
        if forget or len(self._layouts) > LAYOUTS:
            compiler.reset()
            self._layouts = {(), *(tuple(sorted(layout)) for layout in blocks.values())}


def _ready(layer: Any) -> bool:
    """Give a layer its hook, if it can be changed and has none; True if it had none."""
    if layer_size(layer) is None or hasattr(layer, _SLOT):
        return False
    setattr(layer, _SLOT, None)
    layer.register_forward_hook(_beside)
    return True


def _beside(layer: Any, inputs: Any, output: Any) -> Any:
    """The forward hook: the layer's output with what stands beside the layer added."""
    added = getattr(layer, _SLOT)
    if added is None:
        return None
    from torch.nn.functional import conv3d, linear

    # no copies where device and type agree, as they do unless a part is stored in a form of its own
    kind: Any = (output.device, output.dtype)
    down, up, bias = (None if value is None else value.to(*kind) for value in added)
    if down is None or up is None:
        return output + bias.reshape((-1, 1, 1, 1) if output.ndim == 5 else (-1,))  # type: ignore[union-attr]
    given = inputs[0].to(output.dtype)
    if down.ndim == 2:
        return output + linear(linear(given, down), up, bias)
    return output + conv3d(conv3d(given, down, None, layer.stride, layer.padding, layer.dilation), up, bias)
