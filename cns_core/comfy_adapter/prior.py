"""Class prior images: what the pretrained model draws for the class noun, without the token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..calibration import split_prompts
from ..concept import Concept, check_image, literal
from ..errors import CNSError


@dataclass(frozen=True, eq=False)
class Prior:
    """Class prior images, (height, width, 3) each, and one prompt for each of them, without the token.

    The images stay as they came, in any floating-point format and on any device: there may be thousands of them.
    """

    images: tuple[Tensor, ...] = ()
    prompts: tuple[str, ...] = ()

    @staticmethod
    def of(images: Sequence[Tensor], prompts: Sequence[str], noun: str) -> Prior:
        """``prompts``: one text, whose only line serves all images or whose lines serve one image each, or a list with an entry
        for each image. Images without a prompt get ``photo of a <noun>``.

        Raises:
            CNSError: neither one prompt nor one for each image, or an image is unfit.
        """
        if not images:
            return Prior()
        for number, image in enumerate(images, start=1):
            check_image(image, f"Prior image {number}")
        own = (" ".join(prompt.split()) for prompt in _for_each(prompts, len(images)))
        return Prior(tuple(images), tuple(prompt or _class_prompt(noun) for prompt in own))

    def check(self, concept: Concept) -> None:
        """Raises CNSError where a prompt has the concept's token in it."""
        for prompt in self.prompts:
            if concept.token.lower() in prompt.lower():
                raise CNSError(
                    f"The prior prompt '{prompt}' contains {concept.token}: prior images show the class as the pretrained "
                    f"model knows it, so write only the class, for example '{_class_prompt(concept.noun)}'."
                )


def _class_prompt(noun: str) -> str:
    """Prompts of prior images are read with their emphasis, as the sampler read them, but a noun is plain text."""
    return f"photo of a {literal(noun)}"


def _for_each(prompts: Sequence[str], images: int) -> list[str]:
    """A prompt for each image, empty where it has none of its own."""
    lines = list(prompts)
    if len(prompts) == 1:  # a text
        lines = prompts[0].split("\n")
        if len(lines) != images:  # its blank lines stand for no image then
            lines = split_prompts(prompts[0])
        if len(lines) == 1:
            lines *= images
    lines = lines or [""] * images
    if len(lines) != images:
        raise CNSError(
            f"There are {len(lines)} prior prompts for {images} prior images: give one for all, or one per line for each image."
        )
    return lines
