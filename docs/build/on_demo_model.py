"""Puts a shipped workflow on the demo model: the same graph with other words, pictures and sizes."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image

from demo.editor.canvas.parts import DEMO, DEMO_PRIORS, DEMO_STRATEGY, DEMO_TRAINING
from demo.editor.comfy_server import ComfyServer, Result
from demo.editor.graph import change, find
from demo.editor.shipped import execute, shipped_prompt
from demo.editor.workflows.on_the_demo_model import TOUR_CALIBRATION
from demo.world.new_concepts import teaching_pictures

# What stands in a shipped workflow, and what stands for it in the demo model's world.
CONCEPTS = {
    ("<new1>", "dog"): "fox",
    ("<new2>", "hat"): "bee",
    ("<new3>", "backpack"): "teapot",
    ("<new2>", "painting"): "mosaic",
}
TEXTS = {
    "photo of a <new1> dog": "a <new1> dog on a beach",
    "photo of a <new1> dog on a beach": "a <new1> dog on a beach",
    "photo of a <new2> hat": "an <new2> animal on a beach",
    # With the state of two_of_a_kind_no_gpu.
    "photo of two dogs in a park, a <new1> dog": "an <new1> animal left of an <new1> animal on a beach",
    "photo of two dogs in a park, a <new2> dog": "an <new2> animal left of an <new2> animal on a beach",
    "photo of two dogs in a park, a <new1> dog and a <new2> dog": "an <new1> animal and an <new2> animal on a beach",
    "a <new2> painting of a <new1> dog": "a <new1> dog on a beach, <new2> art",
    "photo of a <new1> dog wearing a <new2> hat": "a <new1> dog left of an <new2> animal on a beach",
    "photo of a <new1> dog wearing a <new2> hat next to a <new3> backpack": (
        "a <new1> dog, an <new2> animal and a <new3> cup on a beach"
    ),
    DEMO.negative: DEMO.negative,
}


def on_demo_model(prompt: dict, pictures: int = 4) -> dict:
    """Changes an API prompt in place; ``pictures``: of each sampled prompt."""
    _take_texts(prompt)
    for node in find(prompt, "CheckpointLoaderSimple"):
        prompt[node].update(class_type="CNS_LoadDemoModel", inputs={})
    for node in find(prompt, "CNS_CaptionConceptImages"):
        inputs = prompt[node]["inputs"]
        if isinstance(inputs["noun"], str):
            concept, source = CONCEPTS[inputs["token"], inputs["noun"]], f"{node}0"
            prompt[source] = {
                "class_type": "CNS_DemoConcept",
                "inputs": {"concept": concept, "count": 5, "seed": 0},
                "_meta": {"title": concept},
            }
            for other in (other for other in prompt.values() if other["inputs"].get("noun") == inputs["noun"]):
                other["inputs"]["noun"] = [source, 2]
            inputs.update(images=[source, 0], captions=[source, 1])
            inputs.pop("masks", None)
    for kind in ("LoadImage", "ImageBatch", "CNS_LoadConceptImages"):
        for node in find(prompt, kind):
            del prompt[node]
    for node in [node for node, content in prompt.items() if _dangling(content, prompt)]:
        del prompt[node]
    change(prompt, "CNS_ComputeGeneralNeurons", calibration_prompts="\n".join(TOUR_CALIBRATION))
    change(prompt, "CNS_SelectConceptNeurons", strategy=DEMO_STRATEGY)
    change(prompt, "CNS_MakePriorImages", prompts="a {noun} on a beach\na {noun} in a forest", **DEMO_PRIORS)
    change(prompt, "CNS_TrainStep", **DEMO_TRAINING)
    change(prompt, "CNS_TeachFolder", strategy=DEMO_STRATEGY, prior_images=DEMO_PRIORS["count"], **DEMO_TRAINING)
    change(prompt, "EmptyLatentImage", width=DEMO.pixels, height=DEMO.pixels, batch_size=pictures)
    change(prompt, "KSampler", steps=DEMO.steps, cfg=DEMO.cfg)
    return prompt


def selected_state(server: ComfyServer) -> str:
    """Teaches two concepts on neurons of their own, which a picture can tell apart; the name of the file."""
    prompt = on_demo_model(shipped_prompt("continual_training", server.object_info()), pictures=1)
    change(prompt, "CNS_SelectConceptNeurons", strategy="concept")
    change(prompt, "CNS_TrainStep", steps=20, preview_every=0)
    return saved_state(prompt, execute(server, "state to inspect", prompt))


def saved_state(prompt: dict, result: Result) -> str:
    """The file that the last Save CNS State has written."""
    return Path(result.outputs[find(prompt, "CNS_SaveState")[-1]]["text"][0].splitlines()[0]).name


def write_things(input_folder: Path) -> str:
    """A folder for Teach Folder, with one of the demo model's concepts in it; returns its name."""
    things = input_folder / "cns_demo_things"
    pictures, captions = teaching_pictures(CONCEPTS["<new1>", "dog"], 5, 0)
    shutil.rmtree(things, ignore_errors=True)
    (things / "dog").mkdir(parents=True)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        Image.fromarray(picture).save(things / "dog" / f"{number}.png")
        (things / "dog" / f"{number}.txt").write_text(caption, encoding="utf-8")
    return things.name


def _take_texts(prompt: dict) -> None:
    negatives = {content["inputs"]["negative"][0] for content in prompt.values() if content["class_type"] == "KSampler"}
    for node in find(prompt, "CLIPTextEncode"):
        inputs = prompt[node]["inputs"]
        inputs["text"] = DEMO.negative if node in negatives else TEXTS[inputs["text"]]


def _dangling(content: dict, prompt: dict) -> bool:
    """A node that showed what is no longer there."""
    return any(isinstance(value, list) and value[0] not in prompt for value in content["inputs"].values())
