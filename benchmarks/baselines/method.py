"""A method of Table 1: what it has in place of parts of CNS's training, and how it makes one model of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

from torch import Tensor

from cns_core.comfy_adapter.lesson import Lesson

# W0 (out, in), each concept's W, each concept's text features (rows, in), and ordinary prompts' (rows, in) -> one W.
Fuse = Callable[[Tensor, list[Tensor], list[Tensor], Tensor], Tensor]
WEIGHTS, PREVIOUS_TERM = "cns_core.training.run.TrainableKV", "cns_core.training.run.PreviousTerm"
TOKEN_START = "cns_core.comfy_adapter.teach.initial_vectors"


@dataclass(frozen=True, eq=False)
class Method:
    """``strategy`` and ``settings``: which weights train, and how; the learning rates are the best of ``science rates``.
    ``parts``: for a lesson, what stands in for parts of the training loop, by their dotted names. ``fuse``: for one K/V matrix,
    makes one of those of concepts that were taught each on its own; None: concepts are taught one after another.
    """

    title: str
    strategy: str = "all K/V"
    settings: dict[str, object] = field(default_factory=dict)
    parts: Callable[[Lesson], Mapping[str, object]] = lambda lesson: {}
    fuse: Fuse | None = None

    @contextmanager
    def teaching(self, lesson: Lesson) -> Iterator[None]:
        """While the context lasts, :func:`teach` teaches the lesson this way."""
        with ExitStack() as stack:
            for name, part in self.parts(lesson).items():
                stack.enter_context(patch(name, part))
            yield
