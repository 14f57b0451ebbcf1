"""Stage 3: the UNet and the text encoder together, on Stable Diffusion's noise-prediction loss with min-SNR weights.

Half of the pictures are of the world, where all has a name. The others make the model one that can be taught: see
``nameless.py``.
"""

from __future__ import annotations

from pathlib import Path

import comfy.sd
import torch
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cns_core.comfy_adapter.checkpoint.normal_tensors import out_of_place_norms
from demo.model import new_base_model, new_clip, untrained_embedding

from .latents import SETS, latents_of, token_ids, tokens_of
from .optimizer import only_rows
from .random_checkpoint import fill
from .trainer import DEVICE, mixed_precision, one_cycle, optimize

STEPS, _PICTURES = 6_700, 64
_COOLED_FROM, _COSINE = 5_231, one_cycle(10_000, 2e-3)
# A half cosine planned for more steps than there was time for, left where half of its fall is done, then linear to zero.
_COOLING = [(STEPS - step) / (STEPS - _COOLED_FROM) for step in range(_COOLED_FROM, STEPS)]
_RATES = _COSINE[:_COOLED_FROM] + [_COSINE[_COOLED_FROM] * share for share in _COOLING]
_AVERAGE = get_ema_multi_avg_fn(0.998)  # of the weights over the last part, which is what ships
_UNCONDITIONAL = 0.1  # share of prompts that are empty, for classifier-free guidance
_MAX_SNR = 5.0  # min-SNR-5 weights (Hang et al. 2023): composition, decided at high noise, is what takes long to learn
_RESIDUAL_ENDS = ("out.2", "out_layers.3", "proj_out")  # start at zero, as the original implementation's zero_module


def _attention(q: Tensor, k: Tensor, v: Tensor, *args: object, **kwargs: object) -> Tensor:
    """The fused one. On a CPU its gradients take twice as long in bfloat16 as in float32."""
    if DEVICE.type != "cpu":
        return attention_pytorch(q, k, v, *args, **kwargs)
    with torch.autocast("cpu", enabled=False):
        return attention_pytorch(q.float(), k.float(), v.float(), *args, **kwargs).to(q.dtype)


class UNetAndText(nn.Module):
    """UNet and text encoder as one module to optimize."""

    def __init__(self, clip: comfy.sd.CLIP) -> None:
        super().__init__()
        base = new_base_model()
        self.unet = base.diffusion_model
        self.text = clip.cond_stage_model.clip_l.transformer
        fill(self, 1)
        embedding = self.text.get_input_embeddings().weight
        embedding.data.copy_(untrained_embedding(len(embedding)))
        for name, parameter in self.unet.named_parameters():
            if name.rpartition(".")[0].endswith(_RESIDUAL_ENDS):
                parameter.data.zero_()
        self.register_buffer("alphas", 1 / (base.model_sampling.sigmas**2 + 1), persistent=False)

    def encode(self, ids: Tensor) -> Tensor:
        """Token ids (b, 77) -> conditioning (b, 77, features), as SD-1.5 reads it: the last layer, normed."""
        return self.text.text_model(ids, dtype=torch.float32)[0]

    def predict(self, noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        options = {"optimized_attention_override": lambda _, *args, **kwargs: _attention(*args, **kwargs)}
        return self.unet(noisy, timesteps.float(), context=context, transformer_options=options)


def train(folder: Path, vae: nn.Module) -> tuple[UNetAndText, Tensor]:
    """The trained model with averaged weights, and the ids of the tokens it has seen; working files are in ``folder``."""
    clip = new_clip()
    model = UNetAndText(clip)
    latents = torch.cat([latents_of(one, folder, vae) for one in SETS])
    empty = torch.tensor([token_ids(clip, "")], dtype=torch.int32)
    seen, rows = torch.cat([*(tokens_of(one, folder, clip) for one in SETS), empty]).unique(return_inverse=True)
    with only_rows(model.text.get_input_embeddings(), seen.long()), out_of_place_norms(model.text):
        _optimize(model, latents, rows[:-1], rows[-1], folder / "unet_training.safetensors")
        model.cpu()
    return model.eval().requires_grad_(False), seen


def _optimize(model: UNetAndText, latents: Tensor, prompts: Tensor, empty: Tensor, file: Path) -> None:
    """Trains on latents (n, 4, h, w) and prompts as rows of the token table (n, 77); leaves the averaged weights."""
    averaged = AveragedModel(model.to(DEVICE), multi_avg_fn=_AVERAGE)

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        chosen = torch.randint(len(latents), (_PICTURES,), generator=generator)
        x, ids = latents[chosen].float().to(DEVICE), prompts[chosen]
        ids = torch.where(torch.rand(_PICTURES, 1, generator=generator) < _UNCONDITIONAL, empty, ids)
        spread = (torch.arange(_PICTURES) + torch.rand(1, generator=generator)) / _PICTURES  # a step sees the whole schedule
        timesteps = (1000 * spread).long().clamp(max=999).to(DEVICE)
        noise = torch.randn(x.shape, generator=generator).to(DEVICE)
        signal = model.alphas[timesteps].view(-1, 1, 1, 1)
        with mixed_precision():
            context = model.encode(ids.to(DEVICE))
            predicted = model.predict(signal.sqrt() * x + (1 - signal).sqrt() * noise, timesteps, context)
        weights = (_MAX_SNR * (1 - signal) / signal).clamp(max=1)
        return (weights * (predicted.float() - noise).square()).mean()

    optimize(file, model, _RATES, loss_of, average=averaged, averaged_from=_COOLED_FROM)
    model.load_state_dict(averaged.module.state_dict())
