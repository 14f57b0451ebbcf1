"""Base, general and concept neurons of 5 captions and 20 calibration prompts on all 32 matrices."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.performance.setting import CAPTIONS, open_checkpoint, seconds
from cns_core.calibration import shipped_prompts
from cns_core.comfy_adapter.checkpoint.conditioning import encode_all
from cns_core.config import SelectionConfig
from cns_core.scoring import common_mask
from cns_core.selection import select

_SHARE = SelectionConfig.top_fraction


@torch.inference_mode()
def measure(base: Path) -> dict[str, float]:
    """Seconds of encoding the prompts, and of scoring and selecting, the mean of three times."""
    checkpoint = open_checkpoint(base)
    weights = checkpoint.weights
    if torch.cuda.is_available():
        weights = {name: weight.cuda() for name, weight in weights.items()}
    texts = [*CAPTIONS, *shipped_prompts()[:20]]
    encoding = seconds(lambda: encode_all(checkpoint.clip, texts))
    contexts = encode_all(checkpoint.clip, texts)
    captions, calibration = contexts[: len(CAPTIONS)], contexts[len(CAPTIONS) :]

    def score() -> None:
        base_mask, general = common_mask(weights, captions, _SHARE), common_mask(weights, calibration, _SHARE)
        select("concept", base_mask, general, torch.Generator())

    score()  # warms up
    return {"prompts": len(texts), "encoding": encoding, "scoring": seconds(score, repeats=3)}
