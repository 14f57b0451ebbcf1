"""Teaches a sequence and scores it after each concept; what is there already is neither taught, drawn nor scored again."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.evaluate.prompts import Counts, Prompt, multi_prompts, single_prompts
from benchmarks.kept import Scores, kept_state
from cns_core.atomic_write import replacing
from cns_core.comfy_adapter.apply.apply import apply_state
from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_core.comfy_adapter.judge import Judge, judged
from cns_core.comfy_adapter.lesson import Lesson
from cns_core.comfy_adapter.neurons import Neurons, compute_neurons, general_neurons, select_neurons
from cns_core.comfy_adapter.page.training_progress import Display
from cns_core.comfy_adapter.prior import Prior
from cns_core.comfy_adapter.priors.priors import make_priors
from cns_core.comfy_adapter.priors.sampling import drawn, noises
from cns_core.comfy_adapter.teach import teach
from cns_core.concept import Concept
from cns_core.config import PriorConfig, TrainConfig
from cns_core.contexts import CLASS_CONTEXTS
from cns_core.judge import ceiling
from cns_core.state import CNSState

# Of one prompt: for each measure, "CLIP-T" and a judge's likeness, a value for each image; of several concepts their mean.
Values = dict[str, list[float]]


@dataclass(frozen=True)
class Plan:
    """``images``: of each prompt. ``priors``: class images of each concept."""

    config: TrainConfig
    strategy: str
    priors: int
    images: int
    sampling_steps: int
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """``judges``: by the name of their measure; one of them reads text. ``folder``: of all that is kept, ``scores`` the file in
    it of what these judges say.
    """

    checkpoint: Checkpoint
    concepts: list[Concept]
    judges: Mapping[str, Judge]
    plan: Plan
    folder: Path
    scores: str = "scores.json"

    @torch.inference_mode()
    def run(self) -> dict[str, Any]:
        """``after``: for each number of concepts taught, for each concept taught by then, its prompts' values; ``multi``: those
        of prompts with several, at the end; ``ceilings``: by measure and concept.
        """
        state, scores = None, Scores(self.folder / self.scores)
        after: list[dict[str, list[Values]]] = []
        for count, concept in enumerate(self.concepts, start=1):
            state = kept_state(self.folder / f"{count}.safetensors", lambda s=state, c=concept: self._taught(s, c))
            print(f"{count}/{len(self.concepts)}  {concept.name} is taught", flush=True)
            after.append(
                {
                    known.name: [self._scored(scores, state, prompt) for prompt in single_prompts(known, self.plan.counts)]
                    for known in self.concepts[:count]
                }
            )
        assert state is not None
        multi = [self._scored(scores, state, prompt) for prompt in multi_prompts(self.concepts, self.plan.counts)]
        return {"after": after, "multi": multi, "ceilings": scores.of("ceilings", self._ceilings)}

    @cached_property
    def _general(self) -> Neurons:
        return general_neurons(self.checkpoint, None)

    def _taught(self, state: CNSState | None, concept: Concept) -> CNSState:
        plan, prior = self.plan, Prior()
        config = replace(plan.config, seed=plan.config.seed + (len(state.concepts) if state else 0))
        base = compute_neurons(self.checkpoint, list(concept.descriptions), self._general.top_fraction, "base", None)
        neurons = select_neurons(base, self._general, plan.strategy, config.seed, state)  # fails before images are drawn
        if plan.priors:
            settings = PriorConfig(plan.priors, config.resolution, plan.sampling_steps)
            prior = make_priors(self.checkpoint, concept.noun, CLASS_CONTEXTS, settings, None)[0]
        return teach(self.checkpoint, Lesson(concept, neurons, prior, state), config, Display())[0]

    def _scored(self, scores: Scores, state: CNSState, prompt: Prompt) -> Values:
        def score() -> Values:
            pictures = self._pictures(state, prompt.text)
            values: Values = {}
            for measure, judge in self.judges.items():
                found = judged(judge, pictures, [prompt.text] * len(pictures), prompt.concepts)
                values |= {} if found.text is None else {"CLIP-T": found.text.tolist()}
                values[measure] = np.mean(list(found.alike.values()), axis=0).tolist()
            return values

        return scores.of(f"{len(state.concepts)} {prompt.text}", score)

    def _pictures(self, state: CNSState, text: str) -> list[Tensor]:
        """``plan.images`` of the prompt, on the same noise whatever else is taught; each kept as PNG."""
        plan, name = self.plan, "".join(letter if letter.isalnum() else "_" for letter in text)
        folder = self.folder / f"after {len(state.concepts)}"
        files = [folder / f"{name} {number + 1}.png" for number in range(plan.images)]
        missing = [number for number, file in enumerate(files) if not file.is_file()]
        if missing:
            config = PriorConfig(plan.images, plan.config.resolution, plan.sampling_steps, seed=zlib.crc32(text.encode()))
            model, clip = apply_state(self.checkpoint, state, 1.0)
            taught, noise = replace(self.checkpoint, model=model, clip=clip), noises(config)
            batches = drawn(taught, [text] * len(missing), [noise[i] for i in missing], config, lambda pictures: None)
            done = (picture for batch in batches for picture in batch)
            for number, picture in zip(missing, done, strict=True):
                with replacing(files[number]) as unfinished:
                    Image.fromarray((picture * 255).round().byte().numpy()).save(unfinished, "png")
        return [torch.from_numpy(np.array(Image.open(file).convert("RGB"))).float() / 255 for file in files]

    def _ceilings(self) -> dict[str, dict[str, float]]:
        return {
            measure: {concept.name: ceiling(judge.of_pictures(concept.images)) for concept in self.concepts}
            for measure, judge in self.judges.items()
        }
