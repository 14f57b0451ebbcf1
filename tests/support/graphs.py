"""API prompts for the server tests, and the pictures they use."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from demo.editor.shipped import shipped_prompt
from demo.editor.workflow import change, find
from demo.training.random_checkpoint import NAME

CAPTIONS = {
    "dog": "a dog on a green field\na dog in front of a blue wall\na small dog",
    "hat": "a hat on a table\na red hat\na hat hanging on a wall",
}


def write_pictures(folder: Path) -> dict[str, list[str]]:
    """Three pictures each of a "dog" and a "hat", of different sizes; names as LoadImage takes them."""
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
            picture.save(folder / f"{noun}{index}.png")
            names[noun].append(f"{folder.name}/{noun}{index}.png")
    Image.new("RGBA", (64, 64), (10, 20, 30, 128)).save(folder / "alpha.png")
    return names


class Graph:
    """A prompt under construction: ``add`` returns the node's id, ``[id, slot]`` is a link."""

    def __init__(self) -> None:
        self.prompt: dict[str, dict] = {}

    def add(self, kind: str, **inputs: object) -> str:
        node_id = str(len(self.prompt) + 1)
        self.prompt[node_id] = {"class_type": kind, "inputs": inputs}
        return node_id

    def checkpoint(self, name: str = NAME) -> tuple[list, list, list]:
        node = self.add("CheckpointLoaderSimple", ckpt_name=name)
        return [node, 0], [node, 1], [node, 2]

    def demo_model(self) -> tuple[list, list, list]:
        node = self.add("CNS_LoadDemoModel")
        return [node, 0], [node, 1], [node, 2]

    def images(self, names: list[str]) -> list:
        batch = None
        for name in names:
            image = [self.add("LoadImage", image=name), 0]
            batch = image if batch is None else [self.add("ImageBatch", image1=batch, image2=image), 0]
        return batch

    def general(self, model: list, clip: list, count: int = 4) -> list:
        prompts = "a house by a lake\ntwo red cars in the rain\nan oil painting of a cat\nan empty street at night"
        node = self.add(
            "CNS_ComputeGeneralNeurons",
            model=model,
            clip=clip,
            top_percent=30.0,
            count=count,
            seed=0,
            calibration_prompts=prompts,
        )
        return [node, 0]

    def concept(self, images: list, token: str = "<new1>", noun: str = "dog", captions: object = None, **changes) -> list:
        inputs = {
            "images": images,
            "token": token,
            "noun": noun,
            "captioner": "none (given captions only)",
            "download_captioner": False,
            "captions": CAPTIONS.get(noun, "") if captions is None else captions,
        }
        return [self.add("CNS_CaptionConceptImages", **{**inputs, **changes}), 0]

    def select(self, model: list, clip: list, concept: list, general: list, strategy: str = "concept", **optional) -> str:
        base = self.add("CNS_ComputeBaseNeurons", model=model, clip=clip, concept=concept, top_percent=30.0)
        return self.add(
            "CNS_SelectConceptNeurons",
            base_neurons=[base, 0],
            general_neurons=general,
            strategy=strategy,
            seed=0,
            **optional,
        )

    def train(self, loaded: tuple, concept: list, neurons: list, **changes: object) -> str:
        inputs = {
            "model": loaded[0],
            "clip": loaded[1],
            "vae": loaded[2],
            "concept": concept,
            "neurons": neurons,
            "steps": 3,
            "neuron_lr": 1e-3,
            "token_lr": 5e-3,
            "resolution": 64,
            "batch_size": 1,
            "seed": 0,
            "preset": "custom",
            "preview_every": 0,
            "preview_prompt": "",
            "initial_word": "",
            "vectors": 1,
            "prompt_mode": "mix",
            "template": "photo of a {concept}",
            "prior_weight": 1.0,
            "prev_weight": 0.01,
            "pretrained_weight": 0.0,
            "keep_tolerance": 2.0,
            "gradient_checkpointing": "auto",
        }
        return self.add("CNS_TrainStep", **{**inputs, **changes})

    def sample(
        self, model: list, clip: list, vae: list, text: str, seed: int = 1, pixels: int = 64, **settings: object
    ) -> list:
        positive = [self.add("CLIPTextEncode", clip=clip, text=text), 0]
        negative = [self.add("CLIPTextEncode", clip=clip, text=""), 0]
        empty = [self.add("EmptyLatentImage", width=pixels, height=pixels, batch_size=1), 0]
        inputs = {"steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, **settings}
        sampler = self.add(
            "KSampler",
            model=model,
            positive=positive,
            negative=negative,
            latent_image=empty,
            seed=seed,
            **inputs,
        )
        return [self.add("VAEDecode", samples=[sampler, 0], vae=vae), 0]

    def show(self, image: list) -> str:
        return self.add("PreviewImage", images=image)

    def text(self, source: list) -> str:
        return self.add("PreviewAny", source=source)


def pixels(server, result, node: str) -> np.ndarray:
    """The first picture of a PreviewImage or SaveImage node."""
    blob = server.image(result.outputs[node]["images"][0])
    return np.asarray(Image.open(io.BytesIO(blob)).convert("RGB"))


def small_workflow(name: str, server, pictures) -> dict:
    """A shipped workflow on random weights, with few steps of few pixels."""
    prompt = shipped_prompt(name, server.object_info())
    change(prompt, "CheckpointLoaderSimple", ckpt_name=NAME)
    change(prompt, "EmptyLatentImage", width=64, height=64, batch_size=1)
    change(prompt, "KSampler", steps=2)
    change(prompt, "CNS_TrainStep", resolution=64, steps=2)
    names = [*pictures["dog"], *pictures["hat"]]
    for node, picture in zip(find(prompt, "LoadImage"), names, strict=False):
        prompt[node]["inputs"]["image"] = picture
    return prompt
