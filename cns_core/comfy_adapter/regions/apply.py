"""Puts regions into a MODEL."""

from __future__ import annotations

from functools import partial

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...errors import CNSError
from .patches import attend, begin, gather
from .region import Region

_KEY = "cns_regions"


def apply_regions(model: ModelPatcher, regions: tuple[Region, ...]) -> ModelPatcher:
    """A clone of ``model`` that draws each region after its own prompt; an unpatched one where no region does anything.

    Raises:
        CNSError: a model without cross-attention, prompts of another text encoder, or regions applied twice.
    """
    width = _text_width(model)
    for number, region in enumerate(regions, start=1):
        for prompt in (*region.positive, *region.negative):
            if prompt.context.shape[-1] != width:
                raise CNSError(
                    f"The prompt of region {number} has {prompt.context.shape[-1]} features per token, but the MODEL reads "
                    f"{width}: encode it with the CLIP of the same checkpoint."
                )
    if model.get_wrappers(WrappersMP.SAMPLER_SAMPLE, _KEY):
        raise CNSError("The MODEL wired in already has regions: chain all Region nodes and use one Apply Regions.")
    patched = model.clone()
    working = tuple(region for region in regions if not region.does_nothing)
    if working:
        patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, _KEY, partial(begin, working))
        patched.set_model_attn2_patch(gather)
        patched.set_model_attn2_output_patch(attend)
    return patched


def _text_width(model: ModelPatcher) -> int:
    """Features per token that the model's cross-attention reads."""
    unet = model.model.diffusion_model
    widths = [module.to_k.in_features for name, module in unet.named_modules() if name.rpartition(".")[2] == "attn2"]
    if not widths:
        raise CNSError(
            f"The MODEL wired in, {type(unet).__name__}, has no cross-attention blocks (attn2) for regions: load an SD 1.x, "
            "SD 2.x or SDXL checkpoint."
        )
    return widths[0]
