"""Teaches one concept to a wired-in checkpoint: everything between ComfyUI's MODEL, CLIP, VAE and the training loop."""

from __future__ import annotations

import inspect as python_inspect
from collections.abc import Sequence
from dataclasses import dataclass

import comfy.model_management as memory
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from torch import Tensor

from ..calibration import shipped_prompts
from ..concept import Concept, training_prompts
from ..config import SelectionConfig, TrainConfig
from ..errors import CNSError
from ..kv_layers import Fingerprint
from ..masks import NeuronMask
from ..state import CNSState, LearnedConcept
from ..training import TrainingResult, TrainingSet, train_concept
from ..training.batches import stack_contexts
from ..training.checkpointing import checkpointed
from ..training.keep_term import second_moment
from .checkpoint import check_unpatched, inspect
from .conditioning import encode
from .latents import encode_images
from .neurons import Neurons, draw_calibration
from .normal_tensors import normal_tensors, out_of_place_norms
from .progress import TrainingProgress, check_cancelled
from .tokens import initial_vectors, with_tokens

GRADIENT_CHECKPOINTING = ("auto", "on", "off")

# Activations a step keeps for its backward pass, per sample at 512 px in 16-bit precision, without and with checkpointing:
# 0.75 GB and 0.15 GB by benchmarks/activations.py, and as much again for what comes and goes within a block.
_KEPT_BYTES, _KEPT_BYTES_CHECKPOINTED = 1.5e9, 0.9e9


@dataclass(frozen=True, eq=False)
class Prior:
    """Class prior images, float32 (height, width, 3) each, and one prompt for each of them, without the token."""

    images: tuple[Tensor, ...] = ()
    prompts: tuple[str, ...] = ()

    @staticmethod
    def of(images: Sequence[Tensor], prompts: Sequence[str], noun: str) -> Prior:
        """One prompt serves all images; none means ``photo of a <noun>``."""
        if not images:
            return Prior()
        prompts = [prompt for prompt in prompts if prompt.strip()] or [f"photo of a {noun}"]
        if len(prompts) == 1:
            prompts = list(prompts) * len(images)
        if len(prompts) != len(images):
            raise CNSError(
                f"There are {len(prompts)} prior prompts for {len(images)} prior images: give one for all, or one a line "
                "for each image."
            )
        for number, image in enumerate(images, start=1):
            if image.ndim != 3 or image.shape[-1] != 3:
                raise CNSError(
                    f"Prior image {number} has shape {tuple(image.shape)} where height x width x 3 is needed: split off its "
                    "alpha channel with 'Split Image with Alpha' first."
                )
        return Prior(tuple(images), tuple(prompts))


def teach(
    model: ModelPatcher,
    clip: CLIP,
    vae: VAE,
    concept: Concept,
    neurons: Neurons,
    previous: CNSState | None,
    prior: Prior,
    initial_word: str,
    vector_count: int,
    config: TrainConfig,
    node_id: str | None,
) -> tuple[CNSState, TrainingResult]:
    """The state after one more concept. MODEL, CLIP and VAE are bit-identical afterwards, also after an error.

    Raises:
        CNSError: inputs that do not belong together, out of memory, a diverged training.
    """
    weights, layout, fingerprint = inspect(model, clip)
    check_unpatched(model, clip)
    _check_neurons(neurons, concept, fingerprint)
    state = previous or CNSState.empty(layout, fingerprint)
    layout.check_same(state.layout, "The previous state")
    fingerprint.check_same(state.fingerprint, "The previous state")
    state.check_new_token(concept.token)
    prompts = training_prompts(concept, config.prompt_mode, config.template)
    _check_prior(prior, concept)

    vectors = initial_vectors(clip, initial_word.strip() or concept.noun, vector_count)
    known_clip = with_tokens(clip, state.tokens)
    try:
        data = TrainingSet(
            latents=encode_images(model, vae, concept.images, config.resolution),
            prompts=prompts,
            prior_latents=encode_images(model, vae, prior.images, config.resolution) if prior.images else None,
            prior_contexts=_encode_each_once(known_clip, prior.prompts),
        )
        moment = _keep_moment(known_clip, state, config)
        result = _train(model, known_clip, weights, state, concept, neurons.mask, vectors, data, moment, config, node_id)
    except memory.OOM_EXCEPTION as error:
        raise CNSError(
            f"The device ran out of memory while teaching {concept.token} at {config.resolution} px with a batch of "
            f"{config.batch_size}: set gradient_checkpointing to on, or lower batch_size or resolution. "
            "The model is as it was before."
        ) from error
    learned = LearnedConcept(
        token=concept.token,
        noun=concept.noun,
        mask=neurons.mask,
        vectors=result.vectors,
        prompts=tuple(dict.fromkeys(prompt for choices in prompts for prompt in choices)),
        settings=config.to_dict() | {"strategy": neurons.kind, "top_fraction": neurons.top_fraction},
        figures={"final_loss": result.history[-1].tolist(), "images": len(concept.images), "prior_images": len(prior.images)},
    )
    return state.with_concept(learned, result.values), result


def _train(
    model: ModelPatcher,
    clip: CLIP,
    weights: dict[str, Tensor],
    state: CNSState,
    concept: Concept,
    mask: NeuronMask,
    vectors: Tensor,
    data: TrainingSet,
    moment: Tensor | None,
    config: TrainConfig,
    node_id: str | None,
) -> TrainingResult:
    unet_patcher, clip_patcher = _plain(model), _plain(clip.patcher)
    samples = config.batch_size * (2 if data.prior_contexts and config.prior_weight > 0 else 1)
    scale = samples * (config.resolution / 512) ** 2 * unet_patcher.model_dtype().itemsize / 2
    checkpointing = _use_checkpointing(config.gradient_checkpointing, unet_patcher, scale)
    needed = scale * (_KEPT_BYTES_CHECKPOINTED if checkpointing else _KEPT_BYTES)
    memory.load_models_gpu([unet_patcher, clip_patcher], memory_required=needed, force_full_load=True)
    base, text_model, device = unet_patcher.model, clip_patcher.model, unet_patcher.load_device
    dtype = base.manual_cast_dtype or base.get_dtype()

    def predict_noise(noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        options = {"optimized_attention_override": lambda _, *args, **kwargs: attention_pytorch(*args, **kwargs)}
        return base.diffusion_model(
            noisy.to(dtype), timesteps.float(), context=context.to(dtype), transformer_options=options
        ).float()

    def encode_prompts(texts: list[str], token: Tensor) -> Tensor:
        taught = with_tokens(clip, {concept.token: token})
        text_model.reset_clip_options()
        if clip.layer_idx is not None:
            text_model.set_clip_options({"layer": clip.layer_idx})
        contexts = [text_model.encode_token_weights(taught.tokenize(text))[0] for text in texts]
        return stack_contexts(contexts)

    progress = TrainingProgress(config.steps, node_id, concept.name)
    try:
        with (
            normal_tensors(base, text_model),
            out_of_place_norms(text_model),
            checkpointed(base.diffusion_model, checkpointing),
        ):
            return train_concept(
                unet=base.diffusion_model,
                weights={name: weight.clone() for name, weight in weights.items()},
                mask=mask,
                previous=state.delta,
                shared=mask & state.used_neurons(),
                vectors=vectors.clone(),
                data=_cloned(data),
                alphas_cumprod=1 / (base.model_sampling.sigmas.float() ** 2 + 1),
                predict_noise=predict_noise,
                encode_prompts=encode_prompts,
                config=config,
                observer=progress,
                device=device,
                mixed_precision=dtype == torch.float16,
                keep_moment=None if moment is None else moment.clone(),
            )
    finally:
        progress.close()


def _plain(patcher: ModelPatcher) -> ModelPatcher:
    """A patcher whose weights are whole on the device: newer ComfyUI streams them by default, which autograd cannot use."""
    if "disable_dynamic" in python_inspect.signature(patcher.clone).parameters:
        return patcher.clone(disable_dynamic=True)
    return patcher


def _use_checkpointing(choice: str, patcher: ModelPatcher, scale: float) -> bool:
    if choice not in GRADIENT_CHECKPOINTING:
        raise CNSError(f"gradient_checkpointing is '{choice}': choose one of {', '.join(GRADIENT_CHECKPOINTING)}.")
    if choice != "auto":
        return choice == "on"
    budget = memory.get_total_memory(patcher.load_device) - patcher.model_size() - memory.minimum_inference_memory()
    return scale * _KEPT_BYTES > budget


def _check_neurons(neurons: Neurons, concept: Concept, fingerprint: Fingerprint) -> None:
    fingerprint.check_same(neurons.fingerprint, "The neuron mask")
    if neurons.kind == "general":
        raise CNSError(f"The neurons input got {neurons.kind} neurons: wire Select Concept Neurons there.")
    if neurons.prompts != concept.captions:
        raise CNSError(
            f"The neurons were computed for other captions ('{neurons.prompts[0]}', …) than those of {concept.token} "
            f"('{concept.captions[0]}', …): wire the same Caption Concept Images into Compute Base Neurons and here."
        )


def _check_prior(prior: Prior, concept: Concept) -> None:
    for prompt in prior.prompts:
        if concept.token.lower() in prompt.lower():
            raise CNSError(
                f"The prior prompt '{prompt}' contains {concept.token}: prior images show the class as the pretrained model "
                f"knows it, so write the class alone, for example 'photo of a {concept.noun}'."
            )


def _keep_moment(clip: CLIP, state: CNSState, config: TrainConfig) -> Tensor | None:
    """``λ_keep A_prev + λ_cal A_cal``: moments of the earlier concepts' prompts, tokens included, and of ours."""
    earlier = [prompt for concept in state.concepts for prompt in concept.prompts]
    sources = [
        (config.keep_weight, earlier),
        (config.calibration_weight, draw_calibration(shipped_prompts(), SelectionConfig())),
    ]
    parts = [weight * second_moment(_encode_each_once(clip, prompts)) for weight, prompts in sources if weight > 0 and prompts]
    return torch.stack(parts).sum(0) if parts else None


def _encode_each_once(clip: CLIP, prompts: Sequence[str]) -> tuple[Tensor, ...]:
    encoded: dict[str, Tensor] = {}
    for prompt in prompts:
        if prompt not in encoded:
            encoded[prompt] = encode(clip, prompt).unsqueeze(0)
            check_cancelled()
    return tuple(encoded[prompt] for prompt in prompts)


def _cloned(data: TrainingSet) -> TrainingSet:
    """Copies made outside inference mode, which autograd may save."""
    return TrainingSet(
        data.latents.clone(),
        data.prompts,
        None if data.prior_latents is None else data.prior_latents.clone(),
        tuple(context.clone() for context in data.prior_contexts),
    )
