"""Draws ``docs/images/two_concepts.jpg``: what the tour's two concepts look like while they are learned, and together."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from demo.editor.comfy_server import ComfyServer
from demo.editor.shipped import execute, shipped_prompt
from demo.editor.workflow import change, find
from demo.tour import fetched
from demo.world.styles import PIXELS

TARGET = Path(__file__).parents[2] / "docs" / "images" / "two_concepts.jpg"
_EVERY = 50  # steps between two previews
_GAP, _LINE = 6, 20  # pixels
_INK, _PAPER = "#222222", "#ffffff"


def make(server: ComfyServer) -> None:
    tour = shipped_prompt("no_gpu_tour", server.object_info())
    change(tour, "CNS_TrainStep", preview_every=_EVERY)
    result = execute(server, "The tour, with previews", tour)
    trainings = [shown for shown in json.loads(server.get("/cns/live")) if shown["kind"] == "training"][-2:]
    taught = [
        fetched(server, result, node) for node in find(tour, "PreviewImage") if "is shown" in tour[node]["_meta"]["title"]
    ]
    final = {tour[node]["_meta"]["title"]: fetched(server, result, node) for node in find(tour, "SaveImage")}
    previews = [[(f"step {sample['step']}", _decoded(sample["picture"])) for sample in one["samples"]] for one in trainings]
    first, later, _, both = final.values()
    rows = [
        ("First lesson: five pictures of <new1>", [("", picture) for picture in taught[0]]),
        (f"While it learns: {trainings[0]['samples'][0]['prompt']}", previews[0]),
        ("Second lesson: five pictures of <new2>", [("", picture) for picture in taught[1]]),
        (f"While it learns: {trainings[1]['samples'][0]['prompt']}", previews[1]),
        (
            "<new1> before the second lesson, and after it, from the same noise",
            [("", picture) for picture in (*first[:3], *later[:3])],
        ),
        ("Both in one prompt", [("", picture) for picture in both]),
    ]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    stitched(rows).save(TARGET, quality=88)
    print(TARGET)


def _decoded(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


def stitched(rows: list[tuple[str, list[tuple[str, np.ndarray]]]]) -> Image.Image:
    """Titled rows of pictures with a word below each."""
    height = _LINE + PIXELS + _LINE
    width = max(len(pictures) for _, pictures in rows) * (PIXELS + _GAP) + _GAP
    image = Image.new("RGB", (width, height * len(rows)), _PAPER)
    pen, font, small = ImageDraw.Draw(image), ImageFont.load_default(14), ImageFont.load_default(12)
    for row, (title, pictures) in enumerate(rows):
        pen.text((_GAP, row * height + 2), title, _INK, font)
        for column, (word, picture) in enumerate(pictures):
            x, y = _GAP + column * (PIXELS + _GAP), row * height + _LINE
            image.paste(Image.fromarray(picture), (x, y))
            pen.text((x, y + PIXELS + 2), word, _INK, small)
    return image
