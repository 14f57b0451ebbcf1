"""The models that score pictures: CLIP, which reads prompts too, and DINO, which only looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_management as memory
import comfy.sd1_clip
import numpy as np
import torch
from torch import Tensor

from ..concept import Concept
from ..errors import CNSError, brief
from ..evaluation import Scores, asks_for, spoken
from ..judge import CLIP, DINO, Preprocessing, ceiling, image_alignment, text_alignment
from .folders import JUDGES
from .model_folder import ModelFolder, Source, check_weights

_KNOWN = {
    # the commit at which its weights are there as safetensors
    "clip-vit-base-patch32": Source("openai/clip-vit-base-patch32", "c237dc49a33fc61debc9276459120b7eac67e7ef", "0.6 GB"),
}
MODELS = ModelFolder(JUDGES, _KNOWN, "judge", "download_judge", "choose another judge")
_BATCH = 16
_LOCAL = {"local_files_only": True, "use_safetensors": True}


@dataclass(frozen=True, eq=False)
class Judge:
    """``tokenizer``: None for a model that reads no text."""

    model: Any
    tokenizer: Any
    prepared: Preprocessing

    @torch.inference_mode()
    def of_pictures(self, images: Sequence[Tensor], on_image: Callable[[], None] = lambda: None) -> Tensor:
        """Features, float32 (n, f), of images (height, width, 3) in 0..1; ``on_image`` is called after each."""
        found = []
        for start in range(0, len(images), _BATCH):
            seen = self.model if self.tokenizer is None else self.model.vision_model
            batch = images[start : start + _BATCH]
            output = seen(pixel_values=self.prepared(batch).to(self.model.device))
            # DINO's feature is its class token, CLIP's the projection of it
            found.append(output.last_hidden_state[:, 0] if self.tokenizer is None else self._projected(output))
            for _ in batch:
                on_image()
        return torch.cat(found).float().cpu()

    @torch.inference_mode()
    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """Features, float32 (n, f). What is longer than the model reads is cut before the end of text."""
        different = list(dict.fromkeys(texts))
        longest = self.model.config.text_config.max_position_embeddings  # which not every folder's tokenizer knows
        tokens = self.tokenizer(different, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        pooled = self.model.text_model(**tokens.to(self.model.device)).pooler_output
        features = self.model.text_projection(pooled).float().cpu()
        return features[[different.index(text) for text in texts]]

    def _projected(self, output: Any) -> Tensor:
        return self.model.visual_projection(output.pooler_output)


def judge_names() -> list[str]:
    return MODELS.names()


def load_judge(name: str, may_download: bool = False, on_download: Callable[[str], None] = lambda text: None) -> Judge:
    """The judge of a folder in ``models/cns_judges``, in float32.

    Raises:
        CNSError: it is not there, not whole, or neither a CLIP nor a ViT.
    """
    folder = MODELS.path_of(name, may_download, on_download)
    check_weights(folder)
    from transformers import CLIPModel, CLIPTokenizer, ViTModel  # takes seconds: only who judges pays for it

    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        if kind not in ("clip", "vit"):
            raise CNSError(f"{folder} holds a model of type '{kind}', but a judge must be a CLIP or a ViT, such as DINO.")
        if kind == "clip":
            return Judge(_loaded(CLIPModel, folder), CLIPTokenizer.from_pretrained(folder, local_files_only=True), CLIP)
        return Judge(_loaded(ViTModel, folder, add_pooling_layer=False), None, DINO)
    except CNSError:
        raise
    except Exception as error:  # of any kind, from transformers
        raise CNSError(f"The judge in {folder} cannot be loaded ({brief(error)}): get its files again.") from error


def judged(
    judge: Judge,
    images: Sequence[Tensor],
    prompts: Sequence[str],
    concepts: Sequence[Concept],
    on_image: Callable[[], None] = lambda: None,
) -> Scores:
    """Scores of images (height, width, 3) in 0..1, each made with its prompt as ComfyUI reads it. ``on_image`` is called after
    each of them, and after each of the concepts'.
    """
    seen = judge.of_pictures(images, on_image)
    text = None
    if judge.tokenizer is not None:
        said = judge.of_texts([spoken(_without_weights(prompt), concepts) for prompt in prompts])
        text = text_alignment(seen, said).numpy()
    alike, ceilings = {}, {}
    for concept in concepts:
        own = judge.of_pictures(concept.images, on_image)
        asked = np.array([asks_for(prompt, concept) for prompt in prompts])
        alike[concept.name] = np.where(asked, image_alignment(seen, own).numpy(), np.nan)
        ceilings[concept.name] = ceiling(own)
    return Scores(tuple(prompts), text, alike, ceilings)


def _without_weights(prompt: str) -> str:
    """``a (red:1.2) hat`` as ``a red hat``."""
    parts = comfy.sd1_clip.token_weights(comfy.sd1_clip.escape_important(prompt), 1.0)
    return comfy.sd1_clip.unescape_important("".join(text for text, _ in parts))


def _loaded(kind: Any, folder: Path, **options: object) -> Any:
    model = kind.from_pretrained(folder, **_LOCAL, **options)
    device = memory.get_torch_device()
    memory.free_memory(memory.module_size(model) * 1.2, device)
    return model.float().eval().to(device)
