"""What other nodes put on MODEL and CLIP: refused for training and neurons, welcome at Apply."""

from __future__ import annotations

from collections.abc import Callable

import comfy.hooks
import comfy_extras.nodes_freelunch as freelunch
import comfy_extras.nodes_hooks as hook_nodes
import comfy_extras.nodes_hypertile as hypertile
import comfy_extras.nodes_model_advanced as advanced
import comfy_extras.nodes_pag as pag
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.apply.apply import apply_state
from cns_pack.cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_pack.cns_core.comfy_adapter.checkpoint.unpatched import check_unpatched
from cns_pack.cns_core.comfy_adapter.neurons import compute_neurons
from cns_pack.cns_core.errors import CNSError
from comfy.patcher_extension import WrappersMP
from comfy_api.latest import io

from tests.support.loading import load
from tests.support.tiny_models import tiny_model


@torch.inference_mode()
def run(node: type, *inputs: object):
    """The first output of one of ComfyUI's nodes, of either API."""
    execute = node.execute if issubclass(node, io.ComfyNode) else getattr(node(), node.FUNCTION)
    result = execute(*inputs)
    return getattr(result, "result", result)[0]


def changed(model, change: Callable):
    clone = model.clone()
    change(clone)
    return clone


def attention_patch(kwargs):
    return kwargs


MODEL_CHANGES = {
    "FreeU": (lambda model: run(freelunch.FreeU, model, 1.1, 1.2, 0.9, 0.2), r"patches\.output_block_patch"),
    "PAG": (lambda model: run(pag.PerturbedAttentionGuidance, model, 3.0), "sampler_post_cfg_function"),
    "HyperTile": (
        lambda model: run(hypertile.HyperTile, model, 256, 2, 0, False),
        r"patches\.attn1_patch, patches\.attn1_output_patch",
    ),
    "RescaleCFG": (lambda model: run(advanced.RescaleCFG, model, 0.7), "sampler_cfg_function"),
    "IPAdapter": (  # one replacement for each attn2 block
        lambda model: changed(model, lambda m: m.set_model_attn2_replace(attention_patch, "input", 1)),
        r"patches_replace\.attn2",
    ),
    "a UNet wrapper": (
        lambda model: changed(model, lambda m: m.set_model_unet_function_wrapper(attention_patch)),
        "model_function_wrapper",
    ),
    "a patcher wrapper": (
        lambda model: changed(model, lambda m: m.add_wrapper(WrappersMP.DIFFUSION_MODEL, attention_patch)),
        r"wrappers\.diffusion_model",
    ),
    "another attention": (
        lambda model: changed(model, lambda m: m.model_options["transformer_options"].update(optimized_attention_override=len)),
        "optimized_attention_override",
    ),
    "a changed number": (
        lambda model: changed(model, lambda m: m.model_options["transformer_options"].update(strength=torch.zeros(2))),
        "strength",
    ),
}


@pytest.mark.parametrize(("change", "found"), MODEL_CHANGES.values(), ids=MODEL_CHANGES)
def test_model_changed_by_other_nodes(studio, dog, dog_state, change, found):
    model = change(studio.model)
    expected = rf"MODEL wired in was changed by another node, .*\({found}\), .*: wire the checkpoint loader's output here"
    with pytest.raises(CNSError, match=expected):
        studio.teach(dog, neurons=studio.neurons(dog), checkpoint=Checkpoint(model, studio.clip, studio.vae))
    with torch.inference_mode():
        with pytest.raises(CNSError, match=expected):
            compute_neurons(Checkpoint(model, studio.clip), ["a dog"], 0.3, "base", None)
        assert apply_state(Checkpoint(model, studio.clip), dog_state, 1.0)[0].model_options.keys() == model.model_options.keys()


def lora_hooks() -> comfy.hooks.HookGroup:
    key = "clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.weight"
    return comfy.hooks.create_hook_lora({key: ("diff", (torch.ones(128, 64),))}, 1.0, 1.0)


def negpip(clip) -> None:
    clip.patcher.model_options["ppm_negpip"] = True


def prompt_control(clip) -> None:
    clip.patcher.add_object_patch("clip_l.encode_token_weights", attention_patch)


CLIP_CHANGES = {
    "prompt-control": (prompt_control, r"CLIP wired in has parts that were replaced \(clip_l\.encode_token_weights\): wire"),
    "negpip": (negpip, r"CLIP wired in was changed by another node, .*\(ppm_negpip\), .*: wire"),
    "hooks on conditionings": (
        lambda clip: setattr(clip, "apply_hooks_to_conds", lora_hooks()),
        "CLIP wired in carries hooks: wire",
    ),
}


@pytest.mark.parametrize(("change", "expected"), CLIP_CHANGES.values(), ids=CLIP_CHANGES)
def test_clip_changed_by_other_nodes(studio, dog, dog_state, change, expected):
    clip = changed(studio.clip, change)
    with pytest.raises(CNSError, match=expected):
        studio.teach(dog, neurons=studio.neurons(dog), checkpoint=Checkpoint(studio.model, clip, studio.vae))
    with torch.inference_mode():
        apply_state(Checkpoint(studio.model, clip), dog_state, 1.0)


def test_hook_nodes_on_clip(studio, dog, dog_state):
    clip = run(hook_nodes.SetClipHooks, studio.clip, False, True, lora_hooks())
    with pytest.raises(CNSError, match="CLIP wired in carries hooks or injections: wire"):
        studio.teach(dog, neurons=studio.neurons(dog), checkpoint=Checkpoint(studio.model, clip, studio.vae))
    with torch.inference_mode():
        apply_state(Checkpoint(studio.model, clip), dog_state, 1.0)


def test_what_a_loader_gives_is_unpatched(studio):
    check_unpatched(studio.checkpoint)
    check_unpatched(Checkpoint(studio.model.clone(), studio.clip.clone()))


OTHER_PREDICTIONS = {
    "v": ((advanced.ModelSamplingDiscrete, "v_prediction", True), "predicts V_PREDICTION"),
    "x0": ((advanced.ModelSamplingDiscrete, "x0", False), "predicts X0"),
    "edit": ((advanced.ModelSamplingDiscrete, "img_to_img", False), "predicts IMG_TO_IMG"),
    "EDM": ((advanced.ModelSamplingContinuousEDM, "edm", 120.0, 0.002), "predicts EDM"),
    "continuous v": ((advanced.ModelSamplingContinuousV, "v_prediction", 500.0, 0.03), "predicts V_PREDICTION"),
    "flow": ((advanced.ModelSamplingSD3, 3.0), "predicts CONST"),
    "zsnr": ((advanced.ModelSamplingDiscrete, "eps", True), r"zero terminal SNR \(zsnr\)"),
}


@pytest.mark.parametrize(("node", "expected"), OTHER_PREDICTIONS.values(), ids=OTHER_PREDICTIONS)
def test_checkpoints_that_do_not_predict_the_noise(studio, dog, dog_state, node, expected):
    """The advice must be another checkpoint: taking the node away would train one with the wrong loss."""
    kind, *inputs = node
    model = run(kind, studio.model, *inputs)
    neurons = studio.neurons(dog)
    for _ in range(2):
        with pytest.raises(CNSError, match=rf"MODEL wired in \w+ .*{expected.partition(' ')[2]}.*: load .*checkpoint") as error:
            studio.teach(dog, neurons=neurons, checkpoint=Checkpoint(model, studio.clip, studio.vae))
        assert expected.partition(" ")[0].split("\\")[0] in str(error.value)
        assert "loader's output" not in str(error.value)
        load([model])  # its model_sampling then stands in the model that all clones share
    studio.teach(dog, neurons=neurons, steps=1)  # the loader's own MODEL is as it was
    with torch.inference_mode():
        apply_state(Checkpoint(model, studio.clip), dog_state, 1.0)


def test_sampling_nodes_that_keep_the_prediction_get_the_other_advice(studio, dog):
    for inputs in ((advanced.ModelSamplingDiscrete, "lcm", False), (advanced.ModelSamplingContinuousEDM, "eps", 120.0, 0.002)):
        model = run(inputs[0], studio.model, *inputs[1:])
        with pytest.raises(CNSError, match=r"has parts that were replaced \(model_sampling\): wire the checkpoint loader's"):
            studio.teach(dog, neurons=studio.neurons(dog), checkpoint=Checkpoint(model, studio.clip, studio.vae))


def test_a_loader_that_says_v_prediction(studio, dog):
    import comfy.model_base

    model = tiny_model()
    model.model.model_type = comfy.model_base.ModelType.V_PREDICTION
    with torch.inference_mode(), pytest.raises(CNSError, match=r"predicts V_PREDICTION, but CNS teaches .*: load an SD 1\.5"):
        compute_neurons(Checkpoint(model, studio.clip), ["a dog"], 0.3, "base", None)


def test_quantized_layers_outside_k_and_v(studio, dog):
    """Apply needs K and V only; training goes through the whole UNet."""
    model = tiny_model()
    with torch.inference_mode():
        layer = model.model.diffusion_model.out[2]
        layer.weight = torch.nn.Parameter(layer.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(CNSError, match=r"quantized \(diffusion_model\.out\.2\.weight is a Parameter of torch\.int8\)"):
        studio.teach(dog, neurons=studio.neurons(dog), checkpoint=Checkpoint(model, studio.clip, studio.vae))
