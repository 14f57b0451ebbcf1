"""Regions in a real UNet, beside real guiders and nodes: against attention written out, and what must change nothing."""

from __future__ import annotations

from functools import partial

import comfy.model_management as memory
import comfy.sample
import comfy.samplers
import node_helpers
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.comfy_adapter.regions.apply import apply_regions
from cns_pack.cns_core.comfy_adapter.regions.region import Region, mask_of_bounding_boxes
from cns_pack.cns_core.errors import CNSError
from comfy.cldm.cldm import ControlNet as ControlModel
from comfy.controlnet import ControlNet
from comfy_extras.nodes_custom_sampler import Guider_DualCFG
from comfy_extras.nodes_hypernetwork import load_hypernetwork_patch
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_perpneg import Guider_PerpNeg
from comfy_extras.nodes_sag import SelfAttentionGuidance
from comfy_extras.nodes_tomesd import TomePatchModel

import nodes as comfy_nodes
from demo.training.random_checkpoint import fill
from tests.support.loading import diff_patch, load
from tests.support.tiny_models import UNET_CONFIG

HEIGHT, WIDTH = 6, 10  # of the latents; the second level of the tiny UNet has 3 x 5
LEVELS = {HEIGHT * WIDTH: (HEIGHT, WIDTH), HEIGHT * WIDTH // 4: (HEIGHT // 2, WIDTH // 2)}
EVERYWHERE = torch.ones(1, 48, 80)
LONG, LONGER = "a dog on grass, " * 20, "a dog on grass, " * 35  # 154 and 231 tokens


def left_and_right() -> tuple[torch.Tensor, torch.Tensor]:
    """Halves with a soft seam, which overlap in the middle and leave the lowest quarter free."""
    left = torch.zeros(1, 48, 80)
    left[:, :36, :40], left[:, :36, 40:56] = 1.0, 0.5
    right = torch.zeros(1, 48, 80)
    right[:, :36, 32:] = 1.0
    return left, right


@pytest.fixture(scope="module")
def said(studio):
    """Conditioning of a text."""

    def encode(text: str) -> list:
        with torch.inference_mode():
            return studio.clip.encode_from_tokens_scheduled(studio.clip.tokenize(text))

    return encode


@torch.inference_mode()
def drawn(model, positive, negative, batch=1, size=(HEIGHT, WIDTH), guide="cfg", steps=2, callback=None) -> torch.Tensor:
    """Latents (batch, 4, height, width), sampled as the nodes of ComfyUI do it."""
    noise = torch.randn(batch, 4, *size, generator=torch.Generator().manual_seed(3))
    empty = [[torch.zeros_like(negative[0][0]), {}]]
    if guide == "dual":
        guider = Guider_DualCFG(model)
        guider.set_conds(positive, empty, negative)
        guider.set_cfg(4.0, 1.5)
    elif guide == "perp":
        guider = Guider_PerpNeg(model)
        guider.set_conds(positive, negative, empty)
        guider.set_cfg(4.0, 1.5)
    else:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(4.0)
    sampler = comfy.samplers.KSampler(model, steps, model.load_device, "euler", "normal")
    return guider.sample(
        noise, torch.zeros_like(noise), comfy.samplers.sampler_object("euler"), sampler.sigmas, None, callback, True, 0
    )


def attention(module, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Cross-attention of one picture, (positions, channels), with the softmax written out."""
    projected = (module.to_q(x), module.to_k(context), module.to_v(context))
    q, k, v = (part.unflatten(-1, (module.heads, module.dim_head)) for part in projected)
    scores = torch.einsum("qhd,khd->hqk", q, k) / module.dim_head**0.5
    exponentials = (scores - scores.amax(-1, keepdim=True)).exp()
    out = torch.einsum("hqk,khd->qhd", exponentials / exponentials.sum(-1, keepdim=True), v)
    return module.to_out(out.flatten(-2))


def with_regions(module, asked: dict, x, context, value=None, mask=None, transformer_options=None) -> torch.Tensor:
    """A cross-attention block in which each row looks up by its own text which regions it has.

    ``asked``: the key of a text, to its regions' (text features, mask (b, 48, 80), strength).
    """
    height, width = LEVELS[x.shape[1]]
    rows = []
    for number, (one, text) in enumerate(zip(x, context, strict=True)):
        regions = asked.get(tuple(text[5].tolist()), ())
        covered = [
            mask[number % len(mask)].reshape(height, 48 // height, width, 80 // width).mean((1, 3)).view(-1, 1)
            for _, mask, _ in regions
        ]
        total = sum(covered, torch.zeros(height * width, 1)).clamp(min=1.0)
        out = base = attention(module, one, text)
        for (features, _, strength), cover in zip(regions, covered, strict=True):
            out = out + strength * cover / total * (attention(module, one, features) - base)
        rows.append(out)
    return torch.stack(rows)


def expected(monkeypatch, model, asked: dict, *arguments, **settings) -> torch.Tensor:
    """Latents of a UNet whose cross-attention is :func:`with_regions`."""
    with monkeypatch.context() as patched:
        for module in model.model.diffusion_model.modules():
            if hasattr(module, "attn2"):
                patched.setattr(module.attn2, "forward", partial(with_regions, module.attn2, asked))
        return drawn(model, *arguments, **settings)


def key(conditioning: list) -> tuple:
    """A text's sixth token, by which its rows are known."""
    return tuple(conditioning[0][0][0, 5].tolist())


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return bool((a - b).abs().max() <= tolerance * b.abs().max())


def unchanged(model):
    return model


def sag(model):
    return SelfAttentionGuidance.execute(model, 0.7, 2.0).args[0]


def pag(model):
    return PerturbedAttentionGuidance.execute(model, 3.0).args[0]


GUIDANCE = {
    "cfg": ("cfg", unchanged),
    "dual": ("dual", unchanged),
    "perp": ("perp", unchanged),
    "sag": ("cfg", sag),
    "pag": ("cfg", pag),
}


@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize("negative_too", [False, True])
def test_equals_attention_written_out(studio, said, monkeypatch, guidance, negative_too):
    """Two overlapping regions with soft edges, texts of three lengths, two pictures; every guider asks in its own way."""
    guide, other_node = GUIDANCE[guidance]
    base, negative = said(LONG + "two dogs"), said("blurry")
    texts, not_there = (said("a brown dog"), said(LONGER)), (said("a cat"), said("a bird"))
    masks, strengths = left_and_right(), (1.0, 0.7)
    asked = {key(base): [(text[0][0][0], *rest) for text, *rest in zip(texts, masks, strengths, strict=True)]}
    if negative_too:
        asked[key(negative)] = [(text[0][0][0], *rest) for text, *rest in zip(not_there, masks, strengths, strict=True)]
    negatives = not_there if negative_too else (None, None)
    regions = tuple(Region.of(*all_four) for all_four in zip(texts, negatives, masks, strengths, strict=True))
    settings = {"batch": 2, "guide": guide}
    wanted = expected(monkeypatch, other_node(studio.model), asked, base, negative, **settings)
    assert close(drawn(other_node(apply_regions(studio.model, regions)), base, negative, **settings), wanted)
    assert close(drawn(apply_regions(other_node(studio.model), regions), base, negative, **settings), wanted)
    assert not close(drawn(other_node(studio.model), base, negative, **settings), wanted, 1e-3)


def test_each_picture_of_a_batch_can_have_its_own_mask(studio, said, monkeypatch):
    masks = torch.cat(left_and_right())
    base, negative, text = said("two dogs"), said(""), said("a brown dog")
    model = apply_regions(studio.model, (Region.of(text, None, masks, 1.0),))
    wanted = expected(monkeypatch, studio.model, {key(base): [(text[0][0][0], masks, 1.0)]}, base, negative, batch=2)
    assert close(drawn(model, base, negative, batch=2), wanted)


def test_several_prompts_of_one_region_share_its_part(studio, said, monkeypatch):
    """As Conditioning Combine joins them: the mean of both, under a soft mask too."""
    base, negative, texts, mask = said("two dogs"), said(""), (said("a cat"), said("a bird")), 0.5 * EVERYWHERE
    model = apply_regions(studio.model, (Region.of([*texts[0], *texts[1]], None, mask, 1.0),))
    asked = {key(base): [(text[0][0][0], 0.5 * mask, 1.0) for text in texts]}
    assert close(drawn(model, base, negative), expected(monkeypatch, studio.model, asked, base, negative))


@pytest.mark.parametrize("size", [(8, 8), (6, 10), (5, 9), (7, 3)])
@pytest.mark.parametrize("text", ["a dog on grass", LONG])
def test_one_region_with_the_prompt_of_the_picture_changes_nothing(studio, said, size, text):
    """Sizes whose levels are rounded up, too. Not bit for bit: the matrix products have more rows."""
    base, negative = said(text), said("")
    plain = drawn(studio.model, base, negative, size=size, batch=2)
    model = apply_regions(studio.model, (Region.of(base, None, EVERYWHERE, 1.0),))
    assert close(drawn(model, base, negative, size=size, batch=2), plain, 1e-6)


@pytest.mark.parametrize(("mask", "strength"), [(torch.zeros(1, 8, 8), 1.0), (EVERYWHERE, 0.0)])
def test_a_region_that_does_nothing_patches_nothing(studio, said, mask, strength):
    base, negative = said("a dog"), said("")
    model = apply_regions(studio.model, (Region.of(said("a cat"), None, mask, strength),))
    assert model.model_options == studio.model.model_options
    assert torch.equal(drawn(model, base, negative), drawn(studio.model, base, negative))


def test_a_model_with_regions_leaves_the_one_it_was_made_of_alone(studio, said):
    base, negative = said("a dog"), said("")
    before = drawn(studio.model, base, negative)
    regional = apply_regions(studio.model, (Region.of(said("a cat"), None, EVERYWHERE, 1.0),))
    assert not close(drawn(regional, base, negative), before, 1e-3)
    assert torch.equal(drawn(studio.model, base, negative), before)


def test_a_second_pass_of_another_size(studio, said):
    """One MODEL for a first pass and a larger second one, then the first again."""
    base, negative, text = said("a dog"), said(""), said("a cat")
    model = apply_regions(studio.model, (Region.of(text, None, left_and_right()[0], 1.0),))
    first = drawn(model, base, negative)
    second = drawn(model, base, negative, size=(12, 20))
    assert torch.equal(drawn(model, base, negative), first)
    fresh = apply_regions(studio.model, (Region.of(text, None, left_and_right()[0], 1.0),))
    assert torch.equal(drawn(fresh, base, negative, size=(12, 20)), second)


def test_activations_that_another_node_shrinks(studio, said):
    """Kohya's Deep Shrink: inside the UNet there are sizes that no division of the latents gives."""
    base, negative = said("a dog"), said("")
    shrunk = PatchModelAddDownscale.execute(studio.model, 1, 1.7, 0.0, 1.0, True, "bicubic", "bicubic").args[0]
    plain = drawn(shrunk, base, negative, size=(12, 20))
    assert not close(plain, drawn(studio.model, base, negative, size=(12, 20)), 1e-3)
    model = apply_regions(shrunk, (Region.of(base, None, EVERYWHERE, 1.0),))
    assert close(drawn(model, base, negative, size=(12, 20)), plain, 1e-6)


def test_a_control_net(studio, said):
    """It acts on the whole picture, and is no worse for the rows of the regions, which it does not get."""
    with torch.inference_mode():
        shape = {name: value for name, value in UNET_CONFIG.items() if name not in ("out_channels", "transformer_depth_output")}
        network = ControlModel(**shape, hint_channels=3, num_heads=8)
        fill(network, 5)
    control = ControlNet(network, load_device=torch.device("cpu"))
    hint = torch.rand(1, 48, 80, 3, generator=torch.Generator().manual_seed(0))
    base, negative = comfy_nodes.ControlNetApplyAdvanced().apply_controlnet(
        said("a dog"), said(""), control, hint, 1.0, 0.0, 1.0
    )
    plain = drawn(studio.model, base, negative)
    assert not close(plain, drawn(studio.model, said("a dog"), said("")), 1e-3)
    same = apply_regions(studio.model, (Region.of(said("a dog"), None, EVERYWHERE, 1.0),))
    assert close(drawn(same, base, negative), plain)
    other = apply_regions(studio.model, (Region.of(said("a cat"), None, left_and_right()[0], 1.0),))
    assert not close(drawn(other, base, negative), plain, 1e-3)


def test_merged_tokens_of_self_attention(studio, said):
    base, negative = said("a dog"), said("")
    merged = TomePatchModel.execute(studio.model, 0.5).args[0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = drawn(merged, base, negative, size=(8, 8))
        torch.manual_seed(0)
        model = apply_regions(merged, (Region.of(base, None, EVERYWHERE, 1.0),))
        assert close(drawn(model, base, negative, size=(8, 8)), plain, 1e-5)


def test_other_patches_see_whose_rows_they_get(studio, said):
    """An adapter adds its own attention row by row, by what ``cond_or_uncond`` says: the regions' rows must be in there."""
    seen = []

    def adapter(q, k, v, options):
        chunks = options["cond_or_uncond"]
        assert len(options["uuids"]) == len(chunks)
        seen.append((len(q) // len(chunks), tuple(chunks)))
        signs = torch.tensor([1.0 if chunk == 0 else -1.0 for chunk in chunks]).repeat_interleave(len(q) // len(chunks))
        return 0.3 * signs.view(-1, 1, 1) * q

    base, negative = said("two dogs"), said("")
    for number in (1, 2):
        model = apply_regions(studio.model, tuple(Region.of(base, None, mask, 1.0) for mask in left_and_right()[:number]))
        plain = studio.model.clone()
        for patched in (model, plain):
            patched.set_model_attn2_replace(adapter, "middle", 0)
        assert close(drawn(model, base, negative, batch=2), drawn(plain, base, negative, batch=2))
        assert seen[0][0] == 2
        assert [chunks.count(0) for _, chunks in seen[:2]] == [1 + number] * 2
        seen.clear()


def test_a_hypernetwork_after_the_regions(studio, said, tmp_path):
    """It changes K's and V's context apart: each region goes through it as the whole picture does."""
    generator = torch.Generator().manual_seed(0)
    layers = [{"linear.weight": torch.randn(64, 64, generator=generator) / 16, "linear.bias": torch.zeros(64)} for _ in "kv"]
    torch.save({64: layers, "activation_func": "linear"}, tmp_path / "hypernetwork.pt")
    base, negative = said("a dog"), said("")

    def with_hypernetwork(model):
        patched = model.clone()
        patched.set_model_attn2_patch(load_hypernetwork_patch(str(tmp_path / "hypernetwork.pt"), 1.0))
        return patched

    plain = drawn(with_hypernetwork(studio.model), base, negative)
    assert not close(plain, drawn(studio.model, base, negative), 1e-3)
    regions = (Region.of(base, None, EVERYWHERE, 1.0),)
    assert close(drawn(with_hypernetwork(apply_regions(studio.model, regions)), base, negative), plain, 1e-6)
    with pytest.raises(CNSError, match="such as a hypernetwork or NegPip, changes keys and values of the prompt"):
        drawn(apply_regions(with_hypernetwork(studio.model), regions), base, negative)


def test_a_lora_before_or_after(studio, said):
    patch = diff_patch(studio, 0.05)[1]
    region = Region.of(said("a cat"), None, left_and_right()[0], 1.0)
    first = studio.model.clone()
    first.add_patches(patch)
    before = drawn(apply_regions(first, (region,)), said("a dog"), said(""))
    regional = apply_regions(studio.model, (region,))
    plain = drawn(regional, said("a dog"), said(""))
    after = regional.clone()
    after.add_patches(patch)
    assert torch.equal(drawn(after, said("a dog"), said("")), before)
    assert not close(before, plain, 1e-4)
    load([studio.model])


def test_a_state_in_place_patched_and_with_little_memory(studio, said, two_state):
    """The three ways a state is in the weights draw the same picture."""
    regions = (Region.of(said("a cat"), None, left_and_right()[0], 1.0),)
    base, negative = said("a dog"), said("")
    with torch.inference_mode():
        in_place, _ = apply_state(studio.checkpoint, two_state, 1.0)
        ordinary = in_place.clone()
        ordinary.become_ordinary()
    plain = drawn(apply_regions(studio.model, regions), base, negative)
    written = drawn(apply_regions(in_place, regions), base, negative)
    assert not close(written, plain, 1e-4)
    assert close(drawn(apply_regions(ordinary, regions), base, negative), written, 1e-6)
    low = apply_regions(in_place, regions)
    load([low])
    with torch.inference_mode():
        low.partially_unload(low.offload_device, studio.model.model_size() // 2)
    assert low.model.model_lowvram
    assert torch.equal(drawn(low, base, negative), written)
    load([studio.model])
    assert torch.equal(drawn(apply_regions(studio.model, regions), base, negative), plain)


def test_cancel_leaves_nothing(studio, said):
    base, negative = said("a dog"), said("")
    model = apply_regions(studio.model, (Region.of(said("a cat"), None, EVERYWHERE, 1.0),))
    before, regional, weights = drawn(studio.model, base, negative), drawn(model, base, negative), studio.weights()

    def cancel(*_):
        memory.interrupt_current_processing()
        memory.throw_exception_if_processing_interrupted()

    with pytest.raises(memory.InterruptProcessingException):
        drawn(model, base, negative, callback=cancel)
    assert torch.equal(drawn(studio.model, base, negative), before)
    assert torch.equal(drawn(model, base, negative), regional)
    assert all(torch.equal(value, weights[name]) for name, value in studio.weights().items())


def test_a_region_for_a_part_of_the_sampling(studio, said):
    """As Conditioning Set Timestep Range limits it; a prompt with a schedule is one entry for each part."""
    base, negative, cat = said("a dog"), said(""), said("a cat")

    def regional(*parts):
        entries = [[cat[0][0], {**cat[0][1], "start_percent": start, "end_percent": end}] for start, end in parts]
        return drawn(apply_regions(studio.model, (Region.of(entries, None, EVERYWHERE, 1.0),)), base, negative, steps=4)

    whole, never = regional((0.0, 1.0)), drawn(studio.model, base, negative, steps=4)
    assert torch.equal(regional((0.0, 0.5), (0.501, 1.0)), whole)
    assert not close(regional((0.0, 0.5)), whole, 1e-3)
    assert not close(regional((0.0, 0.5)), never, 1e-3)
    assert not close(regional((0.0, 0.5)), regional((0.5, 1.0)), 1e-3)
    assert torch.equal(regional((1.0, 1.0)), never)


def test_boxes_as_their_nodes_give_them():
    """One box, a list of them, and a list for each frame."""
    box, other = {"x": 0, "y": 0, "width": 256, "height": 512}, {"x": 500, "y": 0, "width": 12, "height": 512}
    assert mask_of_bounding_boxes(box, 512, 512).mean() == 0.5
    assert mask_of_bounding_boxes([box, other], 512, 512).mean() == pytest.approx(268 / 512)
    assert torch.equal(mask_of_bounding_boxes([[box, other]], 512, 512), mask_of_bounding_boxes([box, other], 512, 512))


@pytest.mark.parametrize("boxes", [{"x": 0, "y": 0, "w": 5, "h": 5}, "0 0 5 5", [[1, 2, 3, 4]], {**dict.fromkeys("xy", 0.0)}])
def test_what_is_no_box_is_refused(boxes):
    with pytest.raises(CNSError, match="is not a bounding box: it needs x, y, width and height in pixels"):
        mask_of_bounding_boxes(boxes, 512, 512)


@pytest.mark.parametrize("carried", ["area", "mask", "strength", "control", "gligen", "hooks"])
def test_conditioning_that_is_more_than_a_prompt_is_refused(said, carried):
    more = node_helpers.conditioning_set_values(said("a dog"), {carried: EVERYWHERE})
    with pytest.raises(CNSError, match=f"The conditioning wired into Region carries '{carried}', which a region cannot have: "):
        Region.of(more, None, EVERYWHERE, 1.0)
    with pytest.raises(CNSError, match="The negative wired into Region carries"):
        Region.of(said("a dog"), more, EVERYWHERE, 1.0)


def test_an_area_on_the_prompt_of_the_picture_is_refused(studio, said):
    model = apply_regions(studio.model, (Region.of(said("a cat"), None, EVERYWHERE, 1.0),))
    limited = node_helpers.conditioning_set_values(said("a dog"), {"area": (3, 5, 0, 0), "set_area_to_bounds": False})
    with pytest.raises(CNSError, match="The sampler's positive prompt is limited to an area"):
        drawn(model, limited, said(""))


def test_regions_are_applied_once(studio, said):
    regions = (Region.of(said("a cat"), None, EVERYWHERE, 1.0),)
    with pytest.raises(CNSError, match="already has regions: chain all Region nodes and use one Apply Regions"):
        apply_regions(apply_regions(studio.model, regions).clone(), regions)


def test_prompts_of_another_text_encoder_are_refused(studio, said):
    wide = Region.of([[torch.zeros(1, 77, 768), {}]], None, EVERYWHERE, 1.0)
    with pytest.raises(CNSError, match="The prompt of region 2 has 768 features per token, but the MODEL reads 64"):
        apply_regions(studio.model, (Region.of(said("a cat"), None, EVERYWHERE, 1.0), wide))


def test_two_packs_in_one_cross_attention_are_refused(studio, said):
    """Whoever repeats the rows without a word in ``cond_or_uncond``, before or after: no weighing can be right."""

    def with_another_pack(model):
        other = model.clone()
        other.set_model_attn2_patch(lambda q, k, v, options: (q.repeat(2, 1, 1), k.repeat(2, 1, 1), v.repeat(2, 1, 1)))
        return other

    regions = (Region.of(said("a cat"), None, EVERYWHERE, 1.0),)
    with pytest.raises(CNSError, match="Another node changed cross-attention from 2 rows of 60 positions to 4 of 60"):
        drawn(apply_regions(with_another_pack(studio.model), regions), said("a dog"), said(""))
    with pytest.raises(CNSError, match="Another node changed cross-attention from 3 rows of 60 positions to 6 of 60"):
        drawn(with_another_pack(apply_regions(studio.model, regions)), said("a dog"), said(""))
