"""What the science's tests make short."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.science.variants import Variant


def short(variant: Variant) -> Variant:
    """Two steps with one image and one prior image."""
    return replace(variant.changed(variant.title, steps=2, batch_size=1), priors=1)
