"""Linear layers that multiply 8-bit floats: half the weights, and twice the speed where the device has the units.

Knows: e4m3, scales, which layers of a transformer's blocks are large. Does not know: cards, devices, whether it pays.
Memory: weights of one byte an element and four bytes a channel; at work the input once more in 8 and once in 16 bits.

An e4m3 number has 3 bits of mantissa, so rounding to it moves a value by at most 1 part in 16. Scales keep values
within its range: one per output channel for the weights, one per row (token) for the input, found anew at each call.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

LARGEST: Final = 448.0
"""Greatest number of e4m3 (float8_e4m3fn); what is above 464 would become NaN."""
MULTIPLE: Final = 16
"""Both sides of a matrix must be multiples of this: torch._scaled_mm."""
LARGE: Final = ("attn", "ff")
"""Beginnings of the names, within a block, of the layers that do the work. Embeddings, norms and the head stay."""


def use_fp8(model: Any) -> int:
    """Replace the large linear layers of the repeated blocks, where they lie; returns how many.

    A layer is left alone if its sides do not fit or if its weights are already stored otherwise (GGUF, 8-bit casting).
    The 16-bit weights are gone afterwards. Names stay, so LoRAs find their layers.
    """
    import torch

    made = 0
    for block in repeated_blocks(model):
        names = [name for name, layer in block.named_modules() if type(layer) is torch.nn.Linear]
        for name in names:
            layer = block.get_submodule(name)
            if not name.startswith(LARGE) or layer.in_features % MULTIPLE or layer.out_features % MULTIPLE:
                continue
            if layer.weight.dtype not in (torch.bfloat16, torch.float16, torch.float32):
                continue
            owner, _, leaf = name.rpartition(".")
            setattr(block.get_submodule(owner), leaf, fp8_linear()(layer))
            made += 1
    return made


def repeated_blocks(model: Any) -> list[Any]:
    """The blocks that a transformer is a stack of, in order; diffusers names their classes, but for CogVideoX."""
    names = set(getattr(model, "_repeated_blocks", None) or ()) | {"CogVideoXBlock"}
    return [module for module in model.modules() if type(module).__name__ in names]


@cache
def fp8_linear() -> Any:
    """The class `Fp8Linear`, made of a torch.nn.Linear."""
    import torch

    class Fp8Linear(torch.nn.Module):
        """input @ weight.T + bias through 8-bit floats: (..., in_features) to (..., out_features), in the input's type.

        The sum comes out as bfloat16. Fast accumulation (which Hopper has) loses less than e4m3 has lost by far.
        """

        bias: Any
        weight: Any
        scale: Any

        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.in_features: int = layer.in_features
            self.out_features: int = layer.out_features
            with torch.no_grad():
                weight = layer.weight.detach()
                # A channel of zeros keeps a scale above 0, or 0/0 would make it NaN. Rounding lifts a channel's largest
                # number above 448 by a hair, far from the 464 that would make it NaN; likewise below.
                largest = weight.abs().amax(dim=1, keepdim=True).float().clamp_(min=1e-12)
                scale = largest / LARGEST
                narrow = (weight.float() / scale).to(torch.float8_e4m3fn)
            # Buffers, not parameters: the model's own type stays that of its 16-bit parameters.
            self.register_buffer("weight", narrow.contiguous())
            self.register_buffer("scale", scale.t().contiguous())
            bias = None if layer.bias is None else layer.bias.detach().to(torch.bfloat16)
            self.bias = None if bias is None else torch.nn.Parameter(bias, requires_grad=False)

        def forward(self, given: Any) -> Any:
            rows = given.reshape(-1, self.in_features)
            if rows.dtype != torch.bfloat16:
                rows = rows.float()  # 448 over a small row overflows float16
            largest = torch.maximum(rows.amax(dim=1, keepdim=True), -rows.amin(dim=1, keepdim=True))
            # The scale is the inverse of the factor as it was rounded, so that both cancel.
            factor = (LARGEST / largest.float().clamp(min=1e-12)).to(rows.dtype)
            narrow = (rows * factor).to(torch.float8_e4m3fn)
            made = torch._scaled_mm(
                narrow,
                self.weight.t(),
                scale_a=factor.float().reciprocal(),
                scale_b=self.scale,
                bias=self.bias,
                out_dtype=torch.bfloat16,  # the only one that row-wise scales come with on CUDA
                use_fast_accum=True,
            )
            return made.view(*given.shape[:-1], self.out_features).to(given.dtype)

        def extra_repr(self) -> str:
            """As printed: the sides."""
            return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"

    return Fp8Linear
