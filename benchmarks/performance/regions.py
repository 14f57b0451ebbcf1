"""What regions cost: one step of sampling with classifier-free guidance, whose time does not depend on the weights."""

from __future__ import annotations

from pathlib import Path

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher

from benchmarks.performance.setting import open_checkpoint, seconds
from cns_core.comfy_adapter.regions.apply import apply_regions
from cns_core.comfy_adapter.regions.region import Region

_COUNTS = (0, 1, 2, 4)


def measure(base: Path, pixels: int) -> list[dict[str, float]]:
    """The fastest of five steps with each number of regions, in turn; ``several`` is a pass for each region instead, as
    ComfyUI's Conditioning Set Mask makes it.
    """
    checkpoint = open_checkpoint(base)
    with torch.inference_mode():
        model, clip = checkpoint.model, checkpoint.clip
        prompt, negative = (clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a dog", ""))
        ways = {(0, "one pass"): (model, prompt)}
        for count in _COUNTS[1:]:
            strips = [strip.repeat(1, 8, 1) for strip in torch.eye(count).view(count, 1, 1, count)]  # from left to right
            regions = tuple(Region.of(prompt, None, strip, 1.0) for strip in strips)
            ways[count, "one pass"] = apply_regions(model, regions), prompt
            masked = [[prompt[0][0], {"mask": strip, "mask_strength": 1.0}] for strip in strips]
            ways[count, "several"] = model, [*prompt, *masked]
        times: dict[tuple[int, str], list[float]] = {way: [] for way in ways}
        for _ in range(6):  # the first one warms up
            for way, (used, positive) in ways.items():
                times[way].append(seconds(lambda used=used, positive=positive: _step(used, positive, negative, pixels)))
    fastest = {way: min(taken[1:]) for way, taken in times.items()}
    fastest[0, "several"] = fastest[0, "one pass"]
    return [{"regions": count, **{way: fastest[count, way] for way in ("one pass", "several")}} for count in _COUNTS]


def _step(model: ModelPatcher, positive: list, negative: list, pixels: int) -> None:
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(7.0)
    noise = torch.zeros(1, 4, pixels // 8, pixels // 8)
    sigmas = torch.tensor([1.0, 0.5])
    guider.sample(noise, noise, comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True, seed=0)
