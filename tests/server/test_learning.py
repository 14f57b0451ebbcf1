"""The shipped tour, run as it is: does the demo model learn, keep what it learned, and stay what it was otherwise?"""

from __future__ import annotations

import random

import numpy as np
import pytest

from demo.editor.graph import find
from demo.editor.shipped import shipped_prompt
from demo.judges import recognizer
from demo.judges.recognizer import shows
from demo.tour import WANTED, fetched, seeded, seen
from demo.world.scene import Scene, is_held_out, prompt, random_scene
from demo.world.styles import PIXELS

SEED, PICTURES = 1, 20  # not the shipped seed; pictures of each prompt with concepts
ORDINARY = 120  # prompts with combinations training never had, one picture of each
pytestmark = pytest.mark.slow


def ordinary_scenes() -> list[Scene]:
    rng, scenes = random.Random("ordinary"), []
    while len(scenes) < ORDINARY:
        scene = random_scene(rng)
        if is_held_out(scene) and len(scene.things) < 3:
            scenes.append(scene)
    return scenes


@pytest.fixture(scope="module")
def taught(server) -> dict:
    """The tour's graph with more pictures in the end, and ordinary prompts before and after."""
    tour = seeded(shipped_prompt("no_gpu_tour", server.object_info()), SEED, PICTURES)
    final = find(tour, "SaveImage")
    (loader,), applied = find(tour, "CNS_LoadDemoModel"), find(tour, "CNS_ApplyState")[-1]
    sampler = tour[find(tour, "KSampler")[-1]]["inputs"]
    settings = {name: value for name, value in sampler.items() if not isinstance(value, list)}
    shown: dict[str, list[str]] = {"before": [], "after": []}
    for when, (model, clip) in {"before": ([loader, 0], [loader, 1]), "after": ([applied, 0], [applied, 1])}.items():
        for number, scene in enumerate(ordinary_scenes()):
            name = f"{when} {number}"
            texts = {"positive": prompt(scene), "negative": ""}
            for kind, text in texts.items():
                tour[f"{name} {kind}"] = {"class_type": "CLIPTextEncode", "inputs": {"clip": clip, "text": text}}
            size = {"width": PIXELS, "height": PIXELS, "batch_size": 1}
            tour[f"{name} empty"] = {"class_type": "EmptyLatentImage", "inputs": size}
            inputs = {"model": model, "latent_image": [f"{name} empty", 0], **{k: [f"{name} {k}", 0] for k in texts}}
            tour[f"{name} sampler"] = {"class_type": "KSampler", "inputs": {**settings, **inputs, "seed": number}}
            decoded = {"samples": [f"{name} sampler", 0], "vae": [loader, 2]}
            tour[f"{name} decode"] = {"class_type": "VAEDecode", "inputs": decoded}
            tour[name] = {"class_type": "PreviewImage", "inputs": {"images": [f"{name} decode", 0]}}
            shown[when].append(name)
    result = server.run(tour)
    assert result.error is None, result.error
    pictures = {tour[node]["_meta"]["title"]: fetched(server, result, node) for node in final}
    ordinary = {when: [fetched(server, result, node) for node in nodes] for when, nodes in shown.items()}
    return {"concepts": pictures, "ordinary": ordinary}


def test_concepts_are_learned_and_kept(taught):
    shown = zip(taught["concepts"].items(), WANTED, strict=True)
    scores = {title: seen(pictures, wanted).mean() for (title, pictures), wanted in shown}
    assert all(len(pictures) == PICTURES for pictures in taught["concepts"].values())
    assert scores["<new1> after the first step"] > 0.8, scores
    assert scores["<new2>"] > 0.8, scores
    assert scores["<new1> after the first step"] - scores["<new1> after the second"] < 0.1, scores  # the same noise


def test_ordinary_prompts_are_as_good_as_before(taught):
    judge = recognizer.load()

    def right(pictures: list[np.ndarray]) -> float:
        judged = zip(pictures, ordinary_scenes(), strict=True)
        return float(np.mean([shows(judge.recognize(some), scene)[1].float().mean() for some, scene in judged]))

    before, after = right(taught["ordinary"]["before"]), right(taught["ordinary"]["after"])
    assert before > 0.8
    assert before - after < 0.05, (before, after)  # the same noise
