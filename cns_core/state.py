"""What a sequence of concepts leaves behind: one delta, and for each concept its mask, token and record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .concept import check_stored_token
from .errors import CNSError
from .fingerprint import Fingerprint
from .kv_layers import KVLayout
from .masks import NeuronMask
from .overlaps import overlaps
from .selection import union
from .sparse_delta import SparseDelta


@dataclass(frozen=True, eq=False)
class LearnedConcept:
    """One taught concept.

    ``vectors``: float32 (vectors, features), what the token stands for in the text encoder. ``prompts``: those it was
    trained with. ``settings`` and ``figures``: the training's configuration and results, plain JSON values.

    ``before``: float32, the delta before its training at those of its weights that earlier concepts had trained, in the flat
    vector's order; everywhere else in its mask it was 0. None where that is not recorded.
    """

    token: str
    noun: str
    mask: NeuronMask
    vectors: Tensor
    prompts: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    before: Tensor | None = None

    @property
    def name(self) -> str:
        """``<new1> dog``: how prompts call it."""
        return f"{self.token} {self.noun}"

    def __post_init__(self) -> None:
        check_stored_token(self.token)
        if self.vectors.ndim != 2 or self.vectors.dtype != torch.float32 or not len(self.vectors):
            raise CNSError(f"The vectors of {self.token} must be float32 (vectors, features), not {tuple(self.vectors.shape)}.")
        if self.vectors.shape[1] != self.mask.layout.in_features:
            raise CNSError(
                f"The vectors of {self.token} have {self.vectors.shape[1]} features where the K/V weights read "
                f"{self.mask.layout.in_features}."
            )
        if not bool(torch.isfinite(self.vectors).all()):
            raise CNSError(f"The vectors of {self.token} hold NaN or infinity.")


@dataclass(frozen=True, eq=False)
class CNSState:
    """An immutable value: training returns a new state, nothing ever changes one."""

    layout: KVLayout
    fingerprint: Fingerprint
    delta: SparseDelta
    concepts: tuple[LearnedConcept, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for concept in self.concepts:
            if concept.token.lower() in seen:
                raise CNSError(f"The token {concept.token} is used twice in this state: every concept needs its own.")
            seen.add(concept.token.lower())
        if not bool(torch.isfinite(self.delta.values).all()):
            raise CNSError("The weight differences of this state hold NaN or infinity.")
        for concept, earlier in self.with_earlier():
            _check_before(concept, earlier)

    @staticmethod
    def empty(layout: KVLayout, fingerprint: Fingerprint) -> CNSState:
        return CNSState(layout, fingerprint, SparseDelta.zero(layout))

    @property
    def tokens(self) -> dict[str, Tensor]:
        """Token text -> its vectors (vectors, features)."""
        return {concept.token: concept.vectors for concept in self.concepts}

    def check_new_token(self, token: str) -> None:
        """Raises CNSError where an earlier concept owns the token."""
        taken = [concept for concept in self.concepts if concept.token.lower() == token.lower()]
        if taken:
            raise CNSError(
                f"The token {token} already means a {taken[0].noun} in the state wired in: give this concept another token, "
                f"for example {self.free_token()}. To teach {token} again, take it out with Remove CNS Concept first."
            )

    def free_token(self) -> str:
        """The first ``<newN>`` no concept uses."""
        used = {concept.token.lower() for concept in self.concepts}
        number = 1
        while f"<new{number}>" in used:
            number += 1
        return f"<new{number}>"

    @cached_property
    def overlaps(self) -> np.ndarray:
        """Intersection over union of each pair of concepts' neurons: float64 (n, n), ones on the diagonal."""
        return overlaps([concept.mask for concept in self.concepts])

    def used_neurons(self) -> NeuronMask:
        """``M_1 ∨ … ∨ M_m``."""
        return union(concept.mask for concept in self.concepts) or NeuronMask.empty(self.layout)

    def with_earlier(self) -> Iterator[tuple[LearnedConcept, NeuronMask]]:
        """Each concept with the union of the masks of those before it."""
        earlier = NeuronMask.empty(self.layout)
        for concept in self.concepts:
            yield concept, earlier
            earlier = earlier | concept.mask

    def with_concept(self, concept: LearnedConcept, values: Tensor) -> CNSState:
        """The state after ``concept`` moved its neurons to ``W0 + values``, values float32 (concept.mask.count,).

        The concept's ``before`` is this state's delta.
        """
        concept = replace(concept, before=self.delta.at(concept.mask & self.used_neurons()))
        return CNSState(self.layout, self.fingerprint, self.delta.updated(concept.mask, values), (*self.concepts, concept))

    def without_history(self) -> CNSState:
        """The same state, which cannot tell any more what each concept changed."""
        return replace(self, concepts=tuple(replace(concept, before=None) for concept in self.concepts))


def _check_before(concept: LearnedConcept, earlier: NeuronMask) -> None:
    before = concept.before
    if before is None:
        return
    count = (concept.mask & earlier).count
    if before.dtype != torch.float32 or before.shape != (count,):
        raise CNSError(
            f"The history of {concept.token} must be float32 values of {count:,} weights, but it has {tuple(before.shape)} of "
            f"{before.dtype}."
        )
    if not bool(torch.isfinite(before).all()):
        raise CNSError(f"The history of {concept.token} holds NaN or infinity.")
