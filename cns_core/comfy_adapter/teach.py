"""Teaches one concept to a wired-in checkpoint: everything between ComfyUI's MODEL, CLIP, VAE and the training loop."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import fields, replace
from typing import TypeVar

import torch
from comfy.sd import CLIP
from torch import Tensor

from ..concept import training_prompts
from ..config import ORDINARY_TOLERANCE, TrainConfig
from ..drift import OFF, changes_since_taught, measured
from ..errors import CNSError
from ..kept_prompts import ORDINARY, kept_prompts
from ..state import CNSState, LearnedConcept
from ..training import Diffusion, Start, TrainingResult, TrainingSet, train_concept
from ..training.keep_term import Held
from .checkpoint.checkpoint import Checkpoint
from .checkpoint.conditioning import encode_all, moment_of
from .checkpoint.latents import encode_concept, encode_images
from .checkpoint.prediction import alphas_cumprod, predict_noise
from .checkpoint.prompt_encoder import PromptEncoder
from .checkpoint.tokens import STARTED_FROM, initial_vectors, initial_word, ordinary_norm, with_tokens
from .checkpoint.unpatched import check_unpatched
from .checkpoint.vae import check_vae
from .keeping import Keeper, Keeping, Watcher
from .lesson import Lesson
from .neurons import Neurons
from .on_device import check_trainable, less_memory, load_for_training
from .out_of_memory import out_of_memory
from .page.progress import Progress
from .page.training_preview import TrainingPreview
from .page.training_progress import Display, TrainingProgress
from .unfinished import Unfinished

_Inputs = TypeVar("_Inputs", Start, TrainingSet)


def teach(
    checkpoint: Checkpoint, lesson: Lesson, config: TrainConfig, display: Display, keeping: Keeping | None = None
) -> tuple[CNSState, TrainingResult]:
    """The state after one more concept. MODEL, CLIP and VAE are bit-identical afterwards, also after an error.

    Raises:
        CNSError: inputs that do not belong together, out of memory, a device that cannot train, a diverged
            training, a kept one that differs.
    """
    check_unpatched(checkpoint)
    check_trainable(checkpoint)
    state, concept = lesson.starting_state(checkpoint), lesson.concept
    prompts = training_prompts(concept, config.prompt_mode, config.template)
    word = initial_word(config, concept.noun, state.concepts)
    vectors = initial_vectors(checkpoint.clip, word, config.vectors, config.seed)
    settings = config.to_dict() | {STARTED_FROM: word}
    taught = replace(checkpoint, clip=with_tokens(checkpoint.clip, state.tokens))
    kept = _kept_prompts(state, lesson.neurons, config)

    unknown = {concept.name for concept, known in zip(state.concepts, measured(state), strict=True) if not known}

    def learned(result: TrainingResult) -> CNSState:
        off = {name: share for name, share in result.moved.items() if name not in unknown}
        figures = {OFF: off, "ordinary_norm": ordinary_norm(checkpoint.clip)}
        return state.with_concept(_learned(lesson, prompts, settings, result, figures), result.values)

    keeping = keeping or Keeping()
    unfinished = Unfinished.of(checkpoint, lesson, state, config) if keeping.cancelled else None
    keeper = Keeper(keeping, unfinished, learned, config.steps)
    encoded = sum(len(set(prompts)) for prompts in kept.values()) + len(set(lesson.prior.prompts))
    advance = Progress(len(concept.images) * config.crops + len(lesson.prior.images) + encoded, display.node_id).advance
    try:
        data = _training_set(taught, lesson, prompts, config, advance)
        start = Start(lesson.neurons.mask, state.delta, vectors, _held(taught.clip, state, kept, config, advance))
        result = _train(taught, lesson, start, data, config, display, keeper)
    except Exception as error:
        if not out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # which hold the failed step's activations
        raise CNSError(
            f"The device ran out of memory while teaching {concept.token} at {config.resolution} px with a batch of "
            f"{config.batch_size}: {less_memory(checkpoint.model, config, _samples(lesson, config))}, or close other programs "
            "that use it. The model is as it was before."
        ) from error
    keeper.finished()
    return learned(result), result


def _learned(
    lesson: Lesson,
    prompts: list[tuple[str, ...]],
    settings: dict[str, object],
    result: TrainingResult,
    figures: dict[str, object],
) -> LearnedConcept:
    concept, neurons = lesson.concept, lesson.neurons
    return LearnedConcept(
        token=concept.token,
        noun=concept.noun,
        mask=neurons.mask,
        vectors=result.vectors,
        prompts=tuple(dict.fromkeys(prompt for choices in prompts for prompt in choices)),
        settings=settings | {"strategy": neurons.kind, "top_fraction": neurons.top_fraction} | lesson.source,
        figures={
            "final_loss": result.history[-1, :4].tolist(),
            "images": len(concept.images),
            "prior_images": len(lesson.prior.images),
            **figures,
            **({} if result.prev_weight is None else {"prev_weight": result.prev_weight}),
        },
    )


def _training_set(
    checkpoint: Checkpoint,
    lesson: Lesson,
    prompts: list[tuple[str, ...]],
    config: TrainConfig,
    advance: Callable[[], None],
) -> TrainingSet:
    """Every image through the VAE and every prompt of the prior through the text encoder, once."""
    prior = lesson.prior
    different = list(dict.fromkeys(prior.prompts))
    latents, weights = encode_concept(checkpoint, lesson.concept, config, advance)
    return TrainingSet(
        latents=latents,
        weights=weights,
        prompts=[choices for choices in prompts for _ in range(config.crops)],
        prior_latents=encode_images(checkpoint, prior.images, config.resolution, advance) if prior.images else None,
        prior_contexts=tuple(context.unsqueeze(0) for context in encode_all(checkpoint.clip, different, advance)),
        prior_prompts=tuple(different.index(prompt) for prompt in prior.prompts),
    )


def _kept_prompts(state: CNSState, neurons: Neurons, config: TrainConfig) -> dict[str, list[str]]:
    """By name: each earlier concept's, and the calibration prompts."""
    if not config.keep_tolerance:
        return {}
    ordinary = {ORDINARY: list(neurons.calibration)} if neurons.calibration else {}
    return {concept.name: kept_prompts(concept) for concept in state.concepts} | ordinary


def _held(
    clip: CLIP, state: CNSState, kept: dict[str, list[str]], config: TrainConfig, advance: Callable[[], None]
) -> tuple[Held, ...]:
    """Each concept where it was when it was taught, or, if that is not recorded, where it is; ordinary prompts where the
    checkpoint has them.
    """
    moments = {name: moment_of(clip, prompts, advance) for name, prompts in kept.items()}
    found: dict[str, Held] = {}

    def hold(name: str, change: Tensor, times: float = 1.0) -> None:
        found[name] = Held.of(name, moments[name], times * config.keep_tolerance / 100, change)

    if ORDINARY in kept:
        hold(ORDINARY, state.delta.flat(), ORDINARY_TOLERANCE)
    for concept, change in changes_since_taught(state) if kept else ():
        hold(concept.name, change)
    for name in kept.keys() - found.keys():
        hold(name, torch.zeros(state.layout.size))
    return tuple(found[name] for name in kept)


def _train(
    checkpoint: Checkpoint,
    lesson: Lesson,
    start: Start,
    data: TrainingSet,
    config: TrainConfig,
    display: Display,
    keeper: Keeper,
) -> TrainingResult:
    weights, concept = checkpoint.weights, lesson.concept
    loaded = load_for_training(checkpoint, config, _samples(lesson, config), start.held)
    base, device = loaded.unet.model, loaded.unet.load_device
    predict, encode_prompts = predict_noise(base), PromptEncoder(checkpoint.clip, loaded.text.model, concept.token)
    encode_prompts.prepare({prompt for choices in data.prompts for prompt in choices}, start.vectors)
    prompt = display.preview_prompt.strip() or training_prompts(concept, "template", config.template)[0][0]
    preview = TrainingPreview(base, check_vae(checkpoint.vae), device, config.resolution, prompt, predict, encode_prompts)
    progress, done = TrainingProgress(config.steps, display, concept.name, preview), False
    try:
        with loaded.differentiable():
            diffusion = Diffusion(
                unet=base.diffusion_model,
                weights={name: weight.clone() for name, weight in weights.items()},
                alphas_cumprod=alphas_cumprod(base),
                predict_noise=predict,
                encode_prompts=encode_prompts,
                device=device,
                mixed_precision=loaded.dtype == torch.float16,
            )
            observer = Watcher(progress, keeper)
            result = train_concept(diffusion, _cloned(start), _cloned(data), config, observer, keeper.snapshot)
        done = True
        return result
    finally:
        progress.close(done)


def _samples(lesson: Lesson, config: TrainConfig) -> int:
    """Images that a step predicts the noise of."""
    return config.batch_size * (2 if lesson.prior.images and config.prior_weight > 0 else 1)


def _cloned(inputs: _Inputs) -> _Inputs:
    """Its tensors copied outside inference mode, so that autograd may save them."""

    def copy(value: object) -> object:
        if isinstance(value, Tensor):
            return value.clone()
        if isinstance(value, Held):
            return replace(value, factor=value.factor.clone(), offset=value.offset.clone())
        return tuple(map(copy, value)) if isinstance(value, tuple) else value

    return replace(inputs, **{field.name: copy(getattr(inputs, field.name)) for field in fields(inputs)})
