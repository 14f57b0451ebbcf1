"""Draws ``docs/images/two_of_a_kind.jpg``: two taught things of one class in the same prompt, with regions and without."""

from __future__ import annotations

from pathlib import Path

from demo.contact_sheet import contact_sheet
from demo.editor.comfy_server import ComfyServer
from demo.editor.graph import find
from demo.editor.shipped import execute, shipped_prompt
from demo.editor.workflows.regional import PAIR
from demo.tour import fetched

TARGET = Path(__file__).parents[2] / "docs" / "images" / "two_of_a_kind.jpg"


def make(server: ComfyServer) -> None:
    prompt = shipped_prompt("two_of_a_kind_no_gpu", server.object_info())
    result = execute(server, f"A {PAIR[0]} and a {PAIR[1]}, side by side", prompt)
    drawn = [fetched(server, result, node) for node in find(prompt, "SaveImage")]
    titles = [f"{PAIR[0].capitalize()} left, {PAIR[1]} right: with regions", "The same prompt and noise, without regions"]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(drawn, titles).save(TARGET, quality=88)
    print(TARGET)
