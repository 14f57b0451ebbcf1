"""Draws ``docs/images/two_concepts.jpg``: what the tour's two concepts look like while they are learned, and together."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from demo.contact_sheet import contact_sheet
from demo.editor.comfy_server import ComfyServer
from demo.editor.graph import change, find
from demo.editor.shipped import execute, shipped_prompt
from demo.tour import fetched

TARGET = Path(__file__).parents[2] / "docs" / "images" / "two_concepts.jpg"
_EVERY = 50  # steps between two previews


def make(server: ComfyServer) -> None:
    tour = shipped_prompt("no_gpu_tour", server.object_info())
    change(tour, "CNS_TrainStep", preview_every=_EVERY)
    result = execute(server, "The tour, with previews", tour)
    trainings = [shown for shown in json.loads(server.get("/cns/live")) if shown["kind"] == "training"][-2:]
    taught = [
        fetched(server, result, node) for node in find(tour, "PreviewImage") if "is shown" in tour[node]["_meta"]["title"]
    ]
    final = {tour[node]["_meta"]["title"]: fetched(server, result, node) for node in find(tour, "SaveImage")}
    first, later, _, both = final.values()
    later_words = "<new1> before the second lesson, and after it, from the same noise"
    rows = [
        contact_sheet([taught[0]], ["First lesson: five pictures of <new1>"]),
        _learning(trainings[0]),
        contact_sheet([taught[1]], ["Second lesson: five pictures of <new2>"]),
        _learning(trainings[1]),
        contact_sheet([[*first[:3], *later[:3]]], [later_words]),
        contact_sheet([both], ["Both in one prompt"]),
    ]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    stacked(rows).save(TARGET, quality=88)
    print(TARGET)


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """One below the other."""
    image = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)), "white")
    top = 0
    for sheet in sheets:
        image.paste(sheet, (0, top))
        top += sheet.height
    return image


def _learning(training: dict) -> Image.Image:
    samples = training["samples"]
    words = [f"step {sample['step']}" for sample in samples]
    return contact_sheet(
        [[_decoded(sample["picture"]) for sample in samples]], [f"While it learns: {samples[0]['prompt']}"], words
    )


def _decoded(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
