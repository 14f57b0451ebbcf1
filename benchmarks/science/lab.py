"""The demo model, the pack's own teaching and applying, and the judges, in one process."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import comfy.model_management as memory
import comfy.sample
import comfy.utils
import numpy as np
import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from torch import Tensor
from torch.nn import functional

from benchmarks.kept import Scores, kept
from benchmarks.science import paper_protocol
from benchmarks.science.paper_protocol import calibration_prompts, material, priors_of, reworded
from benchmarks.science.selections import SELECTIONS, Candidates
from benchmarks.science.variants import Variant
from cns_core.comfy_adapter.apply.apply import apply_state
from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_core.comfy_adapter.checkpoint.conditioning import encode_all, row_kinds
from cns_core.comfy_adapter.checkpoint.latents import encode_images
from cns_core.comfy_adapter.checkpoint.prediction import alphas_cumprod, predict_noise
from cns_core.comfy_adapter.checkpoint.tokens import with_tokens
from cns_core.comfy_adapter.lesson import Lesson
from cns_core.comfy_adapter.neurons import Neurons, compute_neurons, draw_calibration, select_neurons
from cns_core.comfy_adapter.page.training_progress import Display
from cns_core.comfy_adapter.prior import Prior
from cns_core.comfy_adapter.teach import teach
from cns_core.concept import Concept
from cns_core.config import SelectionConfig, TrainConfig
from cns_core.state import CNSState
from cns_core.training.keep_term import Row
from demo.judges import image_text, recognizer
from demo.model import MODEL_FILE, PIXELS, load_demo_model
from demo.world.new_concepts import NEW_CONCEPTS, teaching_masks

STEPS, GUIDANCE, SAMPLER, SCHEDULER = 12, 3.0, "dpmpp_2m", "karras"
_BATCH = 64 if torch.cuda.is_available() else 8  # what a core's caches hold: larger ones take longer for each picture
_ERROR_TIMESTEPS = 8  # not in the digest: raise the protocol's _VERSION with it


@dataclass
class Lab:
    """One checkpoint and two judges. What is taught and drawn under one ``digest`` is kept in ``folder`` and may be judged
    again; scores are kept in ``results``.
    """

    checkpoint: Checkpoint
    digest: str
    work: Path
    results: Path
    _general: dict[tuple[float, int], Neurons] = field(default_factory=dict)

    @staticmethod
    def open(work: Path, results: Path | None = None, path: Path = MODEL_FILE) -> Lab:
        """Without ``results``, scores are kept in ``work`` too."""
        comfy.utils.set_progress_bar_enabled(False)
        with torch.inference_mode():
            return Lab(Checkpoint(*load_demo_model(path)), digest_of(path), work, results or work)

    @property
    def folder(self) -> Path:
        return self.work / self.digest

    def scores(self, name: str, **about: object) -> Scores:
        """Of these judges."""
        return Scores(self.results / self.digest / f"{name}-{self.judges}.json", **about)

    @cached_property
    def recognizer(self) -> recognizer.Recognizer:
        return recognizer.load()

    @cached_property
    def image_text(self) -> image_text.ImageText:
        return image_text.load()

    @cached_property
    def judges(self) -> str:
        return judges_digest()

    @torch.inference_mode()
    def pictures(self, prompts: list[str], seeds: list[int], state: CNSState | None = None) -> np.ndarray:
        """uint8 (n, 128, 128, 3): one picture for each prompt and seed. A picture depends on nothing else in its batch."""
        model, clip = self.applied(state)
        done = []
        for start in range(0, len(prompts), _BATCH):
            rows = slice(start, start + _BATCH)
            done.append(self.drawn(model, clip, [[contexts(clip, prompts[rows]), {}]], seeds[rows]))
        return np.concatenate(done)

    def applied(self, state: CNSState | None) -> tuple[ModelPatcher, CLIP]:
        return (self.checkpoint.model, self.checkpoint.clip) if state is None else apply_state(self.checkpoint, state, 1.0)

    @torch.inference_mode()
    def drawn(self, model: ModelPatcher, clip: CLIP, positive: list, seeds: list[int]) -> np.ndarray:
        """uint8 (n, 128, 128, 3) of ComfyUI's conditioning, whose rows are those of the seeds."""
        side = PIXELS // 8
        noise = torch.stack([torch.randn(4, side, side, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        negative = [[clip.encode_from_tokens(clip.tokenize("")), {}]]
        latents = comfy.sample.sample(
            *(model, noise, STEPS, GUIDANCE, SAMPLER, SCHEDULER, positive, negative),
            latent_image=torch.zeros_like(noise),
            disable_pbar=True,
            seed=0,
        )
        return (self.checkpoint.vae.decode(latents) * 255).round().byte().numpy()

    @torch.inference_mode()
    def teach(self, state: CNSState | None, name: str, token: str, variant: Variant, seed: int) -> CNSState:
        """The state after one more concept, taught with 4 to 6 pictures as Train CNS Step teaches it."""
        concept = self.concept(name, token, seed, variant)
        prior = self.prior(name, variant.priors, variant.priors_around)
        lesson = Lesson(concept, self.neurons(concept, variant, seed, state), prior, state)
        with variant.how.teaching(lesson):
            return self.taught(lesson, variant.config(zlib.crc32(f"{seed} {name}".encode())))  # other noise for every concept

    @torch.inference_mode()
    def taught(self, lesson: Lesson, config: TrainConfig) -> CNSState:
        return teach(self.checkpoint, lesson, config, Display())[0]

    def concept(self, name: str, token: str, seed: int, variant: Variant) -> Concept:
        pictures, captions = material(name, seed, variant.background)
        images = tuple(torch.from_numpy(picture).float() / 255 for picture in pictures)
        captions = tuple(reworded(caption, NEW_CONCEPTS[name].noun, variant.captions) for caption in captions)
        masks = teaching_masks(name, len(pictures), seed) if variant.masked else None
        return Concept(token, NEW_CONCEPTS[name].noun, images, captions, tuple(map(torch.from_numpy, masks or ())))

    def neurons(self, concept: Concept, variant: Variant, seed: int, state: CNSState | None = None) -> Neurons:
        share = variant.top_fraction
        base = compute_neurons(self.checkpoint, list(concept.descriptions), share, "base", None)
        general = self.general(share, variant.calibration_count)
        neurons = select_neurons(base, general, variant.strategy, seed)
        if not variant.selection:
            return neurons
        known = with_tokens(self.checkpoint.clip, state.tokens) if state else self.checkpoint.clip
        earlier = [text for learned in state.concepts for text in learned.prompts] if state else []
        candidates = Candidates(
            weights={name: weight.float().cpu() for name, weight in self.checkpoint.weights.items()},
            chosen=neurons.mask,
            general=general.mask,
            captions=encode_all(self.checkpoint.clip, list(concept.descriptions)),
            others=encode_all(known, [*general.prompts, *earlier]),
            words=self.words(concept.descriptions),
            calibration_words=self.words(general.prompts),
            top_fraction=share,
        )
        return replace(neurons, mask=SELECTIONS[variant.selection](candidates))

    def words(self, prompts: tuple[str, ...]) -> list[Tensor]:
        """Text features (words, features) of each prompt, without its start, end and padding."""
        clip = self.checkpoint.clip
        rows = zip(encode_all(clip, list(prompts)), (row_kinds(clip, prompt) for prompt in prompts), strict=True)
        return [features[kinds == Row.WORD] for features, kinds in rows]

    @torch.inference_mode()
    def error(self, pictures: np.ndarray, prompts: list[str], state: CNSState | None) -> float:
        """Mean squared error of the noise prediction, the training's own loss, on pictures (n, 128, 128, 3): each at eight
        timesteps with noise that depends on nothing else.
        """
        model, clip = self.applied(state)
        images = [torch.from_numpy(picture).float() / 255 for picture in pictures]
        latents = encode_images(self.checkpoint, images, PIXELS).repeat(_ERROR_TIMESTEPS, 1, 1, 1)
        contexts = torch.stack(encode_all(clip, prompts)).repeat(_ERROR_TIMESTEPS, 1, 1)
        memory.load_models_gpu([model])
        device = model.load_device
        timesteps = torch.linspace(40, 960, len(latents)).long()
        alphas = alphas_cumprod(model.model).cpu()[timesteps].view(-1, 1, 1, 1)
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
        inputs = [tensor.to(device) for tensor in (latents, noise, alphas, timesteps, contexts)]
        return functional.mse_loss(_predicted(model.model, *inputs), inputs[1]).item()

    def general(self, share: float, count: int) -> Neurons:
        if (share, count) not in self._general:
            prompts = draw_calibration(calibration_prompts(), SelectionConfig(share, count))
            self._general[share, count] = compute_neurons(self.checkpoint, prompts, share, "general", None)
        return self._general[share, count]

    def prior(self, name: str, count: int, around: int = 0) -> Prior:
        """Images of the class, and of other scenes, as the demo model itself draws them."""
        prompts = priors_of(name, count, around)
        file = self.folder / f"prior_{name}_{count}_{around}.npz"
        images = kept(file, lambda: self.pictures(prompts, list(range(len(prompts)))))
        return Prior(tuple(torch.from_numpy(images).float() / 255), tuple(prompts))

    def teaching_features(self, name: str, seed: int) -> Tensor:
        """Unit vectors (pictures, width) of what the concept was taught with."""
        return self.image_text.of_pictures(np.stack(material(name, seed)[0]))


def digest_of(checkpoint: Path) -> str:
    """Changes with the checkpoint's file, the protocol and the sampler."""
    sampler = f"{STEPS} {GUIDANCE} {SAMPLER} {SCHEDULER} {paper_protocol.digest()}"
    return hashlib.sha256(checkpoint.read_bytes() + sampler.encode()).hexdigest()[:12]


def judges_digest() -> str:
    """Changes with either judge's file."""
    return hashlib.sha256(recognizer.FILE.read_bytes() + image_text.FILE.read_bytes()).hexdigest()[:12]


def contexts(clip: CLIP, prompts: list[str]) -> Tensor:
    """Text features (n, tokens, width) of prompts."""
    return torch.stack(encode_all(clip, prompts))


def _predicted(base: BaseModel, latents: Tensor, noise: Tensor, alphas: Tensor, timesteps: Tensor, contexts: Tensor) -> Tensor:
    """The noise the UNet sees in noised latents (b, 4, h, w); ``alphas`` are the schedule's ᾱ at ``timesteps``."""
    return predict_noise(base)(alphas.sqrt() * latents + (1 - alphas).sqrt() * noise, timesteps, contexts)
