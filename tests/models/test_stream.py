"""Claims about decoding latents as one stream: window by window it gives what decoding all at once gives, bit for bit.

The tiny decoders have the modules of Wan2.1's (`narrow`) and Wan2.2's (`wide`), fewer of them; the real ones are built
without memory.
"""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models

from models.stream import reach, streamed

KINDS = ["narrow", "wide"]


@pytest.fixture(params=KINDS)
def vae(request: pytest.FixtureRequest) -> Any:
    """A tiny VAE without tiles."""
    import torch

    torch.set_num_threads(1)
    return tiny_models.wan_vae(wide=request.param == "wide")


def latents(vae: Any, count: int) -> Any:
    """So many latents of 48x32 pixels, the same every time."""
    import torch

    side = vae.config.scale_factor_spatial
    random = torch.Generator().manual_seed(1)
    return torch.randn(1, vae.config.z_dim, count, 32 // side, 48 // side, generator=random)


def tiled(vae: Any) -> None:
    """Three tiles of 32x32 pixels, each half over the next."""
    vae.enable_tiling(32, 32, 32, 16)


@pytest.mark.parametrize("tiles", [False, True], ids=["whole", "tiles"])
def test_a_stream_in_windows_is_the_whole_stream_bit_for_bit(vae: Any, tiles: bool) -> None:
    """Four windows over more latents than the decoder's memory: the same frames, and nothing else."""
    import torch

    if tiles:
        tiled(vae)
    back = reach(vae)
    lengths = [14, 12, 12, 5]
    stream = latents(vae, sum(lengths))
    assert sum(lengths[:-1]) > back
    with torch.no_grad():
        whole = vae.decode(stream, return_dict=False)[0]
        parts, end = [], 0
        for length in lengths:
            end += length
            replay = min(back, end - length)
            parts.append(streamed(vae, stream[:, :, end - length - replay : end], keep=length))
    assert [part.shape[2] for part in parts] == [4 * length - (not at) * 3 for at, length in enumerate(lengths)]
    assert torch.equal(torch.cat(parts, dim=2), whole)
    assert float(whole.std()) > 0.05


def test_one_latent_less_is_not_the_same(vae: Any) -> None:
    """The decoder's memory is what it is counted to be: a replay that is one latent shorter gives other frames."""
    import torch

    back, stream = reach(vae), latents(vae, reach(vae) + 6)
    with torch.no_grad():
        whole = vae.decode(stream, return_dict=False)[0][:, :, -16:]
        exact = streamed(vae, stream[:, :, 2:], keep=4)
        short = streamed(vae, stream[:, :, 3:], keep=4)
        half = streamed(vae, stream[:, :, -4 - back // 2 :], keep=4)
    assert torch.equal(exact, whole)
    assert not torch.equal(short, whole)
    assert float((half - whole).abs().max()) > 1 / 255


def test_the_real_decoders_look_back_38_latents() -> None:
    """Wan2.1's and Wan2.2's, as their published configs describe them; built on the meta device."""
    import diffusers
    import torch

    with torch.device("meta"):
        first = diffusers.AutoencoderKLWan()
        second = diffusers.AutoencoderKLWan(
            base_dim=160,
            decoder_base_dim=256,
            z_dim=48,
            is_residual=True,
            in_channels=12,
            out_channels=12,
            patch_size=2,
            scale_factor_spatial=16,
            latents_mean=[0.0] * 48,
            latents_std=[1.0] * 48,
        )
    # 12 convolutions at a frame a latent, 7 at two, 13 at four: 24 + 14 / 2 + 26 / 4 latents
    assert (reach(first), reach(second)) == (38, 38)


def test_dropped_frames_are_not_kept(vae: Any) -> None:
    """What the decoder hands on while it replays has no frames, so memory is that of the kept ones alone."""
    import torch

    seen: list[int] = []
    stream = latents(vae, 12)
    cat = torch.cat

    def noted(parts: Any, *given: Any, **named: Any) -> Any:
        made = cat(parts, *given, **named)
        if made.ndim == 5 and made.shape[1] == vae.config.out_channels:
            seen.append(made.shape[2])
        return made

    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "cat", noted)
        streamed(vae, stream, keep=2)
    assert max(seen) == 8


def test_the_decoder_is_left_as_it_was(vae: Any) -> None:
    """Also after an error: the next window decodes all of its frames."""
    import torch

    stream = latents(vae, 3)
    with torch.no_grad():
        before = vae.decode(stream, return_dict=False)[0]
        streamed(vae, stream, keep=1)
        with pytest.raises(RuntimeError):
            streamed(vae, stream[:, :5], keep=1)
        assert torch.equal(vae.decode(stream, return_dict=False)[0], before)
