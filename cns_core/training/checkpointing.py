"""Gradient checkpointing: recompute the UNet's blocks in the backward pass instead of keeping their activations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

# ComfyUI's and diffusers' names for the two kinds of block a Stable Diffusion UNet is made of.
_BLOCKS = {"BasicTransformerBlock", "ResBlock", "ResnetBlock2D"}


@contextmanager
def checkpointed(unet: nn.Module, enabled: bool) -> Iterator[None]:
    """Checkpoints every residual and transformer block of ``unet`` while the context lasts."""
    blocks = [module for module in unet.modules() if enabled and type(module).__name__ in _BLOCKS]
    own = {block: block.__dict__["forward"] for block in blocks if "forward" in block.__dict__}  # another pack's
    try:
        for block in blocks:
            # No block draws random numbers in eval mode, so the generator's state need not be saved.
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)
            if block in own:
                block.forward = own[block]
