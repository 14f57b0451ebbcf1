"""Regions in a UNet's cross-attention: one pass, however many there are.

:func:`gather` appends rows to the batch before K and V are computed: the text features of each region, with the queries of the
pictures they belong to. :func:`attend` adds up what attention made of them, weighed by the masks. Both find what they need in
the options that ComfyUI hands to every patch; :func:`begin` puts it there for one sampling and nothing of it outlives that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import comfy.utils
import torch
from comfy.samplers import CFGGuider
from torch import Tensor

from ...errors import CNSError
from ...regions import at_positions, mixed, weights
from ...training.batches import stack_contexts
from .region import Region, TimedContext

_KEY, _ROWS = "cns_regions", "cns_region_rows"
_POSITIVE, _NEGATIVE = "positive", "negative"

Options = dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Prompt:
    """A region's text features (b, tokens, width), used between two noise levels."""

    region: Region
    context: Tensor
    first: float
    last: float

    def is_used(self, sigmas: Tensor) -> bool:
        return self.is_always_used or self.last <= float(sigmas[0]) <= self.first

    @property
    def is_always_used(self) -> bool:  # asks nothing of the device
        return self.last == 0.0 and self.first == float("inf")


@dataclass(eq=False)
class _Sampling:
    """The regions as one sampling uses them: on its device, with the masks at the sizes it has met."""

    names: dict[UUID, str]  # conditioning -> what its guider calls it
    prompts: dict[str, tuple[_Prompt, ...]]  # by that name
    _shares: dict[tuple, Tensor] = field(default_factory=dict)

    def rows(self, options: Options) -> list[tuple[int, _Prompt]]:
        """Which chunks of the batch get which region prompts."""
        return [
            (chunk, prompt)
            for chunk, identity in enumerate(options["uuids"])
            for prompt in self.prompts.get(self.names.get(identity, ""), ())
            if prompt.is_used(options["sigmas"])
        ]

    def shares(self, prompts: tuple[_Prompt, ...], height: int, width: int, like: Tensor) -> Tensor:
        """(prompts, b, height · width) for rows as those of ``like``; prompts of the same region share its part."""
        key = (prompts, height, width, len(like), like.device, like.dtype)
        if key not in self._shares:
            regions = [prompt.region for prompt in prompts]
            masks = [at_positions(region.mask, height, width) / regions.count(region) for region in regions]
            masks = torch.stack([comfy.utils.repeat_to_batch_size(mask, len(like)) for mask in masks])
            self._shares[key] = weights(masks, [region.strength for region in regions]).to(like)
        return self._shares[key]


def begin(
    regions: tuple[Region, ...],
    executor: Callable,
    guider: CFGGuider,
    sigmas: Tensor,
    extra_args: dict,
    *rest: Any,
    **others: Any,
) -> Tensor:
    """Wraps a sampling: tells the patches which conditioning is which, and what each region asks for.

    Raises:
        CNSError: a prompt that is limited to an area, whose crop the regions know nothing of.
    """
    asked = {
        _POSITIVE: tuple(_prompt(region, timed, guider, sigmas) for region in regions for timed in region.positive),
        _NEGATIVE: tuple(_prompt(region, timed, guider, sigmas) for region in regions for timed in region.negative),
    }
    names = {}
    for name, conditionings in guider.conds.items():
        for conditioning in conditionings:
            if conditioning.get("area") is not None and asked.get(name):
                raise CNSError(
                    f"The sampler's {name} prompt is limited to an area, which does not work with regions: take the area node "
                    "out and make that prompt a Region."
                )
            names[conditioning["uuid"]] = name
    extra_args["model_options"]["transformer_options"][_KEY] = _Sampling(names, asked)
    return executor(guider, sigmas, extra_args, *rest, **others)


def _prompt(region: Region, timed: TimedContext, guider: CFGGuider, sigmas: Tensor) -> _Prompt:
    noise_level = guider.inner_model.model_sampling.percent_to_sigma
    first = noise_level(timed.start) if timed.start > 0.0 else float("inf")
    last = noise_level(timed.end) if timed.end < 1.0 else 0.0
    return _Prompt(region, timed.context.to(sigmas.device), first, last)


def gather(queries: Tensor, keys: Tensor, values: Tensor, options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """An ``attn2_patch``: normed activations (rows, positions, channels), contexts (rows, tokens, width) for K and for V.

    Raises:
        CNSError: another node has changed rows, positions or contexts first.
    """
    sampling: _Sampling | None = options.get(_KEY)
    rows = sampling.rows(options) if sampling else []
    if not rows:
        return queries, keys, values
    count, _, height, width = options["activations_shape"]
    _check_shape(queries, count, height * width)
    if values is not keys:
        raise CNSError(
            "A node before Apply Regions, such as a hypernetwork or NegPip, changes keys and values of the prompt, but would "
            "miss those of the regions: put it after Apply Regions."
        )
    size = count // len(options["uuids"])
    contexts = [comfy.utils.repeat_to_batch_size(prompt.context, size) for _, prompt in rows]
    joined = stack_contexts([keys, *(context.to(keys) for context in contexts)])
    chunks = queries.split(size)
    queries = torch.cat([queries, *(chunks[chunk] for chunk, _ in rows)])
    # Other patches read here whose rows these are. The lists are ComfyUI's: replaced for this block, never changed.
    for name in ("cond_or_uncond", "uuids"):
        options[name] = [*options[name], *(options[name][chunk] for chunk, _ in rows)]
    options[_ROWS] = rows
    return queries, joined, joined


def attend(outputs: Tensor, options: Options) -> Tensor:
    """An ``attn2_output_patch``: (rows, positions, channels) with the regions' rows to (rows, positions, channels) without.

    Raises:
        CNSError: another node has added rows of its own.
    """
    rows: list[tuple[int, _Prompt]] | None = options.pop(_ROWS, None)
    if rows is None:
        return outputs
    for name in ("cond_or_uncond", "uuids"):
        options[name] = options[name][: -len(rows)]
    count, _, height, width = options["activations_shape"]
    size = count // len(options["uuids"])
    _check_shape(outputs, count + size * len(rows), height * width)
    chunks = list(outputs.split(size))
    bases, regions = chunks[: -len(rows)], chunks[-len(rows) :]
    for chunk, base in enumerate(bases):
        mine = [(prompt, output) for (row, prompt), output in zip(rows, regions, strict=True) if row == chunk]
        if mine:
            prompts, drawn = zip(*mine, strict=True)
            bases[chunk] = mixed(base, drawn, options[_KEY].shares(prompts, height, width, base))
    return torch.cat(bases)


def _check_shape(tensor: Tensor, rows: int, positions: int) -> None:
    """Raises CNSError where another node has changed the rows or positions of a cross-attention block."""
    if tensor.shape[:2] != (rows, positions):
        raise CNSError(
            f"Another node changed cross-attention from {rows} rows of {positions} positions to {tensor.shape[0]} of "
            f"{tensor.shape[1]}: another pack's regions do not work together with Apply Regions; use only one of the two."
        )
