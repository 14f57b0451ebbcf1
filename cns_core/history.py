"""What each concept of a state changed, and states rebuilt from that: single concepts weaker, stronger, or left out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from .errors import CNSError
from .masks import NeuronMask
from .selection import union
from .sparse_delta import SparseDelta
from .state import CNSState, LearnedConcept

_STRENGTH = re.compile(r"(<[^<>\s]+>)\s*:?\s*([^\s,;<>]+)")


def steps_back(state: CNSState) -> Iterator[tuple[LearnedConcept, Tensor, Tensor]]:
    """From the last concept to the first: it, ``D_m`` and ``D_{m−1}`` at its weights, float32 (concept.mask.count,) each.

    Raises:
        CNSError: a concept whose history is not recorded has weights that an earlier one had trained.
    """
    current = state.delta.flat()
    for concept, earlier in reversed(list(state.with_earlier())):
        indices = concept.mask.indices
        taught = torch.from_numpy(earlier.flat())[indices]
        before = torch.zeros(len(indices))
        if taught.any():
            if concept.before is None:
                raise CNSError(
                    f"The state does not record what {concept.name} changed, as it was taught with an older version of the "
                    "pack or saved without history: its concepts cannot have strengths of their own."
                )
            before[taught] = concept.before
        yield concept, current[indices], before
        current[indices] = before


def recorded(state: CNSState) -> list[bool]:
    """For each concept whether the state tells what it changed."""
    return [concept.before is not None or not (concept.mask & earlier).count for concept, earlier in state.with_earlier()]


def before_last(state: CNSState) -> CNSState:
    """The state that the last concept was taught on, exactly.

    Raises:
        CNSError: see :func:`steps_back`.
    """
    last, _, before = next(steps_back(state))
    earlier = union(concept.mask for concept in state.concepts[:-1]) or NeuronMask.empty(state.layout)
    flat = state.delta.flat()
    flat[last.mask.indices] = before
    return replace(state, delta=SparseDelta(earlier, flat[earlier.indices]), concepts=state.concepts[:-1])


def with_strengths(state: CNSState, strengths: Mapping[str, float]) -> CNSState:
    """The state with ``Σ_m s_m (D_m − D_{m−1})`` for its delta; tokens that ``strengths`` does not name keep 1.

    Weights that no named concept trained stay as they are, to the bit. Its tokens stay too; it has no history.

    Raises:
        CNSError: a token that the state does not have; see :func:`steps_back`.
    """
    named = {state.concepts[index_of(state, token)].token: value for token, value in strengths.items()}
    changed = {token: value for token, value in named.items() if value != 1.0}
    if not changed:
        return state
    rebuilt, flat = torch.zeros(state.layout.size), state.delta.flat()
    for concept, after, before in steps_back(state):
        rebuilt[concept.mask.indices] += changed.get(concept.token, 1.0) * (after - before)
    touched = union(concept.mask for concept in state.concepts if concept.token in changed) or NeuronMask.empty(state.layout)
    flat[touched.indices] = rebuilt[touched.indices]
    delta = SparseDelta(state.delta.mask, flat[state.delta.mask.indices])
    return replace(state.without_history(), delta=delta)


def parse_strengths(text: str) -> dict[str, float]:
    """``<new1> 0.5, <new2> 0`` -> strengths by token.

    Raises:
        CNSError: anything else in the text, a token named twice, no finite number.
    """
    strengths: dict[str, float] = {}
    for token, number in _STRENGTH.findall(text):
        if token.lower() in {known.lower() for known in strengths}:
            raise CNSError(f"concept_strengths names {token} twice: '{text.strip()}'.")
        strengths[token] = _number(token, number)
    if re.sub(r"[\s,;]+", "", _STRENGTH.sub("", text)):
        raise CNSError(f"concept_strengths is '{text.strip()}': write tokens with numbers, like <new1> 0.5, <new2> 0.")
    return strengths


def _number(token: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CNSError(f"The strength of {token} is '{text}', but it must be a number, like 0.5.")
    return value


def index_of(state: CNSState, token: str) -> int:
    """Which concept has the token; case does not matter.

    Raises:
        CNSError: none has.
    """
    for index, concept in enumerate(state.concepts):
        if concept.token.lower() == token.strip().lower():
            return index
    known = ", ".join(concept.token for concept in state.concepts) or "none"
    raise CNSError(f"The state has no token '{token.strip()}': its tokens are {known}.")
