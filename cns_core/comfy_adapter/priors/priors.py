"""Class prior images of a noun: those on disk, and the others drawn now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from torch import Tensor

from ...config import PriorConfig
from ...contexts import class_prompts
from ...errors import CNSError
from ..checkpoint.checkpoint import Checkpoint, digest
from ..checkpoint.unpatched import check_unpatched
from ..page.progress import Progress
from ..prior import Prior
from ..side_effects import SideEffect
from .sampling import drawn, noises
from .store import PriorStore, in_eight_bits


def make_priors(
    checkpoint: Checkpoint, noun: str, contexts: Sequence[str], config: PriorConfig, node_id: str | None
) -> tuple[Prior, str]:
    """``config.count`` images of the class with their prompts, the contexts in turn, and a line for people. What is drawn is
    kept on disk, and drawn again only for other prompts, settings or weights. Obeys Cancel, which costs at most one batch.

    Raises:
        CNSError: no contexts, a checkpoint that other nodes have changed, out of memory.
    """
    if not contexts:
        raise CNSError("There are no prompts for the prior images: write at least one, such as 'a photo of a {noun}'.")
    check_unpatched(checkpoint)
    prompts, store = class_prompts(noun, contexts, config.count), PriorStore(noun)
    made = _records(checkpoint, prompts, config)
    images = [store.load(record) for record in made]
    missing = [number for number, image in enumerate(images) if image is None]
    progress = Progress(len(missing) * config.steps, node_id)

    def on_step(pictures: int) -> None:
        progress.skip(pictures - 1)
        progress.advance()

    keeping, noise, waiting = SideEffect("The prior images were not kept"), noises(config), iter(missing)
    batches = drawn(checkpoint, [prompts[i] for i in missing], [noise[i] for i in missing], config, on_step) if missing else ()
    for batch in batches:
        for picture, number in zip(batch, waiting, strict=False):
            images[number] = in_eight_bits(picture)
            with keeping:
                store.save(made[number], picture)
    line = f"{config.count} prior images of '{noun}': {len(missing)} drawn, {config.count - len(missing)} from {store.folder}"
    ready: list[Tensor] = [image for image in images if image is not None]
    return Prior(tuple(ready), tuple(prompts)), ". ".join(filter(None, [line, keeping.failure]))


def _records(checkpoint: Checkpoint, prompts: Sequence[str], config: PriorConfig) -> list[dict[str, object]]:
    """For each image all that makes it what it is."""
    shared = {name: value for name, value in asdict(config).items() if name != "count"} | {"weights": digest(checkpoint)}
    return [{**shared, "prompt": prompt, "number": number} for number, prompt in enumerate(prompts)]
