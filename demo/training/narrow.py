"""The autoencoder as it is trained: TAESD with fewer channels and blocks where it works on many pixels.

TAESD has 64 channels from the pixels to the latents, and four fifths of its time goes into the two largest sizes. On the drawn
world a fraction of them does: in the same time this one sees four times as many pictures. In the file the missing channels and
blocks are zeros, so that ComfyUI loads its own TAESD, which computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from comfy.taesd.taesd import TAESD, Block, Clamp, conv
from torch import Tensor, nn

_LEVELS = ((16, 1), (32, 1), (64, 2), (64, 3))  # channels and blocks, from the pixels' size to the latents'
_TRACKING = 0.05  # share of a batch in the running mean


class _Centred(nn.Module):
    """A bias on top of mean 0: backwards as batch normalization of the means (Salimans & Kingma 2016), forwards with the
    running ones, so that it folds into the convolution before it.

    Without any normalization the weights drift to where ReLUs are silent for good: after 14,000 steps 35 of a block's 64 were,
    in three blocks all. One of the scales as well would make a batch of four pictures depend on each other too much.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x + self.folded().view(1, -1, 1, 1)
        mean = x.mean((0, 2, 3))
        self.mean.lerp_(mean.detach().float(), _TRACKING)  # under autocast the mean is bfloat16
        return x + (self.folded() - (mean - mean.detach())).view(1, -1, 1, 1)

    def folded(self) -> Tensor:
        """The bias that a convolution has in its place."""
        return self.bias - self.mean


def narrowed(vae: TAESD) -> TAESD:
    """Gives it narrow parts, initialized: Kaiming's; residual branches start small."""
    vae.taesd_encoder, vae.taesd_decoder = _encoder(), _decoder()
    torch.manual_seed(0)
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in [module for module in vae.modules() if isinstance(module, Block)]:
        first, _, second, _, last = module.conv
        first.bias = second.bias = None
        last.weight.data.mul_(0.1)
        centred = [_Centred(one.out_channels) for one in (first, second)]
        module.conv = nn.Sequential(first, centred[0], nn.ReLU(), second, centred[1], nn.ReLU(), last)
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
            for trained, parameter in zip(_parameters(layer), place.parameters(), strict=True):
                parameter[tuple(slice(size) for size in trained.shape)] = trained
    return wide


def _parameters(layer: nn.Module) -> Iterator[Tensor]:
    """Of a layer of TAESD's that computes the same."""
    for module in layer.modules():
        if isinstance(module, _Centred):
            yield module.folded()
        else:
            yield from module.parameters(recurse=False)
