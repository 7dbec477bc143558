"""Decodes a shot's latents as one stream, window by window: the decoder knows no seam.

Knows: the causal decoder of Wan's VAE in diffusers 0.42, how far back a frame looks. Does not know: cards, files, how
latents are made. Memory: as decoding the kept latents alone; frames that are decoded for their past only are dropped as
they come.

The decoder takes one latent after another and keeps features of those before. It forgets: no frame depends on a latent
more than `reach` before its own. So a window that begins by decoding that many latents once more makes the frames that
decoding the whole shot would, bit for bit on the CPU. With tiles too: diffusers tiles space, never time.
"""

from __future__ import annotations

from typing import Any, Final

CAUSAL: Final = "WanCausalConv3d"
"""Convolutions that look back; the only modules of the decoder that see more than one frame."""
DOUBLING: Final = "time_conv"
"""Name of those behind which there are twice as many frames."""


def reach(vae: Any) -> int:
    """How many latents before its own the first frame of a latent depends on; counted from the module's structure.

    From the last convolution to the first: k frames wide, it looks k-1 back in frames of its own rate, and two frames
    behind a doubling are one before it. 38 for Wan2.1's VAE and for Wan2.2's.
    """
    back = 0
    for name, module in reversed(list(vae.decoder.named_modules())):
        if type(module).__name__ == CAUSAL and module.kernel_size[0] > 1:
            if name.endswith(DOUBLING):
                back = -(-back // 2)
            back += module.kernel_size[0] - 1
    return back


def streamed(vae: Any, latents: Any, *, keep: int) -> Any:
    """(1, 3, frames, height, width) of the last `keep` of the latents (1, channels, n, height, width).

    The latents before them are decoded for their features alone. Equal to the last frames of decoding a longer stream
    with these latents at its end where at least `reach` come before the kept ones, or all that there are.
    """
    first, at = latents.shape[2] - keep, -1

    def dropped(module: Any, given: Any, named: dict[str, Any], frames: Any) -> Any:
        nonlocal at
        del module, given
        at = 0 if named.get("first_chunk") else at + 1  # a tile begins with its first latent again
        return frames if at >= first else frames[:, :, :0]

    hook = vae.decoder.register_forward_hook(dropped, with_kwargs=True)
    try:
        return vae.decode(latents, return_dict=False)[0]
    finally:
        hook.remove()
