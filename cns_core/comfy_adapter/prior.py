"""Class prior images: what the pretrained model makes of the class noun alone (section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..concept import Concept, check_image
from ..errors import CNSError


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
        prompts = prompts or [f"photo of a {noun}"]
        if len(prompts) == 1:
            prompts = list(prompts) * len(images)
        if len(prompts) != len(images):
            raise CNSError(
                f"There are {len(prompts)} prior prompts for {len(images)} prior images: give one for all, or one per line "
                "for each image."
            )
        for number, image in enumerate(images, start=1):
            check_image(image, f"Prior image {number}")
        return Prior(tuple(images), tuple(prompts))

    def check(self, concept: Concept) -> None:
        """Raises CNSError where a prompt has the concept's token in it."""
        for prompt in self.prompts:
            if concept.token.lower() in prompt.lower():
                raise CNSError(
                    f"The prior prompt '{prompt}' contains {concept.token}: prior images show the class as the pretrained "
                    f"model knows it, so write the class alone, for example 'photo of a {concept.noun}'."
                )
