"""ComfyUI's own Train LoRA node on the same model, latents, prompts and batch."""

from __future__ import annotations

from pathlib import Path

import torch
from comfy_extras.nodes_train import TrainLoraNode

from benchmarks.performance.setting import concept, costs, open_checkpoint, prior
from cns_core.comfy_adapter.checkpoint.latents import fit


def measure(base: Path, pixels: int, steps: int) -> dict[str, float]:
    """Rank 8 on every layer, which is the node's default; without gradient checkpointing, as ours is measured."""
    checkpoint = open_checkpoint(base)
    images = [*concept(pixels).images[:1], *prior(pixels).images[:1]]
    with torch.inference_mode():
        latents = [{"samples": checkpoint.vae.encode(fit(image, pixels))} for image in images]
        texts = ("photo of a dog", "photo of a dog")
        positive = [[[checkpoint.clip.encode_from_tokens(checkpoint.clip.tokenize(text)), {}]] for text in texts]
    precision = "bf16" if torch.cuda.is_available() else "fp32"

    @torch.inference_mode()
    def train(count: int) -> None:
        settings = {
            "batch_size": 2,
            "steps": count,
            "grad_accumulation_steps": 1,
            "learning_rate": 1e-5,
            "rank": 8,
            "optimizer": "AdamW",
            "loss_function": "MSE",
            "seed": 0,
            "training_dtype": precision,
            "lora_dtype": precision,
            "algorithm": "LoRA",
            "gradient_checkpointing": False,
            "existing_lora": "[None]",
        }
        TrainLoraNode.execute([checkpoint.model], latents, positive, **{name: [value] for name, value in settings.items()})

    return costs(train, steps)
