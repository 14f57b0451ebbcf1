"""Writes ``example_workflows/*.json`` from the short descriptions below, in the format the editor saves.

Run it against a server that has the pack: ``python demo/build_workflows.py http://127.0.0.1:8188``. Widget order and
defaults come from the server's ``/object_info``, so that the files fit the nodes of the same commit.
"""

from __future__ import annotations

import json
import sys
import urllib.request
import uuid
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "example_workflows"
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
NEGATIVE = "blurry, low quality, watermark"
_WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
_TITLE, _ROW, _WIDGET, _TEXT = 34, 22, 26, 96  # pixels the editor gives a title, a slot, a widget, a text box


class Workflow:
    """Nodes, links and groups of one canvas; ``add`` returns a function that names the node's outputs."""

    def __init__(self, name: str, object_info: dict) -> None:
        self.name, self.object_info = name, object_info
        self.nodes: list[dict] = []
        self.links: list[list] = []
        self.groups: list[dict] = []

    def add(self, kind: str, at: tuple[int, int], title: str = "", size: tuple[int, int] = (300, 0), **inputs: object):
        info = self.object_info[kind]
        node_id = len(self.nodes) + 1
        slots, values, text_boxes = [], [], 0
        names = [*info["input_order"].get("required", []), *info["input_order"].get("optional", [])]
        unknown = set(inputs) - set(names)
        if unknown:
            raise SystemExit(f"{kind} has no input {unknown}")
        for name in names:
            spec = {**info["input"].get("required", {}), **info["input"].get("optional", {})}[name]
            options = spec[1] if len(spec) > 1 else {}
            is_widget = (isinstance(spec[0], list) or spec[0] in _WIDGET_TYPES) and not options.get("forceInput")
            value = inputs.get(name)
            linked = isinstance(value, tuple)
            slot = {"name": name, "type": "COMBO" if isinstance(spec[0], list) else spec[0], "link": None}
            if linked:
                slot["link"] = self._link(value, node_id, len(slots), slot["type"])
            if is_widget:
                slot["widget"] = {"name": name}
                choices = spec[0] if isinstance(spec[0], list) else options.get("options", [None])
                values.append(options.get("default", choices[0]) if linked or value is None else value)
                text_boxes += bool(options.get("multiline"))
                if options.get("control_after_generate", name in {"seed", "noise_seed"}):
                    values.append("fixed")
                if options.get("image_upload"):
                    values.append("image")
            slots.append(slot)
        outputs = [
            {"name": label, "type": kind_of, "links": [], "slot_index": index}
            for index, (label, kind_of) in enumerate(zip(info["output_name"], info["output"], strict=True))
        ]
        sockets = sum("widget" not in slot for slot in slots)
        needed = _TITLE + _ROW * max(sockets, len(outputs)) + _WIDGET * (len(values) - text_boxes) + _TEXT * text_boxes
        pack = "continual-concepts-cns" if kind.startswith("CNS_") else "comfy-core"
        self.nodes.append(
            {
                "id": node_id,
                "type": kind,
                "pos": list(at),
                "size": [size[0], size[1] or needed],
                "flags": {},
                "order": node_id - 1,
                "mode": 0,
                "inputs": slots,
                "outputs": outputs,
                "properties": {"Node name for S&R": kind, "cnr_id": pack},
                "widgets_values": values,
                **({"title": title} if title else {}),
            }
        )

        def output(index: int | str = 0) -> tuple[int, int]:
            return node_id, index if isinstance(index, int) else info["output_name"].index(index)

        return output

    def _link(self, source: tuple[int, int], target: int, slot: int, kind: str) -> int:
        link_id = len(self.links) + 1
        self.links.append([link_id, source[0], source[1], target, slot, kind])
        self.nodes[source[0] - 1]["outputs"][source[1]]["links"].append(link_id)
        return link_id

    def note(self, at: tuple[int, int], size: tuple[int, int], text: str) -> None:
        node_id = len(self.nodes) + 1
        note = {"id": node_id, "type": "MarkdownNote", "pos": list(at), "size": list(size), "flags": {}, "order": node_id - 1}
        self.nodes.append(
            {**note, "mode": 0, "inputs": [], "outputs": [], "properties": {}, "widgets_values": [text], "title": "Read me"}
        )

    def group(self, title: str, bounding: tuple[int, int, int, int], color: str = "#3f789e") -> None:
        number = len(self.groups) + 1
        box = {"id": number, "title": title, "bounding": list(bounding), "color": color}
        self.groups.append({**box, "font_size": 24, "flags": {}})

    def save(self) -> Path:
        document = {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"continual-concepts-cns/{self.name}")),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": self.nodes,
            "links": self.links,
            "groups": self.groups,
            "config": {},
            "extra": {"ds": {"scale": 0.6, "offset": [60, 120]}},
            "version": 0.4,
        }
        path = FOLDER / f"{self.name}.json"
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


def photographs(flow: Workflow, x: int, y: int, count: int):
    """LoadImage nodes in a column, batched."""
    batch = None
    for index in range(count):
        image = flow.add("LoadImage", (x, y + 370 * index), size=(280, 330), image="example.png")()
        if batch is None:
            batch = image
        else:
            batch = flow.add("ImageBatch", (x + 310, y + 370 * index), size=(200, 0), image1=batch, image2=image)()
    return batch


def sampled(flow: Workflow, x: int, y: int, model, clip, vae, prompt: str, count: int, seed: int):
    """ComfyUI's own text-to-image nodes."""
    positive = flow.add("CLIPTextEncode", (x, y), size=(320, 0), clip=clip, text=prompt)()
    negative = flow.add("CLIPTextEncode", (x, y + 190), size=(320, 0), clip=clip, text=NEGATIVE)()
    empty = flow.add("EmptyLatentImage", (x, y + 380), size=(320, 0), batch_size=count)()
    latents = flow.add(
        "KSampler",
        (x + 350, y),
        model=model,
        positive=positive,
        negative=negative,
        latent_image=empty,
        seed=seed,
        steps=25,
        cfg=7.5,
        sampler_name="dpmpp_2m",
        scheduler="karras",
    )()
    return flow.add("VAEDecode", (x + 350, y + 380), size=(200, 0), samples=latents, vae=vae)()


def teach(flow: Workflow, x: int, y: int, loaded, general, token: str, noun: str, captions: str, prior, previous, images: int):
    """One concept's row: photographs to state."""
    model, clip, vae = loaded
    batch = photographs(flow, x + 20, y + 60, images)
    described = flow.add(
        "CNS_CaptionConceptImages", (x + 560, y + 60), size=(340, 0), images=batch, token=token, noun=noun, captions=captions
    )
    base = flow.add("CNS_ComputeBaseNeurons", (x + 560, y + 390), size=(340, 0), model=model, clip=clip, concept=described())
    chosen = flow.add(
        "CNS_SelectConceptNeurons",
        (x + 560, y + 580),
        size=(340, 0),
        base_neurons=base(),
        general_neurons=general,
        **({"state": previous} if previous else {}),
    )
    optional = {"previous_state": previous} if previous else {}
    if prior:
        optional |= {"prior_images": prior, "prior_prompts": f"photo of a {noun}"}
    trained = flow.add(
        "CNS_TrainStep",
        (x + 940, y + 60),
        size=(360, 0),
        model=model,
        clip=clip,
        vae=vae,
        concept=described(),
        neurons=chosen(),
        **optional,
    )
    flow.add("PreviewImage", (x + 1340, y + 60), f"{token}: losses", (420, 320), images=trained("loss_plot"))
    flow.add("PreviewAny", (x + 1340, y + 430), f"{token}: figures", (420, 190), source=trained("figures"))
    flow.add("PreviewAny", (x + 1340, y + 670), f"{token}: neurons", (420, 220), source=chosen("figures"))
    return trained()


def loaders(flow: Workflow, x: int, y: int):
    checkpoint = flow.add("CheckpointLoaderSimple", (x, y), size=(340, 0), ckpt_name=CHECKPOINT)
    return checkpoint("MODEL"), checkpoint("CLIP"), checkpoint("VAE")


def first_steps(info: dict) -> Workflow:
    flow = Workflow("first_steps", info)
    flow.note(
        (0, 0),
        (340, 260),
        "## Teach one concept\n1. Choose an **SD 1.5** checkpoint.\n2. Load two or three pictures of one thing.\n"
        "3. Name it: a token like `<new1>` and an ordinary word like *dog*.\n4. Write a caption for each picture, one a line.\n"
        "5. Queue. When it is done, use `<new1> dog` in the prompt on the right.",
    )
    loaded = loaders(flow, 0, 320)
    general = flow.add("CNS_ComputeGeneralNeurons", (0, 480), size=(340, 330), model=loaded[0], clip=loaded[1])()
    captions = "a dog on grass\na dog on grass, seen from the side"
    state = teach(flow, 400, 0, loaded, general, "<new1>", "dog", captions, None, None, 2)
    flow.group("1  Checkpoint and general neurons", (-20, 270, 380, 560))
    flow.group("2  Teach <new1> dog", (400, 0, 1780, 920), "#3f8e5a")
    applied = flow.add("CNS_ApplyState", (2240, 60), size=(260, 0), model=loaded[0], clip=loaded[1], state=state)
    image = sampled(flow, 2240, 230, applied("model"), applied("clip"), loaded[2], "photo of a <new1> dog on a beach", 1, 1)
    flow.add("SaveImage", (2930, 60), "The picture", (420, 480), images=image, filename_prefix="cns/first_steps")
    flow.group("3  Use it", (2220, 0, 1150, 920), "#8a5a9e")
    return flow


def continual_training(info: dict) -> Workflow:
    flow = Workflow("continual_training", info)
    flow.note(
        (0, 0),
        (340, 330),
        "## Teach two concepts, one after the other\nEach row teaches one concept: photographs, token, noun, captions. The "
        "second **Train CNS Step** gets the first one's state and leaves what it learned in place. Add a row for a third.\n\n"
        "The prior images on the left are made by the checkpoint itself: they keep an ordinary *dog* ordinary. Twenty or more "
        "are better than four.\n\n"
        "A whole folder at once: **Load Concept Images**.",
    )
    loaded = loaders(flow, 0, 390)
    general = flow.add("CNS_ComputeGeneralNeurons", (0, 550), size=(340, 330), model=loaded[0], clip=loaded[1])()
    flow.group("1  Checkpoint and general neurons", (-20, 340, 380, 560))
    state, concepts = None, [("<new1>", "dog"), ("<new2>", "hat")]
    for row, (token, noun) in enumerate(concepts):
        y = row * 1240
        prior = sampled(flow, 420, y + 60, *loaded, f"photo of a {noun}", 4, row + 1)
        flow.group(f"{2 + 2 * row}  What an ordinary {noun} looks like", (400, y, 700, 1160))
        captions = "\n".join([f"a {noun} on a table", f"a {noun} in a garden", f"a {noun}, close-up"])
        state = teach(flow, 1140, y, loaded, general, token, noun, captions, prior, state, 3)
        flow.group(f"{3 + 2 * row}  Teach {token} {noun}", (1140, y, 1780, 1160), "#3f8e5a")
    flow.add("CNS_SaveState", (2960, 1300), size=(360, 200), state=state, filename_prefix="cns/concepts")
    flow.group("6  Save", (2940, 1240, 400, 290), "#8a5a9e")
    return flow


def multi_concept_generation(info: dict) -> Workflow:
    flow = Workflow("multi_concept_generation", info)
    flow.note(
        (0, 0),
        (340, 250),
        "## Use several concepts in one prompt\nChoose the checkpoint the state was made for and the state that "
        "*continual_training* saved.\n\nWrite each token beside its noun: `<new1> dog`, `<new2> hat`. Weights such as "
        "`(<new1>:1.2)` work. `strength` 0 is the plain checkpoint.",
    )
    loaded = loaders(flow, 0, 320)
    stored = flow.add("CNS_LoadState", (0, 500), size=(340, 160), state_name="concepts_00001_.safetensors")
    flow.group("1  Checkpoint and state", (-20, 270, 380, 410))
    applied = flow.add("CNS_ApplyState", (420, 60), size=(300, 0), model=loaded[0], clip=loaded[1], state=stored())
    prompt = "photo of a <new1> dog wearing a <new2> hat"
    image = sampled(flow, 420, 230, applied("model"), applied("clip"), loaded[2], prompt, 2, 7)
    flow.group("2  Prompt and sample", (400, 0, 700, 780), "#3f8e5a")
    flow.add("SaveImage", (1140, 60), "Pictures", (560, 620), images=image, filename_prefix="cns/two_concepts")
    flow.group("3  Result", (1120, 0, 600, 780), "#8a5a9e")
    return flow


WORKFLOWS = (first_steps, continual_training, multi_concept_generation)


def main(server: str) -> None:
    with urllib.request.urlopen(f"{server.rstrip('/')}/object_info") as answer:
        info = json.load(answer)
    FOLDER.mkdir(exist_ok=True)
    for build in WORKFLOWS:
        print(build(info).save())


if __name__ == "__main__":
    main(sys.argv[1])
