"""VAEs of other models: refused where their latents can be told, before anything is trained."""

from __future__ import annotations

import comfy.sd
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_pack.cns_core.comfy_adapter.checkpoint.latents import encode_images
from cns_pack.cns_core.errors import CNSError
from comfy.latent_formats import SD15, SDXL
from comfy.taesd.taesd import TAESD

from demo.model import load_demo_model
from demo.training.random_checkpoint import fill
from demo.world.new_concepts import NEW_CONCEPTS, teaching_pictures
from tests.support.tiny_models import AveragingVAE, tiny_clip, tiny_model


class TableVAE:
    """Latents that stand for the colours ComfyUI's preview table of a latent format says, in the VAE's own scale."""

    def __init__(self, kind) -> None:
        self.kind, self.table = kind, torch.tensor(kind.latent_rgb_factors)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        colours = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1) * 2 - 1, 8)
        offset = torch.tensor(self.kind.latent_rgb_factors_bias or [0.0] * 3).view(3, 1, 1)
        return self.kind.process_out(torch.einsum("nchw,cd->ndhw", colours - offset, torch.linalg.pinv(self.table)))


def pictures(count: int = 3) -> list[torch.Tensor]:
    drawn, _ = teaching_pictures("robot", count, 0)
    return [torch.from_numpy(picture).float() / 255 for picture in drawn]


def encode(vae, images=None) -> torch.Tensor:
    with torch.inference_mode():
        return encode_images(Checkpoint(tiny_model(), tiny_clip(), vae), pictures() if images is None else images, 128)


def test_latents_that_read_as_sdxls():
    with pytest.raises(CNSError, match=r"latents that read as SDXL's, not as SD 1\.5's.*: wire the SD 1\.5 checkpoint's VAE"):
        encode(TableVAE(SDXL()))
    assert encode(TableVAE(SD15())).shape == (3, 4, 16, 16)


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_latents_with_details_of_their_own(noise):
    """A table explains the colours only; what else is in SD-1.5's latents must not make them SDXL's."""

    class Detailed(TableVAE):
        def encode(self, pixels):
            latents = super().encode(pixels)
            return latents + noise * latents.std() * torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))

    encode(Detailed(SD15()))


def test_a_vae_that_cannot_be_told_passes():
    for concept in NEW_CONCEPTS:
        drawn, _ = teaching_pictures(concept, 2, 0)
        encode(AveragingVAE(), [torch.from_numpy(picture).float() / 255 for picture in drawn])
    with torch.inference_mode():
        encode(load_demo_model()[2])


def test_images_of_one_colour_tell_nothing():
    for value in (0.0, 0.5, 1.0):
        encode(TableVAE(SDXL()), [torch.full((128, 128, 3), value)])


def vae_of(**shapes: tuple[int, ...]) -> comfy.sd.VAE:
    """ComfyUI recognizes a VAE by the names and shapes in its file; the weights that are missing stay as they are."""
    return comfy.sd.VAE(sd={name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()})


def test_latents_of_another_form_are_refused_before_encoding():
    flux = vae_of(
        decoder__conv_in__weight=(512, 16, 3, 3),
        encoder__down__2__downsample__conv__weight=(512, 512, 3, 3),
    )
    with pytest.raises(CNSError, match=r"latents of 16 channels in 2 dimensions, but SD 1\.5 needs 4 in 2: wire"):
        encode(flux)
    video = vae_of(decoder__conv_in__conv__weight=(512, 16, 3, 3, 3), post_quant_conv__weight=(16, 16, 1, 1, 1))
    with pytest.raises(CNSError, match="latents of 16 channels in 3 dimensions"):
        encode(video)


def test_checkpoint_without_vae():
    empty = comfy.sd.VAE(sd={})  # what Load Checkpoint gives of a file without one
    for vae in (None, empty):
        with pytest.raises(CNSError, match="No VAE was given"):
            encode(vae)


def test_the_small_vaes_of_sd15_and_sdxl():
    """Load VAE writes into them which one they are."""

    def taesd(scale: float) -> comfy.sd.VAE:
        with torch.inference_mode():
            vae = TAESD()
            fill(vae, 0)
        return comfy.sd.VAE(sd={**vae.state_dict(), "vae_scale": torch.tensor(scale), "vae_shift": torch.tensor(0.0)})

    with pytest.raises(CNSError, match=r"SDXL's small one \(taesdxl\).*or taesd\."):
        encode(taesd(0.13025))
    encode(taesd(0.18215))
