"""Base, general and concept neurons of 5 captions and 20 calibration prompts on all 32 matrices."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.performance.setting import CAPTIONS, open_checkpoint, peak_memory, seconds
from cns_core.calibration import shipped_prompts
from cns_core.comfy_adapter.checkpoint.conditioning import encode_all
from cns_core.config import SelectionConfig
from cns_core.scoring import common_mask, feature_norms
from cns_core.selection import select

_SHARE = SelectionConfig.top_fraction


@torch.inference_mode()
def measure(base: Path) -> dict[str, object]:
    """Seconds of encoding the prompts, and of scoring and selecting; bytes that scoring added; equal to the brute force?"""
    checkpoint = open_checkpoint(base)
    weights = checkpoint.weights
    if torch.cuda.is_available():
        weights = {name: weight.cuda() for name, weight in weights.items()}
    texts = [*CAPTIONS, *shipped_prompts()[:20]]
    encoding = seconds(lambda: encode_all(checkpoint.clip, texts))
    contexts = encode_all(checkpoint.clip, texts)
    captions, calibration = contexts[: len(CAPTIONS)], contexts[len(CAPTIONS) :]

    def score():
        base_mask, general = common_mask(weights, captions, _SHARE), common_mask(weights, calibration, _SHARE)
        return select("concept", base_mask, general, torch.Generator())

    before = peak_memory()
    mask = score()
    added = peak_memory() - before
    return {
        "prompts": len(texts),
        "encoding": encoding,
        "scoring": seconds(score, repeats=3),
        "memory added": added,
        "equal to brute force": all(
            torch.equal(mask.layer(layer), _brute_force(weights[layer.name], captions, calibration))
            for layer in mask.layout.layers
        ),
    }


def _brute_force(weight: torch.Tensor, captions: list[torch.Tensor], calibration: list[torch.Tensor]) -> torch.Tensor:
    """Every row sorted, ties by column: the definition, one prompt at a time."""

    def common(contexts: list[torch.Tensor]) -> torch.Tensor:
        result = torch.ones(weight.shape, dtype=torch.bool)
        for context in contexts:
            scores = weight.float().cpu().abs() * feature_norms(context).cpu()
            order = scores.argsort(dim=1, descending=True, stable=True)
            selected = torch.zeros_like(result)
            selected.scatter_(1, order[:, : round(_SHARE * weight.shape[1])], True)
            result &= selected
        return result

    return common(captions) & ~common(calibration)
