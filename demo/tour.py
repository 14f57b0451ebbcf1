"""The demo that needs nothing: the pack's own small model learns two concepts and shows them, judged by the recognizer."""

from __future__ import annotations

import argparse
import io

import numpy as np
from PIL import Image

from demo.contact_sheet import contact_sheet
from demo.editor.comfy_server import ComfyServer, Result
from demo.editor.graph import change, find
from demo.editor.shipped import execute, shipped_prompt
from demo.editor.workflows.on_the_demo_model import CONCEPTS
from demo.judges import recognizer

_FIRST, _SECOND = CONCEPTS
WANTED = ((_FIRST,), (_FIRST,), (_SECOND,), (_FIRST, _SECOND))  # in the tour's pictures, in their order


def run(server: ComfyServer, arguments: argparse.Namespace) -> None:
    """Runs the workflow no_gpu_tour; prints what its pictures show and writes them all on one sheet."""
    tour = seeded(shipped_prompt("no_gpu_tour", server.object_info()), arguments.seed, arguments.pictures)
    result = execute(server, f"A small model learns a {CONCEPTS[0]}, then a {CONCEPTS[1]}", tour)
    pictures = {tour[node]["_meta"]["title"]: fetched(server, result, node) for node in find(tour, "SaveImage")}
    for (title, shown), wanted in zip(pictures.items(), WANTED, strict=True):
        right = seen(shown, wanted)
        print(f"  {title:30} {' and '.join(wanted)} in {right.sum()} of {len(right)} pictures")
    target = arguments.base / "output" / "cns" / "tour.png"
    contact_sheet(list(pictures.values()), rows=list(pictures)).save(target)
    print(f"pictures  {target}")


def seeded(tour: dict, seed: int, pictures: int) -> dict:
    """The tour with other teaching pictures, training and noise; so many ``pictures`` of each prompt in the end."""
    change(tour, "CNS_DemoConcept", seed=seed)
    change(tour, "CNS_TrainStep", seed=seed)
    for node in find(tour, "KSampler"):
        tour[node]["inputs"]["seed"] += 1000 * seed
    for node in find(tour, "SaveImage"):
        decode = tour[node]["inputs"]["images"][0]
        sampler = tour[decode]["inputs"]["samples"][0]
        tour[tour[sampler]["inputs"]["latent_image"][0]]["inputs"]["batch_size"] = pictures
    return tour


def fetched(server: ComfyServer, result: Result, node: str) -> np.ndarray:
    """uint8 (pictures, height, width, 3)."""
    files = [server.image(file) for file in result.outputs[node]["images"]]
    return np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])


def seen(pictures: np.ndarray, wanted: tuple[str, ...]) -> np.ndarray:
    """For each picture, whether the recognizer sees all that is wanted."""
    recognition = recognizer.load().recognize(pictures)
    return np.all([(recognition.of(what) > 0.5).numpy() for what in wanted], axis=0)
