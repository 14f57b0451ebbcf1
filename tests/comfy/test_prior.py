"""Class prior images and their prompts, as folders and widgets give them."""

from __future__ import annotations

import pytest
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.latents import encode_images, single_images
from cns_pack.cns_core.comfy_adapter.prior import Prior
from cns_pack.cns_core.errors import CNSError

DEFAULT = "photo of a dog"


@pytest.mark.parametrize(
    ("given", "prompts"),
    [
        (["", "a dog on grass", "", ""], [DEFAULT, "a dog on grass", DEFAULT, DEFAULT]),  # one .txt file beside four pictures
        (["\na dog on grass\n\n"], [DEFAULT, "a dog on grass", DEFAULT, DEFAULT]),  # the same as one text
        (["a dog on grass"], ["a dog on grass"] * 4),
        (["a dog on grass\n"], ["a dog on grass"] * 4),
        (["one\n\ntwo\nthree\n\nfour\n"], ["one", "two", "three", "four"]),
        (["one ", "t  w\no", "three", "four"], ["one", "t w o", "three", "four"]),
        ([""], [DEFAULT] * 4),
        (["", "", "", ""], [DEFAULT] * 4),
        ([], [DEFAULT] * 4),
    ],
)
def test_a_prompt_for_each_image(given, prompts):
    images = [torch.zeros(8, 8, 3)] * 4
    assert Prior.of(images, given, "dog").prompts == tuple(prompts)


def test_a_noun_is_plain_text_and_prompts_are_not():
    prompts = Prior.of([torch.zeros(8, 8, 3)] * 2, ["a (small:1.2) saber", ""], "saber (fate)").prompts
    assert prompts == ("a (small:1.2) saber", "photo of a saber \\(fate\\)")


@pytest.mark.parametrize("given", [["one\ntwo"], ["one", "two"], ["one", ""]])
def test_fewer_prompts_than_images(given):
    with pytest.raises(CNSError, match="2 prior prompts for 4 prior images: give one for all, or one per line for each image"):
        Prior.of([torch.zeros(8, 8, 3)] * 4, given, "dog")


def test_prior_images_are_not_copied():
    """1,500 pictures are 5 GB; a second copy of them, or one in twice the precision, is what a computer has not."""
    batch = torch.rand(3, 8, 8, 3, dtype=torch.float16)
    prior = Prior.of(single_images([batch]), [], "dog")
    assert [image.data_ptr() for image in prior.images] == [batch[index].data_ptr() for index in range(3)]
    assert {image.dtype for image in prior.images} == {torch.float16}


def test_latents_of_half_precision_images(studio):
    image = torch.full((64, 64, 3), 0.5, dtype=torch.float16)
    half, whole = (encode_images(studio.checkpoint, [images], 64) for images in (image, image.float()))
    assert torch.equal(half, whole)
