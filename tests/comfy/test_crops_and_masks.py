"""Crops and masks on their way from a concept's images to its training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.latents import encode_concept, encode_images
from cns_pack.cns_core.config import TrainConfig
from cns_pack.cns_core.errors import CNSError


def config(**changes) -> TrainConfig:
    return TrainConfig(**{"resolution": 64, "steps": 3, **changes})


def marked(concept):
    """Each image is white where its mask is 1 and black elsewhere, so that its latents are its mask."""
    masks = []
    for number, image in enumerate(concept.images):
        mask = torch.zeros(image.shape[:2])
        mask[10 + number : 50, 5 : 30 + 5 * number] = 1
        masks.append(mask)
    images = tuple(mask.unsqueeze(-1).repeat(1, 1, 3) for mask in masks)
    return replace(concept, images=images, masks=tuple(masks))


def test_one_crop_without_masks_is_the_centre(studio, dog):
    latents, weights = encode_concept(studio.checkpoint, dog, config())
    assert weights is None
    assert torch.equal(latents, encode_images(studio.checkpoint, dog.images, 64))


@pytest.mark.parametrize("settings", [{"crops": 1}, {"crops": 6}, {"crops": 6, "flip": True, "seed": 4}])
def test_picture_and_mask_have_one_geometry(studio, dog, settings):
    given = config(**settings, outside_weight=0.25)
    latents, weights = encode_concept(studio.checkpoint, marked(dog), given)
    assert len(latents) == len(weights) == 3 * given.crops
    pixels = studio.checkpoint.model.model.process_latent_out(latents)[:, :1]  # the tiny VAE's latents are means of pixels
    assert torch.allclose(0.25 + 0.75 * pixels, weights, atol=1e-5)
    assert weights.min() < 0.3
    assert weights.max() > 0.95


def test_crops_differ_and_keep_the_order_of_images(studio, dog):
    colours = (0.1, 0.5, 0.9)
    plain = replace(dog, images=tuple(torch.full_like(image, value) for image, value in zip(dog.images, colours, strict=True)))
    latents, _ = encode_concept(studio.checkpoint, plain, config(crops=4))
    means = studio.checkpoint.model.model.process_latent_out(latents).mean(dim=(1, 2, 3))
    assert torch.allclose(means, torch.tensor(colours).repeat_interleave(4), atol=1e-5)
    latents, _ = encode_concept(studio.checkpoint, dog, config(crops=4))
    assert not any(torch.equal(latents[0], other) for other in latents[1:])


def test_a_training_with_crops_and_masks(studio, dog, dog_state):
    masked, _ = studio.teach(marked(dog), crops=2)
    unmasked, _ = studio.teach(replace(marked(dog), masks=()), crops=2)
    assert not torch.equal(masked.delta.values, unmasked.delta.values)
    everywhere, _ = studio.teach(marked(dog), crops=2, outside_weight=1.0)
    assert torch.allclose(everywhere.delta.values, unmasked.delta.values, atol=1e-5)
    assert masked.concepts[0].settings["crops"] == 2
    for changes in ({"crops": 2}, {"crops": 2, "flip": True}):
        assert not torch.equal(studio.teach(dog, **changes)[0].delta.values, dog_state.delta.values)


def test_every_crop_has_a_part_of_its_mask(studio, dog):
    """A wide picture of something at its edge: most crops would miss it, and a loss over nothing is no number."""
    image, mask = torch.zeros(64, 400, 3), torch.zeros(64, 400)
    mask[20:40, 380:] = 1
    wide = replace(dog, images=(image,), captions=dog.captions[:1], masks=(mask,))
    _, weights = encode_concept(studio.checkpoint, wide, config(crops=12, outside_weight=0.0))
    assert (weights.flatten(1).sum(1) > 0).all()
    with pytest.raises(CNSError, match="mask of image 1 marks nothing in the square that is cut from the image's centre"):
        encode_concept(studio.checkpoint, wide, config(outside_weight=0.0))


def test_the_preset_paper_takes_images_as_they_are():
    assert config(crops=6).with_preset("paper").crops == 1
    assert config(crops=6).with_preset("keep").crops == 6
