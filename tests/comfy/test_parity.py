"""One training step against plain autograd, against diffusers, and against ComfyUI's own prediction."""

from __future__ import annotations

import logging

import pytest
import torch
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import pretrained_kv
from cns_pack.cns_core.comfy_adapter.checkpoint.normal_tensors import normal_tensors, out_of_place_norms
from cns_pack.cns_core.comfy_adapter.checkpoint.prompt_encoder import PromptEncoder
from cns_pack.cns_core.comfy_adapter.checkpoint.tokens import initial_vectors
from cns_pack.cns_core.kv_layers import KVLayout, find_kv_modules, layout_of
from cns_pack.cns_core.masks import NeuronMask
from cns_pack.cns_core.sparse_delta import SparseDelta
from cns_pack.cns_core.training.batches import TrainingSet, draw_batch, stack_contexts
from cns_pack.cns_core.training.checkpointing import checkpointed
from cns_pack.cns_core.training.objective import concept_loss
from cns_pack.cns_core.training.previous_term import PreviousTerm
from cns_pack.cns_core.training.trainable_kv import TrainableKV
from torch.nn.functional import mse_loss

from tests.support.parity import REFERENCE, comfy_to_diffusers_names, diffusers_unet
from tests.support.tiny_models import WIDTH, tiny_clip, tiny_model

logger = logging.getLogger(__name__)


def random_mask(layout: KVLayout, share: float, seed: int) -> NeuronMask:
    return NeuronMask.from_flat(
        layout, (torch.rand(layout.size, generator=torch.Generator().manual_seed(seed)) < share).numpy()
    )


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).detach().norm() / theirs.detach().norm().clamp_min(1e-20))


@pytest.fixture(scope="module")
def step():
    """A second concept's step with everything on: two instances, two priors, L_reg, previous delta."""
    model = tiny_model()
    weights = {name: weight.clone() for name, weight in pretrained_kv(model).items()}
    layout = layout_of(weights)
    generator = torch.Generator().manual_seed(0)
    earlier, mask = random_mask(layout, 0.2, 1), random_mask(layout, 0.1, 2)
    previous = SparseDelta(earlier, torch.randn(earlier.count, generator=generator) * 0.01)
    data = TrainingSet(
        torch.randn(3, 4, 8, 8, generator=generator),
        [("a",), ("b",), ("c",)],
        torch.randn(2, 4, 8, 8, generator=generator),
        tuple(torch.randn(1, 77, WIDTH, generator=generator) for _ in range(2)),
        (0, 1),
    )
    alphas = (1 / (model.model.model_sampling.sigmas**2 + 1)).clone()
    batch = draw_batch(data, alphas, 2, True, torch.Generator().manual_seed(3))
    context = torch.randn(2, 77, WIDTH, generator=generator)
    priors = [data.prior_contexts[data.prior_prompts[i]] for i in batch.priors]
    return model, weights, layout, mask, earlier, previous, batch, context, priors


def predict(model, batch, contexts):
    return model.model.diffusion_model(batch.noisy, batch.timesteps.float(), context=contexts, transformer_options={})


def our_step(step, checkpointing: bool):
    model, weights, _, mask, earlier, previous, batch, context, priors = step
    unet = model.model.diffusion_model
    with normal_tensors(model.model), checkpointed(unet, checkpointing):
        kv = TrainableKV(weights, mask, previous, torch.device("cpu"))
        kv.delta.data += 0.001  # away from the previous state, so that L_reg has a gradient
        kv.write_weights()
        token_side = context.clone().requires_grad_()
        shared = torch.from_numpy((mask & earlier).flat()[mask.indices.numpy()]).nonzero().squeeze(1)
        with kv.installed_in(unet):
            kv.zero_gradient()
            predicted = predict(model, batch, stack_contexts([token_side, *priors]))
            keeping = PreviousTerm(kv, shared, 0.7, 0.2, neuron_lr=0.01)()
            losses = concept_loss(predicted, batch.noise, 2, 0.5, keeping)
            losses.total.backward()
            kv.collect_gradient()
        return losses.detached(), kv.delta.grad.clone(), token_side.grad.clone()


def reference_step(step):
    """The same loss written densely: every K/V weight a leaf, ordinary autograd."""
    model, weights, layout, mask, earlier, previous, batch, context, priors = step
    unet = model.model.diffusion_model
    with normal_tensors(model.model):
        previous_delta, in_mask, in_reg = previous.flat(), mask.flat(), (mask & earlier).flat()
        moved = torch.from_numpy(in_mask).float() * 0.001
        leaves = {}
        for layer in layout.layers:
            weight = weights[layer.name] + (previous_delta + moved)[layer.span].view_as(weights[layer.name])
            leaves[layer.name] = torch.nn.Parameter(weight)
        modules = find_kv_modules(unet)
        originals = {name: module.weight for name, module in modules.items()}
        for name, module in modules.items():
            module.weight = leaves[name]
        try:
            token_side = context.clone().requires_grad_()
            predicted = predict(model, batch, torch.cat([token_side, *priors]))
        finally:
            for name, module in modules.items():
                module.weight = originals[name]
        loss = mse_loss(predicted[:2], batch.noise[:2]) + 0.5 * mse_loss(predicted[2:], batch.noise[2:])
        for layer in layout.layers:
            reg = torch.from_numpy(in_reg[layer.span]).view_as(leaves[layer.name])
            before = weights[layer.name] + previous_delta[layer.span].view_as(weights[layer.name])
            loss = loss + 0.7 * ((leaves[layer.name] - before) * reg).square().sum()
            loss = loss + 0.2 * ((leaves[layer.name] - weights[layer.name]) * reg).square().sum()
        loss.backward()
        dense = torch.cat([leaves[layer.name].grad.flatten() for layer in layout.layers])
        return loss.detach(), dense[mask.indices], token_side.grad.clone()


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointed"])
def test_step_equals_dense_autograd(step, checkpointing):
    losses, neurons, token = our_step(step, checkpointing)
    reference, dense_neurons, dense_token = reference_step(step)
    assert float(losses[3]) == pytest.approx(float(reference), rel=1e-5)
    assert losses[:3].min() > 0
    figures = {"neuron gradient": relative(neurons, dense_neurons), "context gradient": relative(token, dense_token)}
    logger.info("relative differences to dense autograd: %s", figures)
    assert max(figures.values()) < 1e-5, figures


def test_model_is_as_before_a_step(step):
    model = step[0]
    before = {name: weight.clone() for name, weight in model.model.state_dict().items()}
    identities = {name: id(parameter) for name, parameter in model.model.named_parameters()}
    our_step(step, True)
    assert all(torch.equal(before[name], weight) for name, weight in model.model.state_dict().items())
    assert {name: id(parameter) for name, parameter in model.model.named_parameters()} == identities
    assert "forward" not in vars(model.model.diffusion_model.input_blocks[1][0])


def test_prediction_equals_apply_model(step):
    """ComfyUI denoises in sigma space: x = x_0 + σ ε; its denoised result gives the same ε."""
    model, _, _, _, _, _, batch, context, priors = step
    base = model.model
    with torch.inference_mode():
        ours = predict(model, batch, torch.cat([context, *priors]))
        sigma = base.model_sampling.sigmas[batch.timesteps]
        x = batch.noisy * (sigma**2 + 1).sqrt().view(-1, 1, 1, 1)
        denoised = base.apply_model(x, sigma, c_crossattn=torch.cat([context, *priors]))
        theirs = (x - denoised) / sigma.view(-1, 1, 1, 1)
    assert relative(ours, theirs) < 1e-4  # the division by small sigmas costs digits


LONG = "a dog on grass, " * 30


@pytest.mark.parametrize(
    "prompts",
    [
        ["a <new1> on grass"],
        ["a (<new1>:1.3) on (grass:0.6)"],
        ["a <new1> on grass", "a hat", "a <new1> on grass", "((<new1>)) by a lake", "a hat"],
        ["a <new1>", LONG + "a <new1>", "a <new1> (far:1.5) away"],
    ],
    ids=["plain", "weighted", "repeated", "long"],
)
def test_prompts_and_token_gradient_equal_comfyuis(prompts):
    """The features are ComfyUI's own; a spliced-in vector's gradient is that of the embedding row it stands for."""
    clip = tiny_clip()
    text_model = clip.cond_stage_model
    table = text_model.clip_l.transformer.get_input_embeddings()
    plain = [prompt.replace("<new1>", "mule") for prompt in prompts]
    with normal_tensors(text_model), out_of_place_norms(text_model):
        spliced = initial_vectors(clip, "mule", 1).requires_grad_()
        ours = PromptEncoder(clip, text_model, "<new1>")(prompts, spliced)
        target = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0))
        (ours * target).sum().backward()
        table.weight.requires_grad_(True)
        theirs = stack_contexts([text_model.encode_token_weights(clip.tokenize(prompt))[0] for prompt in plain])
        (theirs * target).sum().backward()
        row = table.weight.grad[clip.tokenize("mule")["l"][0][1][0]]
    assert relative(ours, theirs) < 1e-6
    assert relative(spliced.grad[0], row.float()) < 1e-3  # the table, so its gradient, is float16


@pytest.mark.slow
def test_full_size_step_equals_diffusers(checkpoint):
    """SD-1.5's own sizes, both libraries on the same random checkpoint: ε, K/V gradients, context gradient."""
    import comfy.sd

    with torch.inference_mode():
        model = comfy.sd.load_checkpoint_guess_config(str(checkpoint), output_vae=False, output_clip=False)[0]
    theirs = diffusers_unet(model.model.diffusion_model.state_dict(), REFERENCE)
    generator = torch.Generator().manual_seed(0)
    noisy, noise = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 4, 8, 8, generator=generator)
    timesteps, context = torch.tensor([37, 801]), torch.randn(2, 77, 768, generator=generator)
    weights = pretrained_kv(model)
    layout = layout_of(weights)
    assert (len(layout.layers), layout.size) == (32, 19_169_280)
    mask = NeuronMask.full(layout)
    with normal_tensors(model.model):
        our_context, unet = context.clone().requires_grad_(), model.model.diffusion_model
        kv = TrainableKV({n: w.clone() for n, w in weights.items()}, mask, SparseDelta.zero(layout), torch.device("cpu"))
        with kv.installed_in(unet):
            ours = unet(noisy, timesteps.float(), context=our_context, transformer_options={})
            mse_loss(ours, noise).backward()
            kv.collect_gradient()
    theirs_modules = find_kv_modules(theirs)
    for module in theirs_modules.values():
        module.weight.requires_grad_(True)
    their_context = context.clone().requires_grad_()
    predicted = theirs(noisy, timesteps, their_context).sample
    mse_loss(predicted, noise).backward()
    names = comfy_to_diffusers_names(layout)
    dense = torch.cat([theirs_modules[names[layer.name]].weight.grad.flatten() for layer in layout.layers])
    figures = {
        "epsilon": relative(ours.detach(), predicted.detach()),
        "K/V gradient": relative(kv.delta.grad, dense),
        "context gradient": relative(our_context.grad, their_context.grad),
    }
    logger.info("relative differences to diffusers, full size, float32: %s", figures)
    assert max(figures.values()) < 1e-4, figures
