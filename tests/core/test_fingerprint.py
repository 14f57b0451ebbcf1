"""Fingerprints: what they forgive (rounding), what they do not (another checkpoint, text encoder, CLIP skip), what they say."""

from __future__ import annotations

import pytest
import torch
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.fingerprint import Fingerprint, Projections

FLOATS = [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]


def matrices(seed: int, std: float = 0.04) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [std * torch.randn(64, 96, generator=generator) for _ in range(8)]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("std", [0.04, 0.01])  # below 1/64 float8_e4m3fn's steps get no finer
def test_rounding_is_forgiven(dtype, std):
    weights = matrices(0, std)
    full, rounded = Projections.of(weights), Projections.of([weight.to(dtype) for weight in weights])
    assert full.matches(rounded)
    assert rounded.matches(full)


def test_digits_are_the_same_in_16_bits():
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(320, 768, generator=generator) for _ in range(12)]
    full, half = Projections.of(weights), Projections.of([weight.half() for weight in weights])
    tuned = Projections.of([weight + 0.5 * torch.randn(320, 768, generator=generator) for weight in weights])
    assert full.short == half.short != tuned.short
    assert len(full.short) == 12


@pytest.mark.parametrize("change", [0.01, 1.0])
def test_a_fine_tune_is_told_apart_by_how_far_it_moved(change):
    weights = matrices(0)
    tuned = [weight + change * noise for weight, noise in zip(weights, matrices(1), strict=True)]
    ours, theirs = Projections.of(weights), Projections.of(tuned)
    assert ours.distance(theirs) == pytest.approx(change, rel=0.5)
    assert not ours.matches(theirs)


def of(kv: float = 1.0, text: float | None = 1.0, skip: int | None = 1, name: str = "") -> Fingerprint:
    """Projections that differ by the difference of the numbers given."""
    return Fingerprint(Projections((kv,) * 4, 2**-10), None if text is None else Projections((text,) * 6, 2**-10), skip, name)


def refusal(wired_in: Fingerprint, other: Fingerprint, remedy: str = "") -> str:
    with pytest.raises(CNSError) as error:
        wired_in.check_same(other, "The state", remedy)
    return str(error.value)


def test_the_same():
    of().check_same(of(name="dreams.safetensors"), "The state")


def test_other_kv_weights():
    message = refusal(of(kv=1.05), of(name="dreams.safetensors"))
    assert message == (
        "The state was made for the checkpoint with fingerprint dreams.safetensors (f00000000000), but the one it is used with "
        "has fingerprint f00000000000 (K/V weights differ by 5.0%): load dreams.safetensors."
    )
    assert refusal(of(kv=1.05), of()).endswith(": load the checkpoint it was made for (ask whoever made it).")
    assert refusal(of(kv=1.05), of(), "do that").endswith(": do that.")


def test_other_text_encoder():
    assert refusal(of(text=-1.0), of(name="dreams.safetensors")) == (
        "The state was made with the text encoder fc0000000000, but the CLIP wired in has 000000000000 (weights differ by "
        "200.0%): wire the CLIP of dreams.safetensors."
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "remedy"),
    [
        (1, 2, "put CLIP Set Last Layer with stop_at_clip_layer -2 right after the loader"),
        (2, 1, "take out CLIP Set Last Layer, or set its stop_at_clip_layer to -1"),
    ],
)
def test_other_clip_skip(ours, theirs, remedy):
    expected = f"The state was made with CLIP skip {theirs}, but the CLIP wired in has CLIP skip {ours}: {remedy}."
    assert refusal(of(skip=ours), of(skip=theirs)) == expected


def test_everything_that_differs_is_named_at_once():
    message = refusal(of(kv=1.05, text=1.5), of(skip=2, name="dreams.safetensors"))
    assert "K/V weights differ by 5.0%" in message
    assert "(weights differ by 50.0%)" in message
    assert "CLIP skip 2, but the CLIP wired in has CLIP skip 1" in message
    assert message.endswith(
        ": load dreams.safetensors and put CLIP Set Last Layer with stop_at_clip_layer -2 right after the loader."
    )


def test_what_is_not_recorded_matches_and_is_completed():
    older = of(text=None, skip=None, name="dreams.safetensors")
    of(text=3.0, skip=2).check_same(older, "The state")
    assert older.unrecorded == "text encoder and CLIP skip"
    whole = older.completed(of(text=3.0, skip=2))
    assert (whole.text, whole.clip_skip, whole.name) == (of(text=3.0).text, 2, "dreams.safetensors")
    assert whole.unrecorded == ""
    assert whole.completed(of(text=4.0, skip=1)) == whole
    assert refusal(of(kv=1.05), older).startswith("The state was made for the checkpoint")
