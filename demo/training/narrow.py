"""The autoencoder as it is trained: TAESD with fewer channels and blocks where it works on many pixels.

TAESD has 64 channels from the pixels to the latents, and four fifths of its time goes into the two largest sizes. On the drawn
world a fraction of them does: in the same time this one sees four times as many pictures. In the file the missing channels and
blocks are zeros, so that ComfyUI loads its own TAESD, which computes the same.
"""

from __future__ import annotations

import torch
from comfy.taesd.taesd import TAESD, Block, Clamp, conv
from torch import nn

_LEVELS = ((16, 1), (32, 1), (64, 2), (64, 3))  # channels and blocks, from the pixels' size to the latents'


def narrowed(vae: TAESD) -> TAESD:
    """Gives it narrow parts, initialized: Kaiming's; residual branches start small."""
    vae.taesd_encoder, vae.taesd_decoder = _encoder(), _decoder()
    torch.manual_seed(0)
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in vae.modules():
        if isinstance(module, Block):
            module.conv[-1].weight.data.mul_(0.1)
    return vae


def _encoder() -> nn.Sequential:
    layers, before = [], 3
    for level, (channels, blocks) in enumerate(_LEVELS):
        layers += [conv(before, channels, stride=2, bias=False) if level else conv(before, channels)]
        layers += [Block(channels, channels) for _ in range(blocks)]
        before = channels
    return nn.Sequential(*layers, conv(before, 4))


def _decoder() -> nn.Sequential:
    (channels, blocks), *larger = reversed(_LEVELS)
    layers = [Clamp(), conv(4, channels), nn.ReLU(), *(Block(channels, channels) for _ in range(blocks))]
    for after, blocks in larger:
        layers += [nn.Upsample(scale_factor=2), conv(channels, after, bias=False)]
        layers += [Block(after, after) for _ in range(blocks)]
        channels = after
    return nn.Sequential(*layers, conv(channels, 3))


@torch.no_grad()
def widened(narrow: TAESD, wide: TAESD) -> TAESD:
    """Writes a narrow one's weights into one of full width, which then computes the same."""
    for ours, theirs in ((narrow.taesd_encoder, wide.taesd_encoder), (narrow.taesd_decoder, wide.taesd_decoder)):
        for parameter in theirs.parameters():
            parameter.zero_()
        places = iter(theirs)
        for layer in ours:
            place = next(places)
            while type(place) is not type(layer):  # a further block: of zeros, it passes on what comes out of the ReLU before
                place = next(places)
            for trained, parameter in zip(layer.parameters(), place.parameters(), strict=True):
                parameter[tuple(slice(size) for size in trained.shape)] = trained
    return wide
