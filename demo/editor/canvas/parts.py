"""Pieces that several workflows are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from demo.editor.graph import CHECKPOINT, Box, Graph, Node, Place

NOTES = Path(__file__).parents[1] / "notes"
ROW, ROW_HEIGHT = 1340, 1260  # of what teaches one concept: Train CNS Step grows by its chart, previews and concepts


@dataclass(frozen=True)
class Sampling:
    """What ComfyUI's sampling nodes are set to."""

    pixels: int = 512
    steps: int = 25
    cfg: float = 7.5
    negative: str = "blurry, low quality, watermark"

    @property
    def of_sampler(self) -> dict[str, object]:
        return {"steps": self.steps, "cfg": self.cfg, "sampler_name": "dpmpp_2m", "scheduler": "karras"}


SD15 = Sampling()
DEMO = Sampling(128, 12, 4.0, "")
DEMO_STRATEGY = "all K/V"  # of 180,224 weights 5 % are too few to learn a thing
DEMO_PRIORS = {"count": 24, "resolution": 128, "steps": 12, "cfg": 4.0}
DEMO_TRAINING = {
    "steps": 200,
    "neuron_lr": 0.01,
    "token_lr": 0.03,
    "resolution": 128,
    "batch_size": 4,
    "prompt_mode": "caption",
    "prior_weight": 0.3,
    "keep_tolerance": 4.0,  # a thing and a place in one picture need more room than 2 % of so small a model
    "preview_every": 50,
}


@dataclass(frozen=True)
class Material:
    """What a concept is taught with; ``images``, ``captions``, ``masks`` and ``noun`` may come from a node. ``prior``: images
    and their prompts.
    """

    token: str
    noun: object
    images: object
    captions: object
    prior: tuple | None = None
    strategy: str = "concept"
    masks: object = None


class Flow(Graph):
    """A graph, and the pieces that several workflows are made of."""

    def note(self, size: tuple[int, int], at: tuple[int, int] = (0, 0)) -> None:
        """What the file of the workflow's name in ``notes`` says."""
        node = Node(len(self.places) + 1, [])
        text = (NOTES / f"{self.name}.md").read_text(encoding="utf-8").removesuffix("\n")
        self.places[node], self.notes[node] = Place(at, size, "Read me"), text

    def sampled(self, at: tuple[int, int], loaded, prompt: str, count: int, seed: int, sampling: Sampling = SD15):
        """ComfyUI's own text-to-image nodes."""
        x, y = at
        model, clip, vae = loaded
        positive = self.add("CLIPTextEncode", (x, y), size=(320, 0), clip=clip, text=prompt)()
        negative = self.add("CLIPTextEncode", (x, y + 190), size=(320, 0), clip=clip, text=sampling.negative)()
        size = {"width": sampling.pixels, "height": sampling.pixels}
        empty = self.add("EmptyLatentImage", (x, y + 380), size=(320, 0), batch_size=count, **size)()
        wired = {"model": model, "positive": positive, "negative": negative, "latent_image": empty}
        latents = self.add("KSampler", (x + 350, y), seed=seed, **wired, **sampling.of_sampler)()
        return self.add("VAEDecode", (x + 350, y + 380), size=(200, 0), samples=latents, vae=vae)()

    def show(self, box: Box, **widgets: str) -> None:
        """Shows on a subgraph's node widgets of the first node of each kind in it, unless they are wired; in this order."""
        for kind, names in widgets.items():
            node = next(node for node in box.nodes if self.prompt[node]["class_type"] == kind)
            given = self.prompt[node]["inputs"]
            box.shown += [(node, name) for name in names.split() if not self.is_link(given[name])]

    def drawn(self, at: tuple[int, int], loaded, prompt: str, count: int, seed: int, sampling: Sampling = SD15, state=None):
        """The same as one node; with a state, of a MODEL and CLIP that know its concepts."""
        with self.subgraph("Use concepts" if state else "Draw", at, (320, 0)) as box:
            used = self.applied((-380, 0), loaded, state) if state else loaded
            image = self.sampled((0, 0), used, prompt, count, seed, sampling)
            self.show(box, CLIPTextEncode="text", EmptyLatentImage="batch_size", KSampler="seed")
        return image

    def folder(self, at: tuple[int, int], name: str, resolution: int = SD15.pixels):
        """Load Concept Images."""
        return self.add("CNS_LoadConceptImages", at, size=(300, 0), folder=name, resolution=resolution)

    def priors(self, at: tuple[int, int], loaded, noun: object, **settings: object) -> tuple:
        """Make Prior Images: images and prompts."""
        model, clip, vae = loaded
        wired = {"model": model, "clip": clip, "vae": vae, "noun": noun}
        made = self.add("CNS_MakePriorImages", at, size=(300, 0), **wired, **settings)
        return made("images"), made("prompts")

    def choose(self, at: tuple[int, int], loaded, general, material: Material, previous=None):
        """Captions to neurons; what the concept is, and the node that has chosen its neurons."""
        x, y = at
        given = {"images": material.images, "masks": material.masks, "captions": material.captions}
        named = {"token": material.token, "noun": material.noun}
        described = self.add("CNS_CaptionConceptImages", at, size=(340, 0), **named, **given)
        base = self.add(
            "CNS_ComputeBaseNeurons", (x, y + 380), size=(340, 0), model=loaded[0], clip=loaded[1], concept=described()
        )
        wired = {"base_neurons": base(), "general_neurons": general, "state": previous}
        chosen = self.add("CNS_SelectConceptNeurons", (x, y + 570), size=(340, 0), strategy=material.strategy, **wired)
        return described(), chosen

    def chosen_in_one(self, at: tuple[int, int], loaded, general, material: Material, previous=None):
        """The same as one node."""
        with self.subgraph("Describe, choose neurons", at, (340, 0)) as box:
            found = self.choose((0, 0), loaded, general, material, previous)
            self.show(box, CNS_CaptionConceptImages="token noun captions captioner")
        return found

    def train(self, at: tuple[int, int], loaded, described, chosen, material: Material, previous=None, **training: object):
        """Train CNS Step."""
        model, clip, vae = loaded
        images, prompts = material.prior or (None, None)
        wired = {"model": model, "clip": clip, "vae": vae, "concept": described, "neurons": chosen()}
        earlier = {"previous_state": previous, "prior_images": images, "prior_prompts": prompts}
        return self.add("CNS_TrainStep", at, size=(360, 0), **wired, **earlier, **training)

    def loaders(self, at: tuple[int, int]):
        checkpoint = self.add("CheckpointLoaderSimple", at, size=(340, 0), ckpt_name=CHECKPOINT)
        return checkpoint("MODEL"), checkpoint("CLIP"), checkpoint("VAE")

    def general_neurons(self, y: int, loaded, **prompts: str):
        return self.add("CNS_ComputeGeneralNeurons", (0, y), size=(340, 330), model=loaded[0], clip=loaded[1], **prompts)()

    def checkpoint_and_general(self, y: int):
        """The left column: a checkpoint, and its general neurons."""
        loaded = self.loaders((0, y))
        general = self.general_neurons(y + 160, loaded)
        self.group("1  Checkpoint and general neurons", (-20, y - 50, 380, 560))
        return loaded, general

    def demo_model_and_general(self, y: int, calibration: list[str]):
        """The same with the demo model."""
        demo = self.add("CNS_LoadDemoModel", (0, y), size=(340, 0))
        loaded = demo("MODEL"), demo("CLIP"), demo("VAE")
        general = self.general_neurons(y + 140, loaded, calibration_prompts="\n".join(calibration))
        self.group("1  Demo model and general neurons", (-20, y - 50, 380, 540))
        return loaded, general

    def demo_material(self, at: tuple[int, int], concept: str, token: str) -> Material:
        """Demo Concept Images, and a view of what they are."""
        pictures = self.add("CNS_DemoConcept", at, size=(300, 0), concept=concept)
        self.add("PreviewImage", (at[0], at[1] + 230), f"{token}: what it is shown", (300, 320), images=pictures("images"))
        return Material(token, pictures("noun"), pictures("images"), pictures("captions"), strategy=DEMO_STRATEGY)

    def applied(self, at: tuple[int, int], loaded, state, width: int = 300):
        """MODEL, CLIP and VAE that know a state's concepts."""
        node = self.add("CNS_ApplyState", at, size=(width, 0), model=loaded[0], clip=loaded[1], state=state)
        return node("model"), node("clip"), loaded[2]
