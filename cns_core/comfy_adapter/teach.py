"""Teaches one concept to a wired-in checkpoint: everything between ComfyUI's MODEL, CLIP, VAE and the training loop."""

from __future__ import annotations

import inspect as python_inspect
from dataclasses import replace

import comfy.model_management as memory
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from torch import Tensor, nn

from ..concept import Concept, training_prompts
from ..config import ORDINARY_TOLERANCE, TrainConfig
from ..errors import CNSError
from ..fingerprint import Fingerprint
from ..kept_prompts import ORDINARY, kept_prompts
from ..masks import NeuronMask
from ..state import CNSState, LearnedConcept
from ..training import TrainingResult, TrainingSet, train_concept
from ..training.checkpointing import checkpointed
from ..training.keep_term import Held, held_moment
from .checkpoint.checkpoint import inspect
from .checkpoint.conditioning import encode_all, row_kinds
from .checkpoint.latents import encode_images
from .checkpoint.normal_tensors import normal_tensors, out_of_place_norms
from .checkpoint.prompt_encoder import PromptEncoder
from .checkpoint.tokens import initial_vectors, with_tokens
from .checkpoint.unpatched import check_unpatched
from .neurons import SAME_MODEL, Neurons
from .out_of_memory import out_of_memory
from .page.progress import Progress
from .page.training_preview import TrainingPreview
from .page.training_progress import Display, TrainingProgress
from .prior import Prior

GRADIENT_CHECKPOINTING = ("auto", "on", "off")

# Activations a step keeps for its backward pass, per sample at 512 px in 16-bit precision, without and with checkpointing:
# 0.75 GB and 0.15 GB by benchmarks/performance/activations.py, and as much again for what comes and goes within a block.
_KEPT_BYTES, _KEPT_BYTES_CHECKPOINTED = 1.5e9, 0.9e9


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
    display: Display,
    checkpoint_name: str = "",
) -> tuple[CNSState, TrainingResult]:
    """The state after one more concept. MODEL, CLIP and VAE are bit-identical afterwards, also after an error.

    ``checkpoint_name`` is kept in the state, for people.

    Raises:
        CNSError: inputs that do not belong together, out of memory, a diverged training.
    """
    weights, layout, fingerprint = inspect(model, clip)
    check_unpatched(model, clip)
    _check_neurons(neurons, concept, fingerprint)
    state = previous or CNSState.empty(layout, replace(fingerprint, name=checkpoint_name))
    layout.check_same(state.layout, "The previous state")
    fingerprint.check_same(state.fingerprint, "The previous state")
    state = replace(state, fingerprint=state.fingerprint.completed(fingerprint))
    state.check_new_token(concept.token)
    prompts = training_prompts(concept, config.prompt_mode, config.template)
    prior.check(concept)

    different = list(dict.fromkeys(prior.prompts))
    vectors = initial_vectors(clip, initial_word.strip() or concept.noun, vector_count)
    known_clip, kept = with_tokens(clip, state.tokens), _kept_prompts(state, neurons, config)
    encoded = sum(len(set(prompts)) for _, prompts, _ in kept) + len(different)
    advance = Progress(len(concept.images) + len(prior.images) + encoded, display.node_id).advance
    try:
        data = TrainingSet(
            latents=encode_images(model, vae, concept.images, config.resolution, advance),
            prompts=prompts,
            prior_latents=encode_images(model, vae, prior.images, config.resolution, advance) if prior.images else None,
            prior_contexts=tuple(context.unsqueeze(0) for context in encode_all(known_clip, different, advance)),
            prior_prompts=tuple(different.index(prompt) for prompt in prior.prompts),
        )
        held = []
        for name, prompts_of_it, tolerance in kept:
            contexts = encode_all(known_clip, prompts_of_it, advance)
            moment = held_moment(contexts, [row_kinds(known_clip, prompt) for prompt in prompts_of_it])
            held.append(Held(name, moment, tolerance))
        result = _train(model, known_clip, vae, weights, state, concept, neurons.mask, vectors, data, held, config, display)
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise CNSError(
            f"The device ran out of memory while teaching {concept.token} at {config.resolution} px with a batch of "
            f"{config.batch_size}: {_less_memory(config)}, or close other programs that use it. The model is as it was before."
        ) from error
    learned = LearnedConcept(
        token=concept.token,
        noun=concept.noun,
        mask=neurons.mask,
        vectors=result.vectors,
        prompts=tuple(dict.fromkeys(prompt for choices in prompts for prompt in choices)),
        settings=config.to_dict() | {"strategy": neurons.kind, "top_fraction": neurons.top_fraction},
        figures={
            "final_loss": result.history[-1].tolist(),
            "images": len(concept.images),
            "prior_images": len(prior.images),
            "moved": result.moved,
            **({} if result.prev_weight is None else {"prev_weight": result.prev_weight}),
        },
    )
    return state.with_concept(learned, result.values), result


def _train(
    model: ModelPatcher,
    clip: CLIP,
    vae: VAE,
    weights: dict[str, Tensor],
    state: CNSState,
    concept: Concept,
    mask: NeuronMask,
    vectors: Tensor,
    data: TrainingSet,
    held: list[Held],
    config: TrainConfig,
    display: Display,
) -> TrainingResult:
    unet_patcher, clip_patcher = _plain(model), _plain(clip.patcher)
    samples = config.batch_size * (2 if data.prior_contexts and config.prior_weight > 0 else 1)
    base, text_model, device = unet_patcher.model, clip_patcher.model, unet_patcher.load_device
    dtype = base.manual_cast_dtype or base.get_dtype()
    scale = samples * (config.resolution / 512) ** 2 * dtype.itemsize / 2
    checkpointing = _use_checkpointing(config.gradient_checkpointing, unet_patcher, scale)
    needed = scale * (_KEPT_BYTES_CHECKPOINTED if checkpointing else _KEPT_BYTES)
    memory.load_models_gpu([unet_patcher, clip_patcher], memory_required=needed, force_full_load=True)

    _check_loaded(base.diffusion_model, device, dtype)

    def predict_noise(noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        options = {"optimized_attention_override": lambda _, *args, **kwargs: attention_pytorch(*args, **kwargs)}
        return base.diffusion_model(
            noisy.to(dtype), timesteps.float(), context=context.to(device, dtype), transformer_options=options
        ).float()

    encode_prompts = PromptEncoder(clip, text_model, concept.token)
    prompt = display.preview_prompt.strip() or training_prompts(concept, "template", config.template)[0][0]
    preview = TrainingPreview(base, vae, device, config.resolution, prompt, predict_noise, encode_prompts)
    progress, result = TrainingProgress(config.steps, display, concept.name, preview), None
    try:
        with (
            normal_tensors(base),
            normal_tensors(
                text_model, dtype=torch.float32 if clip_patcher.load_device.type == "cpu" else None
            ),  # stored in 16 bits even there
            out_of_place_norms(text_model),
            checkpointed(base.diffusion_model, checkpointing),
        ):
            result = train_concept(
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
                held=[replace(each, moment=each.moment.clone()) for each in held],
            )
    finally:
        progress.close(done=result is not None)
    return result


def _plain(patcher: ModelPatcher) -> ModelPatcher:
    """A patcher whose weights are whole on the device: newer ComfyUI streams them by default, which autograd cannot use."""
    if "disable_dynamic" not in python_inspect.signature(patcher.clone).parameters:
        return patcher
    if patcher.is_dynamic() and getattr(patcher, "cached_patcher_init", None) is None:
        raise CNSError(
            "This model's loader cannot load it without dynamic VRAM, which training needs: use ComfyUI's Load Checkpoint, "
            "or start ComfyUI with --disable-dynamic-vram."
        )
    return patcher.clone(disable_dynamic=True)


def _check_loaded(unet: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    if any(parameter.device.type != device.type for parameter in unet.parameters()):
        raise CNSError(
            "ComfyUI keeps the UNet off the device, as with --novram, but training needs it there: start it without --novram."
        )
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if device.type == "mps" and dtype == torch.float16 and (major, minor) < (2, 8):
        raise CNSError(
            "Training in float16 on a Mac needs PyTorch 2.8 or newer: update it, or start ComfyUI with --force-fp32."
        )


def _use_checkpointing(choice: str, patcher: ModelPatcher, scale: float) -> bool:
    if choice not in GRADIENT_CHECKPOINTING:
        raise CNSError(f"gradient_checkpointing is '{choice}': choose one of {', '.join(GRADIENT_CHECKPOINTING)}.")
    if choice != "auto":
        return choice == "on"
    budget = memory.get_total_memory(patcher.load_device) - patcher.model_size() - memory.minimum_inference_memory()
    return scale * _KEPT_BYTES > budget


def _less_memory(config: TrainConfig) -> str:
    remedies = ["lower resolution"]
    if config.batch_size > 1:
        remedies.insert(0, "lower batch_size")
    if config.gradient_checkpointing != "on":
        remedies.insert(0, "set gradient_checkpointing (under Show Advanced) to on")
    return ", ".join(remedies)


def _check_neurons(neurons: Neurons, concept: Concept, fingerprint: Fingerprint) -> None:
    fingerprint.check_same(neurons.fingerprint, "The neuron mask", SAME_MODEL)
    if not neurons.selected:
        raise CNSError(f"The neurons input got {neurons.kind} neurons: wire Select Concept Neurons there.")
    if neurons.prompts != concept.descriptions:
        raise CNSError(
            f"The neurons were computed for other captions ('{neurons.prompts[0]}', …) than those of {concept.token} "
            f"('{concept.descriptions[0]}', …): wire the same Caption Concept Images into Compute Base Neurons and here."
        )


def _kept_prompts(state: CNSState, neurons: Neurons, config: TrainConfig) -> list[tuple[str, list[str], float]]:
    """Name, prompts and tolerance of what is held: each earlier concept, and the calibration prompts."""
    tolerance = config.keep_tolerance / 100
    kept = [(concept.name, kept_prompts(concept), tolerance) for concept in state.concepts]
    kept.append((ORDINARY, list(neurons.calibration), ORDINARY_TOLERANCE * tolerance))
    return [each for each in kept if each[1]] if tolerance else []


def _cloned(data: TrainingSet) -> TrainingSet:
    """Copies made outside inference mode, which autograd may save."""
    return TrainingSet(
        data.latents.clone(),
        data.prompts,
        None if data.prior_latents is None else data.prior_latents.clone(),
        tuple(context.clone() for context in data.prior_contexts),
        data.prior_prompts,
    )
