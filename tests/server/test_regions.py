"""Region and Apply Regions on a real server, with the demo model and ComfyUI's own mask nodes."""

from __future__ import annotations

import numpy as np
import pytest

from demo.editor.canvas.parts import DEMO
from tests.support.graphs import Graph, pixels

SAMPLING = {"steps": DEMO.steps, "cfg": DEMO.cfg, "sampler_name": "dpmpp_2m", "scheduler": "karras", "pixels": DEMO.pixels}


def said(graph: Graph, clip: list, text: str) -> list:
    return [graph.add("CLIPTextEncode", clip=clip, text=text), 0]


def literal(value: object) -> dict:
    """A list in a prompt by API that is not a link."""
    return {"__value__": value}


def halves(graph: Graph) -> tuple[list, list]:
    """Masks of the left and the right half."""
    nothing = [graph.add("SolidMask", value=0.0, width=512, height=512), 0]
    half = [graph.add("SolidMask", value=1.0, width=256, height=512), 0]
    left = [graph.add("MaskComposite", destination=nothing, source=half, x=0, y=0, operation="add"), 0]
    return left, [graph.add("InvertMask", mask=left), 0]


def region(graph: Graph, conditioning: object, **inputs: object) -> list:
    settings = {"strength": 1.0, "width": 512, "height": 512, **inputs}
    return [graph.add("CNS_Region", conditioning=conditioning, **settings), 0]


def test_two_colours_side_by_side(server):
    """A prompt that has no colours, and two regions that do: each half gets its own. The base model draws it without them."""
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    left, right = halves(graph)
    first = region(graph, said(graph, clip, "a red star on red background"), mask=left)
    both = region(graph, said(graph, clip, "a blue star on blue background"), mask=right, regions=first)
    applied = [graph.add("CNS_ApplyRegions", model=model, regions=both), 0]
    models = {"regions": applied, "none": model}
    shown = {name: graph.show(graph.sample(used, clip, vae, "a star", **SAMPLING)) for name, used in models.items()}
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    picture = pixels(server, result, shown["regions"]).astype(float)
    red, blue = picture[..., 0] - picture[..., 2], picture[..., 2] - picture[..., 0]
    assert red[:, :56].mean() > 60
    assert blue[:, 72:].mean() > 60
    plain = pixels(server, result, shown["none"]).astype(float)
    assert np.abs(plain - picture).mean() > 20


def test_an_empty_region_is_the_same_picture(server):
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    nothing = [graph.add("SolidMask", value=0.0, width=64, height=64), 0]
    applied = [graph.add("CNS_ApplyRegions", model=model, regions=region(graph, said(graph, clip, "a cat"), mask=nothing)), 0]
    shown = [graph.show(graph.sample(one, clip, vae, "a red star", **SAMPLING)) for one in (model, applied)]
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    assert np.array_equal(*(pixels(server, result, node) for node in shown))


def test_boxes_are_a_mask(server):
    """The left half as a box and as a mask: the same picture."""
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    text = said(graph, clip, "a blue star on blue background")
    box = {"x": 0, "y": 0, "width": 512, "height": 1024}
    regions = region(graph, text, mask=halves(graph)[0]), region(graph, text, bboxes=literal([[box]]), width=1024, height=1024)
    shown = []
    for one in regions:
        applied = [graph.add("CNS_ApplyRegions", model=model, regions=one), 0]
        shown.append(graph.show(graph.sample(applied, clip, vae, "a red star on red background", **SAMPLING)))
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    assert np.array_equal(*(pixels(server, result, node) for node in shown))


def test_a_second_pass_after_an_upscale(server):
    """The same MODEL at 128 and at 192 x 256 pixels."""
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    text, empty = said(graph, clip, "a star"), said(graph, clip, "")
    chain = region(graph, said(graph, clip, "a red star on red background"), mask=halves(graph)[0])
    applied = [graph.add("CNS_ApplyRegions", model=model, regions=chain), 0]
    latent = [graph.add("EmptyLatentImage", width=128, height=128, batch_size=1), 0]
    common = {"model": applied, "positive": text, "negative": empty, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal"}
    first = [graph.add("KSampler", **common, latent_image=latent, seed=1, steps=4, denoise=1.0), 0]
    size = {"width": 192, "height": 256, "upscale_method": "bilinear", "crop": "disabled"}
    larger = [graph.add("LatentUpscale", samples=first, **size), 0]
    second = [graph.add("KSampler", **common, latent_image=larger, seed=2, steps=4, denoise=0.6), 0]
    shown = graph.show([graph.add("VAEDecode", samples=second, vae=vae), 0])
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    assert pixels(server, result, shown).shape == (256, 192, 3)


MISTAKES = {
    "nowhere": ({}, "Region needs to know where it is: wire a mask or bboxes, but not both."),
    "twice": (
        {"mask": "left", "bboxes": {"x": 0, "y": 0, "width": 9, "height": 9}},
        "wire a mask or bboxes, but not both.",
    ),
    "no box": ({"bboxes": literal([[0, 0, 5, 5]])}, "0 is not a bounding box: it needs x, y, width and height in pixels."),
    "elsewhere": (
        {"bboxes": {"x": 600, "y": 0, "width": 9, "height": 9}},
        "The bounding box of 9 x 9 pixels at 600, 0 is not on a canvas of 512 x 512: set width and height",
    ),
    "number": ({"mask": 3}, "mask got 3 instead of an output: wire a node there."),
    "json": ({"mask": "left", "conditioning": {"a": 1}}, "The conditioning wired into Region holds no prompt"),
    "list": ({"mask": "left", "conditioning": literal([[1, 2], 3])}, "The conditioning wired into Region holds no prompt"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(server, mistake):
    inputs, expected = MISTAKES[mistake]
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    inputs = {name: halves(graph)[0] if value == "left" else value for name, value in inputs.items()}
    chain = region(graph, inputs.pop("conditioning", None) or said(graph, clip, "a cat"), **inputs)
    applied = [graph.add("CNS_ApplyRegions", model=model, regions=chain), 0]
    graph.show(graph.sample(applied, clip, vae, "a star"))
    result = server.run(graph.prompt)
    assert result.error is not None
    assert result.error["exception_type"].endswith("CNSError"), result.error
    assert expected in result.error["exception_message"]


def test_a_mask_on_the_prompt_of_a_region_is_refused_with_the_way_out(server):
    graph = Graph(server)
    model, clip, vae = graph.demo_model()
    left, _ = halves(graph)
    masked = graph.add(
        "ConditioningSetMask", conditioning=said(graph, clip, "a cat"), mask=left, strength=1.0, set_cond_area="default"
    )
    applied = [graph.add("CNS_ApplyRegions", model=model, regions=region(graph, [masked, 0], mask=left)), 0]
    graph.show(graph.sample(applied, clip, vae, "a star"))
    message = server.run(graph.prompt).error["exception_message"].strip()
    assert message == (
        "The conditioning wired into Region carries 'mask', which a region cannot have: wire the prompt in without "
        "Conditioning Set Mask and give that mask to the region."
    )
