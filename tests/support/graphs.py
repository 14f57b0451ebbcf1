"""API prompts for the server tests, and the pictures they use."""

from __future__ import annotations

import io
import shutil
from functools import cache
from pathlib import Path

import numpy as np
from cns_pack.cns_core.comfy_adapter.captioner.captioner import NONE
from PIL import Image, ImageDraw

from demo.editor import graph
from demo.editor.comfy_server import ComfyServer
from demo.editor.graph import Node, change, find
from demo.editor.shipped import shipped_prompt
from demo.training.random_checkpoint import NAME

CAPTIONS = {
    "dog": "a dog on a green field\na dog in front of a blue wall\na small dog",
    "hat": "a hat on a table\na red hat\na hat hanging on a wall",
}


def write_pictures(folder: Path) -> dict[str, list[str]]:
    """Three pictures each of a "dog" and a "hat", of different sizes; names as LoadImage takes them.

    Each noun has a folder of its own there too.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names: dict[str, list[str]] = {"dog": [], "hat": []}
    sizes = [(96, 80), (64, 64), (80, 120)]
    for index, (width, height) in enumerate(sizes):
        for noun in names:
            picture = Image.new("RGB", (width, height), [(60, 140, 60), (70, 90, 160), (190, 180, 150)][index])
            draw = ImageDraw.Draw(picture)
            box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
            if noun == "dog":
                draw.ellipse(box, fill=(130, 80, 40))
            else:
                draw.polygon([(box[0], box[3]), (box[2], box[3]), (width // 2, box[1])], fill=(200, 30, 40))
            (folder / noun).mkdir(exist_ok=True)
            picture.save(folder / noun / f"{index}.png")
            picture.save(folder / f"{noun}{index}.png")
            names[noun].append(f"{folder.name}/{noun}{index}.png")
    Image.new("RGBA", (64, 64), (10, 20, 30, 128)).save(folder / "alpha.png")
    return names


@cache
def _object_info(server: ComfyServer) -> dict:
    return server.object_info()


class Graph(graph.Graph):
    """What several tests have in a prompt. What differs from a node's default here is what makes a test short."""

    def __init__(self, server: ComfyServer) -> None:
        super().__init__(_object_info(server))

    def checkpoint(self, name: str = NAME) -> tuple[list, list, list]:
        node = self.add("CheckpointLoaderSimple", ckpt_name=name)
        return node(0), node(1), node(2)

    def demo_model(self) -> tuple[list, list, list]:
        node = self.add("CNS_LoadDemoModel")
        return node(0), node(1), node(2)

    def images(self, names: list[str]) -> list:
        batch = None
        for name in names:
            image = self.add("LoadImage", image=name)()
            batch = image if batch is None else self.add("ImageBatch", image1=batch, image2=image)()
        return batch

    def general(self, model: list, clip: list, count: int = 4) -> list:
        prompts = "a house by a lake\ntwo red cars in the rain\nan oil painting of a cat\nan empty street at night"
        return self.add("CNS_ComputeGeneralNeurons", model=model, clip=clip, count=count, calibration_prompts=prompts)()

    def concept(self, images: list, token: str = "<new1>", noun: object = "dog", **changes: object) -> list:
        captions = CAPTIONS.get(noun, "") if isinstance(noun, str) else ""
        inputs = {"images": images, "token": token, "noun": noun, "captioner": NONE, "captions": captions}
        return self.add("CNS_CaptionConceptImages", **{**inputs, **changes})()

    def select(self, model: list, clip: list, concept: list, general: list, **optional: object) -> Node:
        base = self.add("CNS_ComputeBaseNeurons", model=model, clip=clip, concept=concept)()
        return self.add("CNS_SelectConceptNeurons", base_neurons=base, general_neurons=general, **optional)

    def train(self, loaded: tuple, concept: list, neurons: list, **changes: object) -> Node:
        wired = {**dict(zip(("model", "clip", "vae"), loaded, strict=True)), "concept": concept, "neurons": neurons}
        short = {"steps": 3, "neuron_lr": 1e-3, "token_lr": 5e-3, "resolution": 64, "preview_every": 0}
        held = {"preset": "custom", "prev_weight": 0.01}
        return self.add("CNS_TrainStep", **{**wired, **short, **held, **changes})

    def sample(
        self, model: list, clip: list, vae: list, text: str, seed: int = 1, pixels: int = 64, **settings: object
    ) -> list:
        positive, negative = (self.add("CLIPTextEncode", clip=clip, text=words)() for words in (text, ""))
        empty = self.add("EmptyLatentImage", width=pixels, height=pixels)()
        wired = {"model": model, "positive": positive, "negative": negative, "latent_image": empty, "seed": seed}
        settings = {"steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", **settings}
        return self.add("VAEDecode", samples=self.add("KSampler", **wired, **settings)(), vae=vae)()

    def show(self, image: list) -> Node:
        return self.add("PreviewImage", images=image)

    def text(self, source: list) -> Node:
        return self.add("PreviewAny", source=source)


def free(server: ComfyServer) -> None:
    """Unloads models and empties the cache. ComfyUI does that between two prompts, so another one is run here: without it a
    prompt that is queued at once might still come before.
    """
    server.post("/free", {"unload_models": True, "free_memory": True})
    graph = Graph(server)
    graph.text(graph.add("PrimitiveString", value="nothing")())
    assert server.run(graph.prompt).error is None


def pixels(server, result, node: str) -> np.ndarray:
    """The first picture of a PreviewImage or SaveImage node."""
    blob = server.image(result.outputs[node]["images"][0])
    return np.asarray(Image.open(io.BytesIO(blob)).convert("RGB"))


def check_same_graph(from_file: dict, described: dict) -> None:
    """A prompt that was made of a workflow file is the one its description makes."""

    def inner(node: str) -> str:
        """The node's own number in ``12:5``, its path into a subgraph."""
        return node.rpartition(":")[2]

    assert {inner(node) for node in from_file} == described.keys()
    for node, content in ((inner(node), content) for node, content in from_file.items()):
        linked = {name: [inner(value[0]), *value[1:]] for name, value in content["inputs"].items() if isinstance(value, list)}
        inputs = content["inputs"] | linked
        assert content["class_type"] == described[node]["class_type"]
        assert inputs.items() <= described[node]["inputs"].items()  # newer ComfyUI gives its own nodes more inputs
        missing = described[node]["inputs"].keys() - inputs.keys()
        assert not missing or not content["class_type"].startswith("CNS_"), missing


def small_workflow(name: str, server, pictures) -> dict:
    """A shipped workflow on random weights, with few steps of few pixels."""
    prompt = shipped_prompt(name, server.object_info())
    change(prompt, "CheckpointLoaderSimple", ckpt_name=NAME)
    change(prompt, "EmptyLatentImage", width=64, height=64, batch_size=1)
    change(prompt, "KSampler", steps=1)
    change(prompt, "CNS_ComputeGeneralNeurons", count=4)
    change(prompt, "CNS_TrainStep", resolution=64, steps=1)
    change(prompt, "CNS_MakePriorImages", resolution=64, steps=1, count=1)
    change(prompt, "CNS_RemoveConcept", ordinary_prompts="a lake\ntwo red cars\nan oil painting\nan empty street")
    change(prompt, "CNS_TeachFolder", resolution=64, steps=1, prior_images=0, folder=folder_of(pictures))
    for node in find(prompt, "CNS_LoadConceptImages"):
        noun = "dog" if "dog" in prompt[node]["inputs"]["folder"] else "hat"
        prompt[node]["inputs"]["folder"] = f"{folder_of(pictures)}/{noun}"
    return prompt


def folder_of(pictures: dict[str, list[str]]) -> str:
    """The folder in ComfyUI's input with a folder of pictures for each noun."""
    return Path(pictures["dog"][0]).parts[0]
