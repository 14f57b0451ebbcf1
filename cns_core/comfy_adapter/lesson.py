"""What is taught in one training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..concept import Concept
from ..errors import CNSError
from ..state import CNSState
from .checkpoint.checkpoint import Checkpoint
from .neurons import SAME_MODEL, Neurons
from .prior import Prior

PREVIOUS = "The previous state"


@dataclass(frozen=True, eq=False)
class Lesson:
    """A concept, the neurons it trains, images of its class, and the state it comes after, if any.

    ``source``: goes into the concept's settings, see :func:`.taught_folders.source_of`.
    """

    concept: Concept
    neurons: Neurons
    prior: Prior = field(default_factory=Prior)
    previous: CNSState | None = None
    source: dict[str, str] = field(default_factory=dict)

    def starting_state(self, checkpoint: Checkpoint) -> CNSState:
        """The state that the concept is added to: the previous one, or an empty one.

        Raises:
            CNSError: its parts do not belong together, or not to the checkpoint.
        """
        layout, fingerprint = checkpoint.layout, checkpoint.fingerprint
        fingerprint.check_same(self.neurons.fingerprint, "The neuron mask", SAME_MODEL)
        self._check_neurons()
        state = self.previous or CNSState.empty(layout, fingerprint)
        layout.check_same(state.layout, PREVIOUS)
        fingerprint.check_same(state.fingerprint, PREVIOUS)
        state.check_new_token(self.concept.token)
        self.prior.check(self.concept)
        return replace(state, fingerprint=state.fingerprint.completed(fingerprint))

    def _check_neurons(self) -> None:
        if not self.neurons.selected:
            raise CNSError(f"The neurons input got {self.neurons.kind} neurons: wire Select Concept Neurons there.")
        if self.neurons.prompts != self.concept.descriptions:
            raise CNSError(
                f"The neurons were computed for other captions ('{self.neurons.prompts[0]}', …) than those of "
                f"{self.concept.token} ('{self.concept.descriptions[0]}', …): wire the same Caption Concept Images into "
                "Compute Base Neurons and here."
            )
