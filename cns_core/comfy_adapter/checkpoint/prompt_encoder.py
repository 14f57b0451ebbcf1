"""Text features of a training's prompts, with gradients to the vectors of the token that is learned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import comfy.ops
import torch
from comfy.sd import CLIP
from comfy.sd1_clip import SD1ClipModel
from torch import Tensor

from ...training.batches import stack_contexts
from .tokens import splicer, with_tokens


@dataclass(frozen=True, eq=False)
class _Prompt:
    """What of a prompt is the same in all steps, on the text encoder's device.

    ``embedded``: float32 (sections, 77, features), of several sections for a long prompt, with nothing yet in ``places``, rows
    (n,) of all sections, where the learned vectors number ``which`` (n,) go. ``weights``: (sections, 77, 1); None where all are
    1.
    """

    embedded: Tensor
    places: Tensor
    which: Tensor
    weights: Tensor | None

    def with_vectors(self, vectors: Tensor) -> Tensor:
        rows = vectors.to(self.embedded.device, torch.float32)[self.which]
        return self.embedded.flatten(0, 1).index_copy(0, self.places, rows).view_as(self.embedded)


class PromptEncoder:
    """What :func:`.conditioning.encode_all` gives, of all prompts of a step at once and each different one once.

    ComfyUI's own ``encode_token_weights`` takes one prompt at a time, sends its ids to the device and brings its result to the
    CPU, for all of which a step would wait. Here ids are sent once.
    """

    def __init__(self, clip: CLIP, text_model: SD1ClipModel, token: str) -> None:
        self._text_model, self._token, self._layer = text_model, token.lower(), clip.layer_idx
        self._taught = with_tokens(clip, {token: torch.empty(0, 0)})
        self._vectors = splicer(self._taught).vectors
        self._prompts: dict[str, _Prompt] = {}

    def __call__(self, prompts: list[str], vectors: Tensor) -> Tensor:
        """Prompts with the token, its vectors (n, features) -> float32 (prompts, tokens, features) on the model's device."""
        self.prepare(prompts, vectors)
        different = list(dict.fromkeys(prompts))
        found = [self._prompts[prompt] for prompt in different]
        features = self._encoded(found, vectors)
        contexts = [torch.cat(part.unbind()).unsqueeze(0) for part in features.split([len(one.embedded) for one in found])]
        return stack_contexts([contexts[different.index(prompt)] for prompt in prompts])

    def prepare(self, prompts: Iterable[str], vectors: Tensor) -> None:
        """Sends what no step changes to the device, which takes a wait and so is done before the first step; by then the text
        encoder is there. Of ``vectors`` only the shape counts.
        """
        with torch.inference_mode(False), torch.no_grad():
            for prompt in {"", *prompts} - self._prompts.keys():
                self._prompts[prompt] = self._prepared(prompt, vectors)

    @property
    def _encoder(self) -> Any:
        return getattr(self._text_model, self._text_model.clip)

    def _prepared(self, prompt: str, vectors: Tensor) -> _Prompt:
        own = self._vectors[self._token] = torch.empty(vectors.shape)  # a row of it in the ids says which vector stands there
        sections = self._taught.tokenize(prompt)[self._text_model.clip_name]
        entries = [entry for section in sections for entry in section]
        rows = [(place, entry[0]) for place, entry in enumerate(entries) if isinstance(entry[0], Tensor)]
        learned = [(place, row.storage_offset() // own.shape[1]) for place, row in rows if _is_row_of(row, own)]
        embedding = self._encoder.transformer.text_model.embeddings.token_embedding
        device, length = embedding.weight.device, len(sections[0])
        ids = torch.tensor([0 if isinstance(entry[0], Tensor) else int(entry[0]) for entry in entries])
        embedded = embedding(ids.to(device), out_dtype=torch.float32)
        for place, row in rows:
            if not _is_row_of(row, own):
                embedded[place] = row.to(device, torch.float32)
        weights = torch.tensor([entry[1] for entry in entries], dtype=torch.float32, device=device).view(-1, length, 1)
        places, which = torch.tensor(learned, dtype=torch.long).view(-1, 2).to(device).unbind(1)
        weighted = weights if any(entry[1] != 1 for entry in entries) else None
        return _Prompt(embedded.view(-1, length, embedded.shape[-1]), places, which, weighted)

    def _encoded(self, prompts: list[_Prompt], vectors: Tensor) -> Tensor:
        """(sections, 77, features), weighted as in ComfyUI: away from, or towards, the empty prompt's features."""
        embedded = torch.cat([prompt.with_vectors(vectors) for prompt in prompts])
        if all(prompt.weights is None for prompt in prompts):
            return self._features(embedded)
        features = self._features(torch.cat([embedded, self._prompts[""].embedded]))
        weights = [torch.ones_like(p.embedded[..., :1]) if p.weights is None else p.weights for p in prompts]
        return torch.lerp(features[-1], features[:-1], torch.cat(weights))

    def _features(self, embedded: Tensor) -> Tensor:
        """As ``SDClipModel.forward`` computes them of (sections, 77, features)."""
        self._text_model.reset_clip_options()
        if self._layer is not None:
            self._text_model.set_clip_options({"layer": self._layer})
        encoder, model = self._encoder, self._encoder.transformer.text_model
        positions = comfy.ops.cast_to(model.embeddings.position_embedding.weight, torch.float32, embedded.device)
        later = torch.full((embedded.shape[1],) * 2, -torch.finfo(torch.float32).max, device=embedded.device).triu_(1)
        last, hidden = model.encoder(embedded + positions, mask=later, intermediate_output=encoder.layer_idx)
        if encoder.layer == "last":
            return model.final_layer_norm(last).float()
        return (model.final_layer_norm(hidden) if encoder.layer_norm_hidden_state else hidden).float()


def _is_row_of(row: Tensor, matrix: Tensor) -> bool:
    return row.untyped_storage().data_ptr() == matrix.untyped_storage().data_ptr()
